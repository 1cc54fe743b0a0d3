"""Driver of the IDQ ID900 time controller as a four-detector coincidence counter.

Wiring that the driver expects: inputs 1-4 are Alice +, Alice -, Bob +, Bob -; outputs 1 and 2 drive
the basis modulators (low-low ZZ, high-low XX, low-high YY), both from generator 1. Combiners 1-4
count ++, +-, -+, --; combiner 5 counts generator 3, the *witness*.

The witness answers two questions that the instrument leaves open. Its counters repeat the last full
window, so a number read may be old: the driver changes the witness's period at each call, and only
a window that shows the new period from end to end is believed. And public drivers disagree whether
COUNter:INTEgration is in ms or ns: a window of the wrong length shows the wrong number of periods.
"""

import time
from collections.abc import Callable, Iterator

from backends.drivers.capabilities import Coincidences, Identity
from backends.drivers.id900_datalink import DataLink
from backends.drivers.id900_histogram import Histogram, Range, read_histogram
from backends.drivers.id900_settings import LARGEST_RATE_HZ, Settings, limit
from backends.drivers.id900_tags import Tags, stream_tags
from backends.drivers.opening import open_requester
from backends.drivers.zmq_scpi import Asks
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["ID900"]

#: Levels of outputs 1 and 2.
_LINES = {"zz": ("OFF", "OFF"), "xx": ("ON", "OFF"), "yy": ("OFF", "ON")}
_COUNTERS = (*(f"{block}{n}" for block in ("INPU", "TSCO") for n in range(1, 5)), "TSCO5")
_COUNTS = [f"{block}:COUN" for block in _COUNTERS]

#: Periods of the witness in a window, in turn. A window that lies to 1/40 before the change still
#: shows the new number within the +-1 of its phase: the basis is settled for longer than that.
_MARKS = (500, 540, 580, 620)
_SETTLE_SHARE = 0.05

#: Windows to wait for a fresh one: one is cut by the change, one is awaited, one may lag behind.
_PATIENCE_WINDOWS = 5.0
_PATIENCE_S = 0.25

_INTEGRATION_S = (1e-3, 100.0)
_UNIT_S = {"ms": 1e-3, "ns": 1e-9}

_LARGEST_SKEW_PS = 1_000_000_000


class ID900:
    """The instrument at ``tcp://HOST:PORT``. Not for use by two threads.

    ``integration_unit`` is what the firmware takes COUNter:INTEgration in. ``shared_clock`` says
    that all counters close their windows together; if unsure leave it off, at the price of one more
    window per reading.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 2.0,
        window_ps: int = 2000,
        threshold_v: float = 0.5,
        settle_s: float = 0.01,
        integration_unit: str = "ms",
        shared_clock: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wire: Asks | None = None,
    ) -> None:
        limit("window_ps", window_ps, 2, 1_000_000)
        limit("threshold_v", threshold_v, -2.0, 2.0)
        limit("settle_s", settle_s, 0.0, 60.0)
        if integration_unit not in _UNIT_S:
            raise InputError(f"integration_unit must be ms or ns, got {integration_unit!r}")
        self.address = address
        self._window_ps = 2 * (window_ps // 2)
        self._threshold_v = threshold_v
        self._settle_s = settle_s
        self._unit = integration_unit
        self._shared_clock = shared_clock
        self._clock = clock
        self._sleep = sleep
        self._turn = 0
        self._basis: str | None = None
        self._integration_s: float | None = None
        self._skew_ps = 0
        self._wire = wire if wire is not None else open_requester(address, timeout_s)
        self._settings = Settings(self._wire)

    def identify(self) -> Identity:
        """Ask ``*IDN?``; the answer must have four fields."""
        fields = [field.strip() for field in self._settings.ask("*IDN?").split(",")]
        if len(fields) != 4 or not all(fields):
            raise DeviceProtocol(f"{self.address}: *IDN? must answer four fields, got {fields}")
        return Identity(*fields)

    def ping(self) -> None:
        """Return when the instrument answers."""
        self.identify()

    def configure(self, integration_s: float = 0.1) -> None:
        """Set everything that the driver relies on, and read it back; the basis is open after it.

        Repeat it when the instrument may have restarted: it then has its power-on settings.
        """
        limit("integration_s", integration_s, *_INTEGRATION_S)
        self._integration_s = self._basis = None
        for n in range(1, 5):
            self._settings.set(f"INPU{n}:ENAB", "ON")
            self._settings.set(f"INPU{n}:THRE", f"{self._threshold_v:g}V")
            self._settings.set(f"INPU{n}:COUP", "DC")
            self._settings.set(f"INPU{n}:EDGE", "RISING")
        for alice in (1, 2):
            self._settings.set(f"DELA{alice}:LINK", f"INPU{alice}")
            self._settings.set(f"DELA{alice}:VALU", f"{self._delays_ps[0]}TB")
        for n in range(1, 5):
            alice, bob = (n + 1) // 2, 3 + (n + 1) % 2
            self._settings.set(f"TSCO{n}:FIR:LINK", f"DELA{alice}")
            self._settings.set(f"TSCO{n}:OPIN", "ONLYFIR")
            self._settings.set(f"TSCO{n}:OPOU", "MUTE")
            self._settings.set(f"TSCO{n}:WIND:ENAB", "ON")
            opens = self._delays_ps[1]
            for end, delay in (("BEGI", opens), ("END", opens + self._window_ps)):
                self._settings.set(f"TSCO{n}:WIND:{end}:LINK", f"INPU{bob}")
                self._settings.set(f"TSCO{n}:WIND:{end}:DELA", f"{delay}TB")
                self._settings.set(f"TSCO{n}:WIND:{end}:EDGE", "RISING")
        self._settings.set("TSCO5:FIR:LINK", "GENE3")
        self._settings.set("TSCO5:WIND:ENAB", "OFF")
        self._settings.set("TSCO5:OPIN", "ONLYFIR")
        self._settings.set("TSCO5:OPOU", "ONLYFIR")
        for n in (1, 3):
            self._settings.set(f"GENE{n}:PNUM", "INF")
            self._settings.set(f"GENE{n}:ENAB", "ON")
            self._settings.ask(f"GENE{n}:PLAY")
        for n in (1, 2):
            self._settings.set(f"OUTP{n}:LINK", "GENE1")
            self._settings.set(f"OUTP{n}:MODE", "TTL")
            self._settings.set(f"OUTP{n}:ENAB", "OFF")
        for block in _COUNTERS:
            self._settings.set(f"{block}:COUN:MODE", "CYCL")
        self._integrate(integration_s)

    def set_basis(self, basis: str) -> None:
        """Switch both modulators to ``xx``, ``yy`` or ``zz`` and wait until they have settled."""
        if basis not in _LINES:
            raise InputError(f"basis must be one of {', '.join(_LINES)}, got {basis!r}")
        if self._integration_s is None:
            raise DeviceError(f"{self.address}: configure() comes before set_basis()")
        self._basis = None
        for n, level in enumerate(_LINES[basis], start=1):
            self._settings.set(f"OUTP{n}:ENAB", level)
        self._sleep(max(self._settle_s, _SETTLE_SHARE * self._integration_s))
        self._basis = basis

    def coincidences(self, integration_s: float) -> Coincidences:
        """Return the counts of a full window that began after this call.

        Takes two to four windows. Raises :class:`DeviceTimeout` where no fresh window appears, and
        :class:`DeviceProtocol` or :class:`DeviceLimit` for counts that cannot be.
        """
        if self._integration_s is None or self._basis is None:
            raise DeviceError(f"{self.address}: set_basis() comes before coincidences()")
        if integration_s != self._integration_s:
            self._integrate(integration_s)
        periods = self._mark(integration_s)
        began = self._clock()
        give_up = began + _PATIENCE_WINDOWS * integration_s + _PATIENCE_S
        self._sleep(integration_s)
        late, row = False, self._settings.counts(_COUNTS)
        while abs(row[-1] - periods) > 1:
            if late:
                # An overflow stops all counters: what it shows is the cause, not its age.
                self._check_rate(row, integration_s)
                raise DeviceTimeout(self._stale(row[-1], periods, integration_s))
            self._sleep(integration_s / 8.0)
            # Before the reading: a pause of this process must not pass for one of the instrument.
            late = self._clock() > give_up
            row = self._settings.counts(_COUNTS)
        if not self._shared_clock:
            # Another counter's window may have begun up to one window before the witness's.
            self._sleep(integration_s)
            row = self._settings.counts(_COUNTS)
            if abs(row[-1] - periods) > 1:
                raise DeviceProtocol(self._stale(row[-1], periods, integration_s))
        self._check_rate(row, integration_s)
        return Coincidences(
            pairs=((row[4], row[5]), (row[6], row[7])),
            singles=(row[0], row[1], row[2], row[3]),
            integration_s=integration_s,
            not_before_s=began,
            not_after_s=self._clock(),
        )

    def set_skew_ps(self, skew_ps: int) -> None:
        """Say how much later a pair arrives at Alice than at Bob, so that the window is around it.

        As :func:`backends.drivers.peaks.find_peak` finds it in a histogram. Alice is delayed up to
        the middle of the window; where she is later than that, the window opens later.
        """
        limit("skew_ps", skew_ps, -_LARGEST_SKEW_PS, _LARGEST_SKEW_PS)
        self._skew_ps = int(skew_ps)
        if self._integration_s is None:
            return
        for alice in (1, 2):
            self._settings.set(f"DELA{alice}:VALU", f"{self._delays_ps[0]}TB")
        opens = self._delays_ps[1]
        for n in range(1, 5):
            self._settings.set(f"TSCO{n}:WIND:BEGI:DELA", f"{opens}TB")
            self._settings.set(f"TSCO{n}:WIND:END:DELA", f"{opens + self._window_ps}TB")

    def histogram(
        self, late: int, early: int, *, begin_ps: int, bin_ps: int, bins: int, seconds: float
    ) -> Histogram:
        """Count for ``seconds`` how long after input ``early`` input ``late`` clicks (1-4)."""
        return read_histogram(
            self._settings,
            Range(late, early, begin_ps, bin_ps, bins),
            seconds,
            clock=self._clock,
            sleep=self._sleep,
        )

    def tags(
        self,
        link: DataLink,
        channels: tuple[int, ...] = (1, 2, 3, 4),
        *,
        sub_s: float = 0.2,
        subs: int = 1,
        reference: int | None = None,
        end_marker: bytes = b"END",
        patience_s: float = 2.0,
    ) -> Iterator[Tags]:
        """Stream time tags: see :func:`backends.drivers.id900_tags.stream_tags`."""
        if self._integration_s is None:
            raise DeviceError(f"{self.address}: configure() comes before tags()")
        return stream_tags(
            self._settings,
            link,
            channels,
            sub_s=sub_s,
            subs=subs,
            reference=reference,
            end_marker=end_marker,
            patience_s=patience_s,
            clock=self._clock,
        )

    def safe_state(self) -> None:
        """Switch off generators, outputs and inputs."""
        for n in (1, 2):
            self._settings.set(f"OUTP{n}:ENAB", "OFF")
        for n in (1, 3):
            self._settings.set(f"GENE{n}:ENAB", "OFF")
        for n in range(1, 5):
            self._settings.set(f"INPU{n}:ENAB", "OFF")
        self._integration_s = self._basis = None

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        self._wire.close()

    @property
    def _delays_ps(self) -> tuple[int, int]:
        """Return the delay of Alice and how long after Bob the window opens."""
        middle = self._window_ps // 2 - self._skew_ps
        return max(0, middle), max(0, -middle)

    def _integrate(self, integration_s: float) -> None:
        limit("integration_s", integration_s, *_INTEGRATION_S)
        value = f"{integration_s / _UNIT_S[self._unit]:.12g}"
        for block in _COUNTERS:
            self._settings.set(f"{block}:COUN:INTE", value)
        self._sleep(_SETTLE_SHARE * integration_s)
        self._integration_s = integration_s

    def _mark(self, integration_s: float) -> int:
        """Give the witness another period; return how many a window must show."""
        self._turn = (self._turn + 1) % len(_MARKS)
        periods = _MARKS[self._turn]
        self._settings.set("GENE3:PPER", f"{round(integration_s * 1e12 / periods)}TB")
        return periods

    def _check_rate(self, row: list[int], integration_s: float) -> None:
        if sum(row[:4]) > LARGEST_RATE_HZ * integration_s:
            raise DeviceLimit(
                f"{self.address}: {sum(row[:4])} events in {integration_s:g} s are above "
                f"{LARGEST_RATE_HZ:g}/s, where counts are lost and the unit may want a restart"
            )

    def _stale(self, seen: int, periods: int, integration_s: float) -> str:
        text = (
            f"{self.address}: no fresh window of {integration_s:g} s, the counters are frozen, late"
            f" or of another length (witness {seen}, expected {periods})"
        )
        if seen > 3 * max(_MARKS) or seen < min(_MARKS) // 3:
            text += "; is integration_unit right?"
        return text

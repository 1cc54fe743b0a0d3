"""Firmware stub of the IDQ ID900 time controller, wired to the virtual bench.

The instrument is the REP side of ZeroMQ over TCP: one text frame in, one text frame out, also for
set commands (*Time Controller Series User Manual*, ch. 8-9; vendor example scripts). Inputs 1-4 are
Alice +, Alice -, Bob +, Bob -. Outputs 1 and 2 drive the basis modulators of our bench (a choice of
ours, not of the instrument): a line is high while its OUTPut is enabled and linked to an enabled
generator. Low-low measures ZZ, high-low XX, low-high YY, high-high nothing defined.

Open questions about the real instrument are fields of :class:`Switches`, each with its default:
the text of ``*IDN?``, of the answer to a set and of an error, the unit of COUNter:INTEgration (two
public drivers disagree), the TB suffix on times, what separates the answers of a chain, and whether
all counters share one clock. We also
assume that a combiner whose window is disabled treats every event as outside (OPOUt), that RESEt
starts a new cycle, and that a chain of commands is carried out at one instant.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench import Bench, CountedBench
from firmware_stubs.bench_tags import BenchTags, Piece
from firmware_stubs.control import Rig
from firmware_stubs.faults import FaultPlan
from firmware_stubs.id900_counters import COUNTERS, Counters, Wiring
from firmware_stubs.id900_datalink import DataLink
from firmware_stubs.id900_datalink_sockets import DataLinkService
from firmware_stubs.id900_links import Links
from firmware_stubs.id900_recorder import LARGEST_HZ, Recorder
from firmware_stubs.id900_switches import Switches
from firmware_stubs.id900_tree import Act, Read, Setting, Value, command_tree, link_addresses
from firmware_stubs.ports import CountingPort
from firmware_stubs.scpi import Command, Match, ScpiError, split
from firmware_stubs.server import StubOptions, run
from quantum.errors import InputError

__all__ = ["ID900", "Switches", "serve"]

Ints = NDArray[np.int64]

#: Basis by the levels of outputs 1 and 2: numbers of ``quantum.bell.BASES``.
_BASIS_OF_LINES = {(False, False): 2, (True, False): 0, (False, True): 1, (True, True): None}


class ID900:
    """The instrument without its socket: text and time in, text out."""

    def __init__(
        self,
        bench: CountedBench,
        *,
        switches: Switches | None = None,
        faults: FaultPlan | None = None,
        speed: float = 1.0,
        tags: CountingPort | None = None,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = faults or FaultPlan()
        self.bench = bench
        self.counters = Counters(bench, speed)
        self._tree = command_tree(self.switches.integration_unit)
        self._values: dict[str, Value] = {}
        self._epoch: dict[str, float] = {}
        self._total: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._histogram: dict[int, tuple[float, Ints]] = {}
        self._links = Links(self.setting)
        if tags is None:
            assert isinstance(bench, Bench), "a shared bench has tags of its own"
            tags = BenchTags(bench, self._bench_pieces)
        self.recorder = Recorder(self._links, tags, speed)
        self._rewire(0.0)

    @property
    def enabled(self) -> tuple[bool, ...]:
        """Which of the four inputs are on."""
        return tuple(self.setting(f"INPU{n}:ENAB") == "ON" for n in range(1, 5))

    def power_cycle(self, now_s: float) -> None:
        """Forget every setting and count, as after a restart by hand."""
        self.recorder.stop(now_s)
        self.recorder.overflowed_s = None
        for memory in (self._values, self._epoch, self._total, self._last, self._histogram):
            memory.clear()
        self.recorder.errors.clear()
        self._rewire(now_s)

    def answer(self, frame: str, now_s: float) -> str:
        """Carry out one frame at a time (seconds since power-on) and return the one reply."""
        replies = []
        for command in split(frame):
            try:
                if isinstance(command, ScpiError):
                    raise command
                reply = self._one(command, now_s)
            except ScpiError as wrong:
                text = self.switches.error_text
                replies.append(text.format(number=wrong.number, text=wrong.text))
                break
            if reply is not None:
                replies.append(reply)
        return self.switches.separator.join(replies) if replies else self.switches.set_reply

    def setting(self, key: str) -> Value:
        """Return the present value of a setting by its canonical header."""
        match = self._tree.find(tuple(key.split(":")))
        assert isinstance(match.entry, Setting), f"{key} is not a setting"
        return self._values.get(match.key, match.entry.power_on)

    def state(self) -> dict[str, Value]:
        """Return every setting that was changed since power-on."""
        return dict(sorted(self._values.items()))

    def _one(self, command: Command, now_s: float) -> str | None:
        # The manual writes GENerator but links to GENE1: both spellings are taken.
        path = tuple(
            f"GENE{word[3:]}" if word[:3] == "GEN" and word[3:4].isdigit() else word
            for word in command.path
        )
        match = self._tree.find(path)
        entry = match.entry
        if command.query:
            if command.argument:
                raise ScpiError(-108, "Parameter not allowed")
            if isinstance(entry, Setting):
                suffix = "TB" if self.switches.tb_suffix else ""
                return entry.show(self._values.get(match.key, entry.power_on), suffix)
            if isinstance(entry, Read):
                return self._read(entry.what, match.key, match.number, now_s)
            raise ScpiError(-113, "Undefined header")
        if isinstance(entry, Setting):
            self._set(match, entry.parse(command.argument), now_s)
        elif isinstance(entry, Act):
            if command.argument:
                raise ScpiError(-108, "Parameter not allowed")
            self._act(entry.what, match.key, match.number, now_s)
        else:
            raise ScpiError(-113, "Undefined header")
        return None

    def _set(self, match: Match[Setting | Read | Act], value: Value, now_s: float) -> None:
        self._values[match.key] = value
        block = match.key.partition(":")[0]
        if ":COUN" in match.key:
            own = self.switches.counter_phase == "own" and match.key.endswith("INTE")
            self._epoch[block] = now_s if own or self._mode(block) == "ACCU" else 0.0
            self._total[block] = 0
        self._rewire(now_s)

    def _read(self, what: str, key: str, number: int, now_s: float) -> str:
        tb = "TB" if self.switches.tb_suffix else ""
        match what:
            case "identity":
                return self.switches.idn.format(seed=self.bench.seed)
            case "addresses":
                return ",".join(link_addresses())
            case "counter":
                return str(self._count(key.partition(":")[0], now_s))
            case "histogram":
                return "[" + ",".join(map(str, self._bins(number, now_s).tolist())) + "]"
            case "histogram state":
                return "ON" if self.setting(f"HIST{number}:REF:LINK") != "NONE" else "OFF"
            case "stage":
                return "PLAYING" if self.recorder.playing(now_s) else "IDLE"
            case "smallest bin":
                # Assumed: 1 ps steps in high, 100 ps in low resolution.
                return ("1" if self.setting("DEVI:RES") == "HIRES" else "100") + tb
            case "raw errors":
                return str(self.recorder.errors.get(number, 0))
            case _:
                raise ScpiError(-113, "Undefined header")

    def _act(self, what: str, key: str, number: int, now_s: float) -> None:
        match what:
            case "reset counter":
                self._epoch[key.partition(":")[0]] = now_s
                self._total[key.partition(":")[0]] = 0
            case "flush" if self.faults.counter_fault() != "frozen":
                self._histogram[number] = (now_s, np.zeros(self._bin_count(number), np.int64))
            case "play REC":
                self.recorder.play(now_s)
            case "stop REC":
                self.recorder.stop(now_s)
            case "clear raw errors":
                self.recorder.errors.pop(number, None)
            case _:
                pass

    def _mode(self, block: str) -> Value:
        return self.setting(f"{block}:COUN:MODE")

    def _count(self, block: str, now_s: float) -> int:
        place = COUNTERS.index(block)
        epoch = self._epoch.get(block, 0.0)
        if self._mode(block) == "ACCU":
            self._total[block] = self._total.get(block, 0)
            self._total[block] += int(self.counters.counts(epoch, now_s)[place])
            self._epoch[block] = now_s
            return self._total[block]
        unit_s = 1e-3 if self.switches.integration_unit == "ms" else 1e-9
        window_s = float(self.setting(f"{block}:COUN:INTE")) * unit_s
        if self._stuck(now_s) and block in self._last:
            return self._last[block]
        fault = self.faults.counter_fault()
        number = int((now_s - epoch) / window_s) - (2 if fault == "previous_cycle" else 1)
        if number < 0:
            return 0
        begin = epoch + number * window_s
        counts = self.counters.counts(begin, begin + window_s)
        self._watch_rate(counts, window_s, now_s)
        self._last[block] = int(counts[place])
        return self._last[block]

    def _bin_count(self, number: int) -> int:
        return int(float(self.setting(f"HIST{number}:BCOU")))

    def _bins(self, number: int, now_s: float) -> Ints:
        size = self._bin_count(number)
        since, bins = self._histogram.get(number, (0.0, np.zeros(size, np.int64)))
        if len(bins) != size:
            since, bins = now_s, np.zeros(size, np.int64)
        ref = self._links.input(str(self.setting(f"HIST{number}:REF:LINK")))
        stop = self._links.input(str(self.setting(f"HIST{number}:STOP:LINK")))
        if self._stuck(now_s) and number in self._histogram:
            return self._histogram[number][1]
        if ref is not None and stop is not None and now_s > since:
            low = float(self.setting(f"HIST{number}:MIN")) + ref[1] - stop[1]
            edges = low + float(self.setting(f"HIST{number}:BWID")) * np.arange(
                size + 1, dtype=np.float64
            )
            bins = bins + self.counters.histogram(since, now_s, ref[0], stop[0], edges)
        self._histogram[number] = (now_s, bins)
        return bins

    def _bench_pieces(self, begin_s: float, end_s: float) -> list[Piece]:
        speed = self.counters.speed
        return [
            (a * speed, b * speed, basis, wiring.enabled)
            for a, b, basis, wiring in self.counters.pieces(begin_s / speed, end_s / speed)
        ]

    def _stuck(self, now_s: float) -> bool:
        """Whether counters and histograms stand still."""
        fault = self.faults.counter_fault()
        if fault == "overflow_latch":
            self.recorder.overflow(now_s)
        since = self.recorder.overflowed_s
        # An overflow shows once what overflowed it; then nothing moves any more.
        return fault == "frozen" or (since is not None and now_s > since)

    def _watch_rate(self, counts: Ints, window_s: float, now_s: float) -> None:
        """Latch the overflow where the inputs together were too fast."""
        if int(counts[:4].sum()) > LARGEST_HZ * window_s * self.counters.speed:
            self.recorder.overflow(now_s)

    def _rewire(self, now_s: float) -> None:
        on = self.enabled
        self.counters.rewire(
            now_s,
            Wiring(
                basis=_BASIS_OF_LINES[self._links.line(1), self._links.line(2)],
                enabled=(on[0], on[1], on[2], on[3]),
                taps=tuple(self._links.tap(n) for n in range(1, 9)),
            ),
        )


def serve(options: StubOptions) -> int:
    """Run the stub until it is told to stop; return the exit code (group ``dpem.stubs``)."""
    try:
        switches = msgspec.convert(options.switches, Switches)
    except msgspec.ValidationError as wrong:
        raise InputError(f"scenario switches: {wrong}") from wrong
    rig = Rig(Bench(options.optics, options.seed), FaultPlan(), options.speed)
    device = ID900(rig.bench, switches=switches, faults=rig.faults, speed=options.speed)
    rig.power_cycle = device.power_cycle
    link = DataLink(device.recorder, device.setting, rig.faults, switches.datalink, options.folder)
    service = DataLinkService(link, options.datalink)
    try:
        return run(device, rig, options, [service])
    finally:
        service.close()

"""Driver of the OZ Optics electric polarisation controller (EPC).

Source: QMI's driver ``ozoptics/epc_driver.py``. Every command is answered by two lines, a content
and ``Done``; an answer without its second line is no answer. A unit that scrambles makes every pair
that passes worthless, so the driver ends scrambling before it sets voltages, and reads both back.
"""

import re
import time
from collections.abc import Callable
from typing import cast

from backends.drivers.capabilities import Identity
from backends.drivers.connection import Connection
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, InputError

__all__ = ["Epc"]

_RAIL_MV = 5000
_CHANNELS = "".join(rf"\s+CH{n}\s+([+-]?[0-9]{{1,5}})" for n in range(1, 5))
_VOLTAGES = re.compile(rf"Voltage\(mV\):{_CHANNELS}\s*\Z")
_FREQUENCIES = re.compile(rf"Frequency\(Hz\):{_CHANNELS}\s*\Z")
_MODE = re.compile(r"\S.*?\b(AC|DC)[A-Za-z]*\s*\Z")

#: The flash memory of SAVE wears out.
_SAVE_EVERY_S = 60.0
#: Readings of which two in a row must agree.
_READINGS = 4
Four = tuple[float, float, float, float]


class Epc:
    """The controller at ``serial:///dev/...?baud=9600``. Not for use by two threads.

    ``safe_mv`` are the voltages of the safe state; ``limit_mv`` bounds all voltages that
    :meth:`set_voltages_mv` takes. ``save_every_s`` is the least time between two writes to flash.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = 1.0,
        stream: Stream | None = None,
        limit_mv: float = float(_RAIL_MV),
        safe_mv: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
        save_every_s: float = _SAVE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 0.0 < limit_mv <= _RAIL_MV:
            raise InputError(f"limit_mv must be > 0 and at most {_RAIL_MV}, got {limit_mv}")
        if not 1.0 <= save_every_s <= 1e7:
            raise InputError(f"save_every_s must be from 1 to 1e7, got {save_every_s}")
        self.address = address
        self._limit_mv = limit_mv
        self._safe_mv = self._checked(safe_mv, "safe_mv")
        self._save_every_s = save_every_s
        self._saved_s: float | None = None
        self._clock, self._sleep = clock, sleep
        self._late = False
        self._wire = Connection(
            address,
            timeout_s=timeout_s,
            separator=b"\r\n",
            limit_bytes=256,
            stream=stream,
            clock=clock,
        )
        self._wire.ensure()

    def identify(self) -> Identity:
        """Say what it is, once it has answered: the unit has no command that says more."""
        self.ping()
        return Identity("OZ Optics", "EPC", "unknown", "unknown")

    def ping(self) -> None:
        """Return when the unit answers."""
        self.is_scrambling()

    def set_voltages_mv(self, voltages_mv: Four) -> None:
        """End scrambling, set all channels (whole millivolts), and read both back."""
        wanted = self._checked(voltages_mv, "voltages_mv")
        self.end_scrambling()
        for channel, value in enumerate(wanted, 1):
            self._ask(f"V{channel},{round(value)}")
        seen = self.voltages_mv()
        if seen != tuple(float(round(value)) for value in wanted):
            rails = self._rails(seen)
            raise DeviceProtocol(
                f"{self.address}: voltages were set to {_shown(wanted)} but read {_shown(seen)}"
                + (f"; at the rail: {rails}" if rails else "")
            )
        if self.is_scrambling():
            raise DeviceError(f"{self.address}: the unit scrambles, voltages have no effect")

    def voltages_mv(self) -> Four:
        """Read all channels."""
        values = self._four("V?", _VOLTAGES, -_RAIL_MV, _RAIL_MV)
        return cast(Four, tuple(float(v) for v in values))

    def at_rail(self) -> tuple[int, ...]:
        """Return the channels (1 to 4) that can go no further one way: unwind them."""
        return self._rails(self.voltages_mv())

    def frequencies_hz(self) -> tuple[int, int, int, int]:
        """Read the frequencies at which it scrambles."""
        return self._four("F?", _FREQUENCIES, 0, 100)

    def is_scrambling(self) -> bool:
        """Read whether the unit randomises the polarisation."""
        answer = self._ask("M?")
        found = _MODE.match(answer)
        if found is None:
            raise DeviceProtocol(
                f"{self.address}: M? must end in a mode AC or DC, got {answer[:60]!r}"
            )
        return found[1] == "AC"

    def end_scrambling(self) -> bool:
        """Hold fixed voltages; return whether the unit was found scrambling."""
        if not self.is_scrambling():
            return False
        self._ask("MDC")
        if self.is_scrambling():
            raise DeviceError(f"{self.address}: the unit scrambles and does not stop")
        return True

    def save(self) -> None:
        """Write the present state to the flash memory, from which the unit starts at power-on.

        The memory wears out: raises :class:`DeviceLimit` where the last write is too recent.
        """
        now = self._clock()
        if self._saved_s is not None and now - self._saved_s < self._save_every_s:
            raise DeviceLimit(
                f"{self.address}: saved {now - self._saved_s:.0f} s ago, allowed once in "
                f"{self._save_every_s:g} s: the memory wears out"
            )
        # Counted also where the answer is lost: the memory may have been written.
        self._saved_s = now
        self._ask("SAVE")

    def safe_state(self) -> None:
        """End scrambling and hold the safe voltages; both are read back."""
        self.set_voltages_mv(self._safe_mv)

    def close(self) -> None:
        """Release the line; safe to call twice. The fibre stays squeezed."""
        self._wire.close()

    def _checked(self, values: tuple[float, ...], name: str) -> Four:
        if len(values) != 4 or not all(abs(v) <= self._limit_mv for v in values):
            raise DeviceLimit(
                f"{name} must be four values from {-self._limit_mv:g} to {self._limit_mv:g}, "
                f"got {values}"
            )
        return cast(Four, tuple(values))

    def _ask(self, command: str) -> str:
        """Send a command and return the content of its answer."""
        if self._late:
            # A line keeps an answer that comes late, and it would pass for the next one.
            self._sleep(self._wire.timeout_s)
            self._late = False
        # Whatever came before belongs to no question of ours.
        if self._wire.waiting() or self._wire.unfinished():
            self._wire.drop()
        self._wire.say(f"{command}\r\n".encode("ascii"))
        deadline = self._clock() + self._wire.timeout_s
        try:
            content = self._wire.frame(deadline)
            done = self._wire.frame(deadline)
        except DeviceError:
            self._late = True
            raise
        if done != b"Done" or not content.isascii():
            self._late = True
            self._wire.drop()
            raise DeviceProtocol(
                f"{self.address}: {command} must answer a line and then Done, got "
                f"{content[:60]!r} and {done[:60]!r}"
            )
        return content.decode("ascii")

    def _four(
        self, query: str, pattern: re.Pattern[str], low: int, high: int
    ) -> tuple[int, int, int, int]:
        """Read four channels until two readings in a row agree.

        There is no check sum, and a number that lost a digit is a number.
        """
        before: list[int] = []
        for _ in range(_READINGS):
            answer = self._ask(query)
            found = pattern.match(answer)
            values = [int(text) for text in found.groups()] if found else []
            if len(values) != 4 or not all(low <= value <= high for value in values):
                raise DeviceProtocol(
                    f"{self.address}: {query} must answer four channels from {low} to {high}, "
                    f"got {answer[:80]!r}"
                )
            if values == before:
                return values[0], values[1], values[2], values[3]
            before = values
        raise DeviceProtocol(f"{self.address}: {_READINGS} readings of {query} do not agree")

    def _rails(self, seen: Four) -> tuple[int, ...]:
        return tuple(n for n, value in enumerate(seen, 1) if abs(value) >= _RAIL_MV)


def _shown(values: Four) -> str:
    return " ".join(f"{value:g}" for value in values)

"""Everything that instruments have set, and when: counters look back, so the past is kept."""

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["History", "Knobs"]

Voltages = tuple[float, float, float, float]

#: Settings of so many moments are remembered; a moving plate makes some fifty a second.
_MOST = 100_000


@dataclass(frozen=True)
class Knobs:
    """Settings at one moment. Plates: Alice's quarter and half, Bob's quarter and half.

    ``routes`` are (input, output, since when) of the switch; ``misroutes`` are (input, the output
    where its light really goes, -1 for nowhere).
    """

    angles_deg: tuple[float, ...]
    voltages_mv: tuple[Voltages, ...]
    scrambling: tuple[bool, ...]
    bias_ua: tuple[float, ...]
    trigger_mv: tuple[float, ...]
    latched: tuple[bool, ...]
    power_mw: float
    shutter_open: bool = True
    interlock_closed: bool = True
    routes: tuple[tuple[int, int, float], ...] = ()
    misroutes: tuple[tuple[int, int], ...] = ()

    @property
    def pump_mw(self) -> float:
        """Power that reaches the sources."""
        return self.power_mw if self.shutter_open and self.interlock_closed else 0.0


@dataclass
class History:
    """Settings over time; a change in the past is taken to be made now."""

    first: Knobs
    _times: list[float] = field(default_factory=lambda: [0.0])
    _knobs: list[Knobs] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._knobs.append(self.first)

    @property
    def now(self) -> Knobs:
        """The settings in force."""
        return self._knobs[-1]

    def change(self, now_s: float, **settings: Any) -> None:
        """Set something from a time on."""
        knobs = replace(self._knobs[-1], **settings)
        if knobs == self._knobs[-1]:
            return
        at = max(now_s, self._times[-1])
        if at == self._times[-1]:
            self._knobs[-1] = knobs
            return
        self._times.append(at)
        self._knobs.append(knobs)
        if len(self._times) > _MOST:
            del self._times[: _MOST // 10], self._knobs[: _MOST // 10]

    def at(self, time_s: float) -> Knobs:
        """Return the settings at a time."""
        return self._knobs[max(0, bisect_right(self._times, time_s) - 1)]

    def stretches(self, begin_s: float, end_s: float) -> list[tuple[float, float, Knobs]]:
        """Return (begin, end, settings) of every stretch between two times."""
        first = max(0, bisect_right(self._times, begin_s) - 1)
        out = []
        for place in range(first, len(self._times)):
            begin = max(begin_s, self._times[place]) if place > first else begin_s
            last = place + 1 == len(self._times)
            end = end_s if last else min(end_s, self._times[place + 1])
            if end > begin:
                out.append((begin, end, self._knobs[place]))
            if end >= end_s:
                break
        return out

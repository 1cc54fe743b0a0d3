"""The RECord and RAW blocks of the ID900 stub: when it records, and which tags come out.

A record is one acquisition of DURation, or NUMber sub-acquisitions of PWIDth that begin every
PPERiod (vendor example scripts). Tags of RAW1-4 count picoseconds since the begin of their
sub-acquisition, or since the last pulse of the reference, whose number is the reference index. The
manual asks for sub-acquisitions of 0.2 s and 40 ns between them, and warns that more than ten
million events a second overflow the unit, which then wants a restart by hand (p. 48).

Assumed: the recorder's clock is that of the tags, so with ``speed`` a record of one second is over
in 1/speed of it; PLAY with less dead time is refused; an overflow loses the sub-acquisition, counts
as one RAW error a channel and stays until the power is cycled.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.id900_links import Links, Source
from firmware_stubs.ports import CountingPort
from firmware_stubs.scpi import ScpiError

__all__ = ["LARGEST_HZ", "Recorder", "Segment"]

Tags = NDArray[np.uint64]

#: Events a second over all channels that the unit can take (manual, p. 48).
LARGEST_HZ = 10e6
_DEAD_PS = 40e3
_KEPT = 10_000
_PS = 1e12


@dataclass(frozen=True)
class Segment:
    """A sub-acquisition that is over: bench seconds."""

    begin_s: float
    end_s: float


@dataclass
class Recorder:
    """Plays, stops, and hands out the tags of sub-acquisitions that are over; wall times in."""

    links: Links
    port: CountingPort
    speed: float
    overflowed_s: float | None = None
    """Since when the unit wants a restart (wall time)."""
    errors: dict[int, int] = field(default_factory=dict)
    _begin_s: float | None = None
    _ended: int = 0
    _over: list[Segment] = field(default_factory=list)

    def play(self, now_s: float) -> None:
        """Begin a record, or raise :class:`ScpiError` where the times do not fit together."""
        lasts, period, count = self._times()
        if count != 1.0 and period < lasts + _DEAD_PS:
            raise ScpiError(-221, "Settings conflict")
        self.stop(now_s)
        self._begin_s, self._ended = now_s * self.speed, 0

    def stop(self, now_s: float) -> None:
        """End the record; a sub-acquisition that is cut short counts as one that is over."""
        self._advance(now_s)
        if self._begin_s is None:
            return
        lasts, period, count = self._times()
        begin = self._begin_s + self._ended * period / _PS
        end = min(now_s * self.speed, begin + lasts / _PS)
        if self._ended < count and begin < end:
            self._over.append(Segment(begin, end))
        self._begin_s = None

    def playing(self, now_s: float) -> bool:
        """Whether a record is going on."""
        if self._begin_s is None:
            return False
        lasts, period, count = self._times()
        if math.isinf(count):
            return True
        return now_s * self.speed < self._begin_s + ((count - 1.0) * period + lasts) / _PS

    def finished(self, now_s: float) -> list[Segment]:
        """Return the sub-acquisitions that ended since the last call."""
        self._advance(now_s)
        over, self._over = self._over, []
        return over

    def _advance(self, now_s: float) -> None:
        while self._begin_s is not None:
            lasts, period, count = self._times()
            begin = self._begin_s + self._ended * period / _PS
            if self._ended >= count or begin + lasts / _PS > now_s * self.speed:
                break
            self._over.append(Segment(begin, begin + lasts / _PS))
            self._ended += 1
            # Nobody collects: only what is recent can still be asked for.
            del self._over[:-_KEPT]

    def tags(self, channel: int, segment: Segment) -> tuple[Tags, Tags]:
        """Return times and reference indices of RAW ``channel`` (1-4) in a sub-acquisition."""
        stop = self.links.source(str(self.links.setting(f"RAW{channel}:STOP:LINK")))
        if stop is None:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        times = self._times_of(stop, segment)
        reference = self.links.source(str(self.links.setting(f"RAW{channel}:REF:LINK")))
        begin = np.uint64(round(segment.begin_s * _PS))
        if reference is None:
            return times - begin, np.zeros(len(times), np.uint64)
        pulses = self._times_of(reference, segment)
        index = np.searchsorted(pulses, times, side="right")
        seen = index > 0
        # Before the first pulse there is nothing to refer to: such a stop is not reported.
        return times[seen] - pulses[index[seen] - 1], index[seen].astype(np.uint64)

    def check_rate(self, segment: Segment, now_s: float) -> None:
        """Latch the overflow where all inputs together were too fast in a sub-acquisition."""
        seconds = segment.end_s - segment.begin_s
        events = sum(
            self.port.clicks(n, segment.begin_s, segment.end_s)
            for n in range(4)
            if self.links.setting(f"INPU{n + 1}:ENAB") == "ON"
        )
        if seconds > 0.0 and events > LARGEST_HZ * seconds:
            self.overflow(now_s)

    def overflow(self, now_s: float) -> None:
        """Latch the overflow."""
        if self.overflowed_s is None:
            self.overflowed_s = now_s

    def lose(self, channel: int) -> None:
        """Count one error of a RAW channel."""
        self.errors[channel] = self.errors.get(channel, 0) + 1

    def _times(self) -> tuple[float, float, float]:
        """Return length and period of a sub-acquisition in ps, and how many there are."""
        number = self.links.setting("REC:NUMB")
        count = math.inf if number == "INF" else float(number)
        if count == 1.0:
            lasts = float(self.links.setting("REC:DUR"))
            return lasts, lasts, count
        return float(self.links.setting("REC:PWID")), float(self.links.setting("REC:PPER")), count

    def _times_of(self, source: Source, segment: Segment) -> Tags:
        delay_s = source.delay_ps / _PS
        begin, end = segment.begin_s - delay_s, segment.end_s - delay_s
        tap = source.tap
        if tap.source is not None:
            tags = self._clicks(tap.source, begin, end)
        elif tap.period_s is not None:
            # The generator belongs to the instrument: it runs on its clock, as the tags do.
            period = max(1, round(tap.period_s * _PS))
            low, high = (-(-round(t * _PS) // period) for t in (max(0.0, begin), end))
            tags = (np.arange(low, max(low, high)) * period).astype(np.uint64)
        else:
            tags = np.zeros(0, np.uint64)
        if tap.gate is not None or not tap.outside:
            tags = tags[self._let_through(tags, source, begin, end)]
        return tags + np.uint64(round(source.delay_ps))

    def _let_through(
        self, tags: Tags, source: Source, begin: float, end: float
    ) -> NDArray[np.bool_]:
        """Say which events a combiner lets through; without a window all are outside."""
        tap = source.tap
        if tap.gate is None:
            return np.full(len(tags), tap.outside)
        other, low_ps, high_ps = tap.gate
        pulses = self._clicks(other, begin - high_ps / _PS, end - low_ps / _PS).astype(np.int64)
        times = tags.astype(np.int64)
        older = np.searchsorted(pulses, times - round(low_ps), side="right")
        oldest = np.searchsorted(pulses, times - round(high_ps), side="right")
        return np.where(older > oldest, tap.inside, tap.outside)

    def _clicks(self, detector: int, begin: float, end: float) -> Tags:
        if self.links.setting(f"INPU{detector + 1}:ENAB") != "ON":
            return np.zeros(0, np.uint64)
        return self.port.tags_ps(detector, max(0.0, begin), max(0.0, end))

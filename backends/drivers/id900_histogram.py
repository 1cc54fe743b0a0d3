"""Reads start-stop histograms of an ID900.

Its histogram counts how long after a click of REF one of STOP comes, never before. So the later
input goes through a delay block of its own, which moves what is asked for into the positive range.
A histogram that was just flushed must be empty: else it is an old one, and is not believed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.drivers.id900_settings import Settings, limit
from quantum.errors import DeviceProtocol, DeviceTimeout

__all__ = ["Histogram", "Range", "read_histogram"]

#: Block and delay that calibration uses; the counters use delays 1 and 2.
_BLOCK = "HIST1"
_DELAY = "DELA8"

_LIST = re.compile(r"\[\s*([0-9]{1,10}(\s*,\s*[0-9]{1,10})*)?\s*\]\Z")
_MOST_BINS = 16383
_FARTHEST_PS = 1_000_000_000


@dataclass(frozen=True)
class Range:
    """What to count: input ``late`` after input ``early`` (1-4), in ``bins`` from ``begin_ps``."""

    late: int
    early: int
    begin_ps: int
    bin_ps: int
    bins: int

    def check(self) -> "Range":
        """Raise :class:`quantum.errors.DeviceLimit` for what the instrument cannot count."""
        limit("late", self.late, 1, 4)
        limit("early", self.early, 1, 4)
        limit("begin_ps", self.begin_ps, -_FARTHEST_PS, _FARTHEST_PS)
        limit("bin_ps", self.bin_ps, 1, 1_000_000_000)
        limit("bins", self.bins, 1, _MOST_BINS)
        return self


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts (bins,) int64; all of them were counted between two moments of the clock."""

    counts: NDArray[np.int64]
    begin_ps: int
    bin_ps: int
    not_before_s: float
    not_after_s: float


def read_histogram(
    settings: Settings,
    asked: Range,
    seconds: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Histogram:
    """Count into a fresh histogram for ``seconds``.

    Raises :class:`DeviceTimeout` where an old histogram does not go away, and
    :class:`DeviceProtocol` for an answer that is no list of counts.
    """
    asked.check()
    limit("seconds", seconds, 1e-3, 3600.0)
    lead = max(0, -asked.begin_ps)
    settings.set(f"{_DELAY}:LINK", f"INPU{asked.late}")
    settings.set(f"{_DELAY}:VALU", f"{lead}TB")
    settings.set(f"{_BLOCK}:REF:LINK", f"INPU{asked.early}")
    settings.set(f"{_BLOCK}:STOP:LINK", _DELAY)
    settings.set(f"{_BLOCK}:MIN", f"{asked.begin_ps + lead}TB")
    settings.set(f"{_BLOCK}:BWID", f"{asked.bin_ps}TB")
    settings.set(f"{_BLOCK}:BCOU", f"{asked.bins}")
    began = clock()
    # One frame is one instant: what stands there after the flush was there before.
    if _counts(settings, settings.last(f"{_BLOCK}:FLUS;:{_BLOCK}:DATA?"), asked.bins).any():
        raise DeviceTimeout(
            f"{settings.address}: {_BLOCK} is not empty after a flush: frozen, or it cannot flush"
        )
    sleep(seconds)
    counts = _counts(settings, settings.ask(f"{_BLOCK}:DATA?"), asked.bins)
    return Histogram(counts, asked.begin_ps, asked.bin_ps, began, clock())


def _counts(settings: Settings, answer: str, bins: int) -> NDArray[np.int64]:
    text = answer.strip()
    if not _LIST.match(text):
        raise DeviceProtocol(
            f"{settings.address}: {_BLOCK}:DATA? must answer a list of counts, got {text[:40]!r}"
        )
    body = text[1:-1].strip()
    counts = np.array(body.split(",") if body else [], dtype=np.int64)
    if len(counts) != bins:
        raise DeviceProtocol(
            f"{settings.address}: {_BLOCK}:DATA? answered {len(counts)} bins instead of {bins}"
        )
    return counts

"""What was counted on a link lately, and what it says: fidelity with interval and age, and rates.

Windows come in one basis at a time, as many in each as is convenient, so the interval is that of
uneven bases (:mod:`quantum.estimation.uneven`). Times are those of the caller's clock.
"""

from collections import deque
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantum.counts import Counts
from quantum.errors import DeviceProtocol
from quantum.estimate import Estimate
from quantum.estimation.uneven import fidelity_of

__all__ = ["EVEN_PASSES", "Evidence", "LinkEstimate", "Rates", "Window", "window_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Whether equal outcomes are what phi_plus shows, for bases xx, yy, zz.
EVEN_PASSES = (True, False, True)

#: Counts above this cannot be: the counters of instruments are signed words of 32 bits.
_LARGEST_COUNT = 2**31 - 1


@dataclass(frozen=True)
class Window:
    """One counting window of a link: a basis, passes and fails, singles, and when it began."""

    basis: int
    passed: int
    failed: int
    singles: tuple[int, int, int, int]
    seconds: float
    since_s: float

    @property
    def pairs(self) -> int:
        """Coincidences of all four kinds."""
        return self.passed + self.failed


def window_of(
    basis: int,
    even: int,
    odd: int,
    singles: tuple[int, int, int, int],
    seconds: float,
    since_s: float,
) -> Window:
    """Return a window, or raise :class:`DeviceProtocol` for counts that cannot be.

    >>> window_of(1, 3, 4, (9, 9, 9, 9), 0.1, 0.0).passed
    4
    """
    for name, value in (("even", even), ("odd", odd), *(("singles", s) for s in singles)):
        if type(value) is not int or not 0 <= value <= _LARGEST_COUNT:
            raise DeviceProtocol(
                f"{name} counts must be whole numbers from 0 to 2^31-1, got {value!r}"
            )
    if even + odd > min(sum(singles[:2]), sum(singles[2:])):
        raise DeviceProtocol(
            f"{even + odd} coincidences cannot come from {sum(singles[:2])} and "
            f"{sum(singles[2:])} singles"
        )
    passed, failed = (even, odd) if EVEN_PASSES[basis] else (odd, even)
    return Window(basis, passed, failed, singles, seconds, since_s)


class LinkEstimate(msgspec.Struct, frozen=True):
    """A link's fidelity: an interval, how old the newest count is, and the calibration behind it.

    ``age_s`` is infinite, and the interval all of [0, 1], where nothing was counted.
    """

    fidelity: Estimate
    age_s: float
    calibration: str


@dataclass(frozen=True)
class Rates:
    """Mean rates: coincidences of all kinds, and the singles of each detector, in Hz."""

    pairs_hz: float
    singles_hz: tuple[float, float, float, float]


@dataclass
class Evidence:
    """The windows of one link within ``keep_s`` of the newest, oldest first."""

    keep_s: float
    windows: deque[Window] = field(default_factory=deque)

    def add(self, window: Window) -> None:
        """Add a window and forget old ones."""
        self.windows.append(window)
        while self.windows[0].since_s < window.since_s - self.keep_s:
            self.windows.popleft()

    def clear(self) -> None:
        """Forget everything: what was counted says nothing about what is now."""
        self.windows.clear()

    def counts(self, since_s: float = float("-inf")) -> Counts:
        """Sum passes and fails of the windows that began at ``since_s`` or later."""
        table = np.zeros((3, 2), dtype=np.int64)
        for window in self.windows:
            if window.since_s >= since_s:
                table[window.basis] += (window.passed, window.failed)
        return Counts.from_array(table)

    def rates(self, since_s: float = float("-inf")) -> Rates | None:
        """Return mean rates of the windows since a time; None where there are none."""
        chosen = [w for w in self.windows if w.since_s >= since_s]
        seconds = sum(w.seconds for w in chosen)
        if not chosen or seconds <= 0.0:
            return None
        singles = np.sum([w.singles for w in chosen], axis=0) / seconds
        a, b, c, d = (float(s) for s in singles)
        return Rates(sum(w.pairs for w in chosen) / seconds, (a, b, c, d))

    def fidelity(self, since_s: float = float("-inf"), *, confidence: float = 0.95) -> Estimate:
        """Estimate the fidelity from the windows since a time; bases may be uneven."""
        counts = self.counts(since_s)
        if counts.shots == 0:
            return Estimate(0.0, 0.5, 1.0, confidence, 0)
        return fidelity_of(counts, confidence=confidence, bases="uneven")[0]

    def estimate(self, now_s: float, calibration: str) -> LinkEstimate:
        """Return what is known now."""
        age_s = now_s - self.windows[-1].since_s if self.windows else float("inf")
        return LinkEstimate(self.fidelity(), age_s, calibration)

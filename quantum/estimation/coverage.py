"""Does an interval keep its promise? Its coverage, by exact summation over all outcomes.

An interval is any function ``interval(passed, n) -> (low, high)``: for arrays of passes out of n
tests it returns where the chance to pass is said to be. Its *coverage* at p is the chance that it
contains p when each test passes with chance p (Brown, Cai and DasGupta, Stat. Sci. 16, 101, 2001).
"""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, xlog1py, xlogy

from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import estimate

__all__ = ["Interval", "Worst", "coverage", "of_estimate", "worst_coverage"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Interval = Callable[[Ints, int], tuple[ArrayLike, ArrayLike]]

#: Chances looked at together; times outcomes, this is the memory that is needed.
_CHUNK = 256


class Worst(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least coverage of an interval, and the chance to pass at which it is approached."""

    coverage: float
    p: float


def coverage(interval: Interval, p: ArrayLike, n: int) -> Floats:
    """Return the exact coverage of an interval after n tests, for each chance ``p`` ``(...)``.

    >>> def certain(passed, n):
    ...     return passed * 0.0, passed * 0.0 + 1.0
    >>> coverage(certain, [0.5, 0.9], 10).tolist()
    [1.0, 1.0]
    """
    chance = np.asarray(p, dtype=np.float64)
    if not np.all((chance >= 0.0) & (chance <= 1.0)):
        raise InputError("p must be between 0 and 1")
    low, high = _table(interval, n)
    flat = chance.ravel()
    return _covered(flat, flat, low, high).reshape(chance.shape)


def worst_coverage(
    interval: Interval, n: int, *, least: float = 1.0 / 3.0, most: float = 1.0, points: int = 200
) -> Worst:
    """Return the least coverage after n tests of all chances from ``least`` to ``most``.

    Looks at a grid, and on both sides of every end of an interval: between two neighbouring ends
    the same outcomes cover p, and where these are successive ones, as for every sensible interval,
    their probability has no minimum between. So this is the infimum, not only that of a grid. The
    default range is that of the fidelities 0 to 1.

    >>> worst = worst_coverage(of_estimate(0.95), 30)
    >>> 0.95 <= worst.coverage < 0.96
    True
    """
    if not 0.0 <= least < most <= 1.0:
        raise InputError(f"least and most must be 0 <= least < most <= 1, got {least}, {most}")
    if points < 2:
        raise InputError(f"points must be >= 2, got {points}")
    low, high = _table(interval, n)
    ends = np.unique(np.clip(np.concatenate([low, high, [least, most]]), least, most))
    # A cell between two ends has the outcomes of its middle, and the limits of p at both its ends.
    middle = (ends[:-1] + ends[1:]) / 2.0
    grid = np.linspace(least, most, points)
    at = np.concatenate([ends[:-1], ends[1:], ends, grid])
    by = np.concatenate([middle, middle, ends, grid])
    found = _covered(at, by, low, high)
    lowest = int(found.argmin())
    return Worst(coverage=float(found[lowest]), p=float(at[lowest]))


def of_estimate(confidence: float = 0.95) -> Interval:
    """Return :func:`quantum.estimate.estimate` as an interval for the chance to pass.

    It knows that p is at least 1/3 for any state, so that is all it promises to cover.
    """

    def interval(passed: Ints, n: int) -> tuple[Floats, Floats]:
        found = [
            estimate(Counts(xx=Tally(s, n - s)), confidence=confidence) for s in passed.tolist()
        ]
        low, high = np.array([(e.low, e.high) for e in found]).T
        return (1.0 + 2.0 * low) / 3.0, (1.0 + 2.0 * high) / 3.0

    return interval


def _table(interval: Interval, n: int) -> tuple[Floats, Floats]:
    """Return the ends of the interval for each of the n + 1 outcomes."""
    if n < 0:
        raise InputError(f"n must be >= 0 tests, got {n}")
    ends = interval(np.arange(n + 1), n)
    low, high = (np.asarray(end, dtype=np.float64) for end in ends)
    if low.shape != (n + 1,) or high.shape != (n + 1,) or np.any(np.isnan(low) | np.isnan(high)):
        raise InputError(f"interval must return {n + 1} ends low and {n + 1} ends high, not NaN")
    return low, high


def _covered(at: Floats, by: Floats, low: Floats, high: Floats) -> Floats:
    """Return the chance at p = ``at`` of the outcomes whose interval contains ``by``."""
    n = len(low) - 1
    s = np.arange(n + 1)
    ways = gammaln(n + 1.0) - gammaln(s + 1.0) - gammaln(n - s + 1.0)
    found = np.empty(len(at))
    for i in range(0, len(at), _CHUNK):
        p, q = at[i : i + _CHUNK, None], by[i : i + _CHUNK, None]
        chance = np.exp(ways + xlogy(s, p) + xlog1py(n - s, -p))
        found[i : i + _CHUNK] = np.where((low <= q) & (q <= high), chance, 0.0).sum(axis=1)
    return np.minimum(1.0, found)

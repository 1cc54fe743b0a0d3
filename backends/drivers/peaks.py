"""Finds the coincidence peak of two detectors in a histogram of arrival-time differences.

Pure functions. A window slides over the histogram at several widths. In a flat histogram each of
its counts falls into a window of w of b bins with chance w/b, so the chance of what is seen is a
tail of the binomial distribution, exactly; it is multiplied by the number of windows tried
(Bonferroni). Centre and width are moments of what stands above the background.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, log_ndtr, ndtri_exp

from quantum.errors import InputError

__all__ = ["Peak", "differences", "find_peak"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Tags = NDArray[np.uint64]

#: Half width of the stretch whose moments are taken, in standard deviations of the peak, and the
#: share of a Gaussian's variance that lies inside: 1 - 2 c phi(c) / (2 Phi(c) - 1).
_CUT = 3.0
_KEPT = 0.97331
_ROUNDS = 20
#: Pairs of tags that are looked at in one go.
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Peak:
    """A peak: times in ps, counts without unit."""

    centre_ps: float
    centre_error_ps: float
    """Standard error of the centre, of its counts alone."""
    width_ps: float
    """Standard deviation of the peak, corrected for the width of a bin."""
    counts: float
    """What stands above the background."""
    background_per_bin: float
    significance: float
    """Standard deviations, after correction for the number of places and widths tried."""


def differences(
    late: Tags, early: Tags, begin_ps: int, bin_ps: int, bins: int
) -> NDArray[np.int64]:
    """Count how often a tag of ``late`` came so long after one of ``early``: shape (bins,).

    Both are sorted, uint64 ps. Every pair of tags whose difference lies in the range counts; memory
    is bounded whatever the rates.

    >>> differences(np.array([100, 205], np.uint64), np.array([95, 200], np.uint64), 0, 5, 4)
    array([0, 2, 0, 0])
    """
    if bin_ps < 1 or bins < 1:
        raise InputError(f"bin_ps and bins must be >= 1, got {bin_ps} and {bins}")
    a, b = late.astype(np.int64), early.astype(np.int64)
    first = np.searchsorted(b, a - (begin_ps + bin_ps * bins), side="right")
    last = np.searchsorted(b, a - begin_ps, side="right")
    many = last - first
    ends = np.cumsum(many)
    counts = np.zeros(bins, dtype=np.int64)
    place = 0
    while place < len(a):
        done = ends[place - 1] if place else 0
        stop = max(place + 1, int(np.searchsorted(ends, done + _AT_ONCE, side="right")))
        n = many[place:stop]
        within = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
        gaps = np.repeat(a[place:stop], n) - b[np.repeat(first[place:stop], n) + within]
        counts += np.bincount((gaps - begin_ps) // bin_ps, minlength=bins)[:bins]
        place = stop
    return counts


def find_peak(
    counts: Ints, begin_ps: float, bin_ps: float, *, significance: float = 5.0
) -> Peak | None:
    """Return the peak of a histogram (bins,) that begins at ``begin_ps``; None where it is flat.

    ``significance`` is the least that is believed, in standard deviations after all trials: at 5 a
    flat histogram shows a peak once in 3.5 million times.
    """
    if counts.ndim != 1 or len(counts) < 8:
        raise InputError("a histogram needs at least 8 bins in one dimension")
    if not bin_ps > 0.0 or not math.isfinite(begin_ps):
        raise InputError(f"bin_ps must be > 0 and begin_ps finite, got {bin_ps} and {begin_ps}")
    if counts.min() < 0:
        raise InputError("a histogram has no negative counts")
    size = len(counts)
    sums = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    best, low, high, trials = 0.0, 0, 0, 0
    width = 1
    while width <= size // 4:
        inside = sums[width:] - sums[:-width]
        place = int(np.argmax(inside))
        trials += len(inside)
        chance = _log_tail(float(inside[place]), float(sums[-1]), width / size)
        if chance < best:
            best, low, high = chance, place, place + width
        width = max(width + 1, int(width * 1.5))
    best += math.log(trials)
    if best > float(log_ndtr(-significance)):
        return None
    return _moments(counts, begin_ps, bin_ps, low, high, -float(ndtri_exp(best)))


def _log_tail(inside: float, total: float, share: float) -> float:
    """Return ln of the chance that ``inside`` or more of ``total`` fall into a share."""
    tail = float(bdtrc(inside - 1.0, int(total), share))
    if tail > 1e-290:
        return math.log(tail)
    # Too small for a float: Chernoff's bound, ln <= -N KL(n/N || p).
    rest = total - inside
    exponent = inside * math.log(inside / (total * share))
    return -exponent - (rest * math.log(rest / (total * (1.0 - share))) if rest > 0.0 else 0.0)


def _moments(
    counts: Ints, begin_ps: float, bin_ps: float, low: int, high: int, sigmas: float
) -> Peak:
    """Refine a window: moments above the background, in a stretch of three deviations around."""
    middles = begin_ps + (np.arange(len(counts)) + 0.5) * bin_ps
    centre = begin_ps + 0.5 * (low + high) * bin_ps
    width = max(0.5 * (high - low), 0.5) * bin_ps
    above, background, total = 0.0, 0.0, 0.0
    for _ in range(_ROUNDS):
        reach = max(_CUT * width, 1.5 * bin_ps)
        near = np.abs(middles - centre) <= reach
        far = np.abs(middles - centre) > 2.0 * reach
        background = float(counts[far].mean()) if far.any() else 0.0
        over = counts[near] - background
        above, total = float(over.sum()), float(counts[near].sum())
        if above <= 0.0:
            break
        there = float((over * middles[near]).sum()) / above
        spread = float((over * (middles[near] - there) ** 2).sum()) / above
        wide = math.sqrt(max(spread / _KEPT - bin_ps**2 / 12.0, (0.3 * bin_ps) ** 2))
        settled = abs(there - centre) + abs(wide - width) < 1e-3 * bin_ps
        centre, width = there, wide
        if settled:
            break
    flat = background * 2.0 * _CUT * width / bin_ps
    # Counts of the peak move the mean by width / sqrt(N); a flat background adds its own spread.
    spread_of_mean = above * width**2 + flat * (_CUT * width) ** 2 / 3.0 + total * bin_ps**2 / 12.0
    return Peak(
        centre_ps=centre,
        centre_error_ps=math.sqrt(spread_of_mean) / max(above, 1.0),
        width_ps=width,
        counts=above,
        background_per_bin=background,
        significance=sigmas,
    )

"""Allocators in pairs: differences on the same draws, with intervals over clusters."""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from controller.statistics.samples import (
    RESAMPLES,
    Better,
    Floats,
    Ints,
    check_confidence,
    cluster_means,
    finite,
    iqm,
    number_clusters,
    t_tail,
    tails_of,
)

__all__ = ["Paired", "paired"]

#: Most numbers of a block of resamples.
_CHUNK = 2_000_000


class Paired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allocator a against b on the same cells.

    ``relative`` is the ratio of the means over cells - 1 and ``low``, ``high`` its interval.
    ``p_improvement`` is the share of cells in which a is better, ties counted half. ``difference``
    is the mean of a - b over cells, with the interval ``t_low``, ``t_high`` of Student's t on the
    means of the clusters (about their mean, which is ``difference`` where clusters are of equal
    size); ``iqm_difference`` is its interquartile mean, with a bootstrap interval over clusters.
    ``d_z`` is the difference of the cells over their standard deviation (Cohen 1988), ``p`` from a
    t test on the means of the clusters.
    """

    relative: float
    low: float
    high: float
    p_improvement: float
    difference: float
    t_low: float
    t_high: float
    iqm_difference: float
    iqm_low: float
    iqm_high: float
    d_z: float
    p: float
    cells: int
    clusters: int


def paired(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    *,
    rng: np.random.Generator,
    better: Better = "higher",
    confidence: float = 0.95,
) -> Paired:
    """Compare a with b, both (cells,), where ``clusters`` (cells,) names each cell's cluster.

    Bootstrap intervals resample whole clusters. Few clusters give bootstrap quantiles that are too
    narrow; they are stretched about the estimate by ``sqrt(G / (G - 1)) t_{G-1} / z`` (the factor
    of Hesterberg, Am. Stat. 69, 371, 2015). With one cluster, or a mean of b that is not positive,
    there is no interval. The interquartile mean is advised by Agarwal et al., "Deep reinforcement
    learning at the edge of the statistical precipice", NeurIPS 2021.
    """
    x, y = finite("a", a), finite("b", b)
    group, size = number_clusters(clusters, x, y)
    check_confidence(confidence)
    d = x - y
    sign = 1.0 if better == "higher" else -1.0
    means = cluster_means(d, group, size)
    sums: Floats = np.stack([np.bincount(group, weights=v, minlength=size) for v in (x, y)])
    relative = float(_relative(sums.sum(axis=1)))
    middle = iqm(d)
    low = high = iqm_low = iqm_high = math.nan
    if size > 1:
        drawn = rng.multinomial(size, np.full(size, 1.0 / size), size=RESAMPLES)
        iqm_low, iqm_high = _interval(_iqms(d, group, drawn), middle, size, confidence)
        if math.isfinite(relative):
            low, high = _interval(_relative(drawn @ sums.T), relative, size, confidence)
    t_low, t_high = _t_interval(means, confidence)
    spread = float(d.std(ddof=1)) if len(d) > 1 else math.nan
    return Paired(
        relative=relative,
        low=max(low, -1.0),
        high=high,
        p_improvement=float(np.mean((sign * d > 0) + 0.5 * (d == 0))),
        difference=float(d.mean()),
        t_low=t_low,
        t_high=t_high,
        iqm_difference=middle,
        iqm_low=iqm_low,
        iqm_high=iqm_high,
        d_z=float(d.mean()) / spread if spread > 0 else math.nan,
        p=float(np.minimum(1.0, 2.0 * t_tail(abs(float(means.mean())), means))),
        cells=len(d),
        clusters=size,
    )


def _iqms(d: Floats, group: Ints, drawn: Ints) -> Floats:
    """Return the interquartile mean of every resample; ``drawn`` (S, G) copies of each cluster."""
    order = np.argsort(d, kind="stable")
    value, of = d[order], group[order]
    out = np.empty(len(drawn))
    step = max(1, _CHUNK // len(d))
    for first in range(0, len(drawn), step):
        top = np.cumsum(drawn[first : first + step, of], axis=1)
        total = top[:, -1:]
        cut = total // 4
        inside = np.clip(np.hstack([np.zeros_like(total), top]), cut, total - cut)
        kept = inside[:, 1:] - inside[:, :-1]
        out[first : first + step] = kept @ value / (total - 2 * cut)[:, 0]
    return out


def _relative(sums: Floats) -> Floats:
    """Ratio of sums (..., 2) - 1; nan where the second is not positive."""
    first, second = sums[..., 0], sums[..., 1]
    return np.where(second > 0, first / np.where(second > 0, second, 1.0) - 1.0, np.nan)


def _interval(drawn: Floats, centre: float, size: int, confidence: float) -> tuple[float, float]:
    if np.mean(np.isfinite(drawn)) < 0.99:
        return math.nan, math.nan
    tails = tails_of(confidence)
    low, high = np.nanquantile(drawn, tails)
    stretch = math.sqrt(size / (size - 1)) * float(
        stats.t.ppf(tails[1], size - 1) / stats.norm.ppf(tails[1])
    )
    return float(centre + stretch * (low - centre)), float(centre + stretch * (high - centre))


def _t_interval(means: Floats, confidence: float) -> tuple[float, float]:
    size = len(means)
    if size < 2:
        return math.nan, math.nan
    half = float(means.std(ddof=1)) / math.sqrt(size)
    half *= float(stats.t.ppf(tails_of(confidence)[1], size - 1))
    return float(means.mean()) - half, float(means.mean()) + half

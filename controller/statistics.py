"""How sure a comparison of allocators is: paired, clustered, with effect sizes.

Every allocator plays the same draws, so differences are taken cell by cell. Cells of one network
and seed share their luck: the *cluster* is the unit that is resampled and counted, never the cell.
All functions are pure: arrays in, frozen values out; an unknown number is ``nan``.
"""

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quantum.errors import InputError

__all__ = ["Anova", "Convergence", "NotWorse", "Paired", "anova", "convergence"]
__all__ += ["holm", "iqm", "not_worse", "paired"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Better = Literal["higher", "lower"]

#: Resamples of a bootstrap: the 2.5 % quantile then wobbles by 3 % of the interval's width.
RESAMPLES = 4000


class Paired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allocator a against b on the same cells.

    ``relative`` is the ratio of the means over cells - 1 and ``low``, ``high`` its interval.
    ``p_improvement`` is the share of cells in which a is better, ties counted half. ``difference``
    is the mean of a - b, ``iqm_difference`` its interquartile mean, ``d_z`` the difference of the
    cells over their standard deviation, ``p`` from a t test on the means of the clusters.
    """

    relative: float
    low: float
    high: float
    p_improvement: float
    difference: float
    iqm_difference: float
    d_z: float
    p: float
    cells: int
    clusters: int


class Anova(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One-way repeated measures: do the allocators differ at all?

    ``df`` are the two degrees of freedom after the correction by ``epsilon``; ``p`` belongs to
    them. ``eta_squared`` is the generalised one, ``partial_eta_squared`` leaves out what differs
    between cells.
    """

    F: float
    df: tuple[float, float]
    p: float
    eta_squared: float
    partial_eta_squared: float
    epsilon: float
    correction: str = "greenhouse-geisser"


class NotWorse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two one-sided t tests against a margin: ``p_worse`` refutes "worse by the margin or more"."""

    difference: float
    p_worse: float
    p_better: float
    not_worse: bool
    equivalent: bool


class Convergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps to 95 % of the final level, with an interval over training runs."""

    steps: float
    low: float
    high: float
    level: float


def iqm(values: ArrayLike) -> float:
    """Return the interquartile mean: a quarter of the values cut off at either end.

    >>> iqm([0.0, 1.0, 3.0, 100.0])
    2.0
    """
    sample = _sample("values", values)
    return float(stats.trim_mean(sample, 0.25)) if sample.size else math.nan


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

    The interval comes from a bootstrap that resamples whole clusters. Few clusters give bootstrap
    quantiles that are too narrow; they are stretched about the estimate by
    ``sqrt(G / (G - 1)) t_{G-1} / z`` (the factor of Hesterberg, Am. Stat. 69, 371, 2015). With one
    cluster, or a mean of b that is not positive, there is no interval.
    """
    x, y = _sample("a", a), _sample("b", b)
    group, size = _clusters(clusters, x, y)
    _check_confidence(confidence)
    d = x - y
    sign = 1.0 if better == "higher" else -1.0
    means = _cluster_means(d, group, size)
    sums: Floats = np.stack([np.bincount(group, weights=v, minlength=size) for v in (x, y)])
    relative = _relative(sums.sum(axis=1))
    low, high = math.nan, math.nan
    if size > 1 and math.isfinite(relative):
        drawn = rng.multinomial(size, np.full(size, 1.0 / size), size=RESAMPLES)
        low, high = _interval(_relative(drawn @ sums.T), relative, size, confidence)
    spread = float(d.std(ddof=1)) if len(d) > 1 else math.nan
    return Paired(
        relative=float(relative),
        low=max(low, -1.0),
        high=high,
        p_improvement=float(np.mean((sign * d > 0) + 0.5 * (d == 0))),
        difference=float(d.mean()),
        iqm_difference=iqm(d),
        d_z=float(d.mean()) / spread if spread > 0 else math.nan,
        p=float(np.minimum(1.0, 2.0 * _tail(abs(float(means.mean())), means))),
        cells=len(d),
        clusters=size,
    )


def anova(values: ArrayLike) -> Anova:
    """Test whether the columns of (cells, allocators) differ, each cell measured under all.

    F is that of repeated measures; Greenhouse and Geisser (Psychometrika 24, 95, 1959) shrink the
    degrees of freedom where variances of differences are unequal. Generalised eta squared
    (Olejnik and Algina, Psychol. Methods 8, 434, 2003) can be compared with designs between groups.
    Raises :class:`InputError` for fewer than two cells or two allocators.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.all(np.isfinite(table)):
        raise InputError(
            f"anova needs finite (cells, allocators) of at least (2, 2), got {table.shape}"
        )
    n, k = table.shape
    centre = table.mean()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    between = k * float(((rows - centre) ** 2).sum())
    effect = n * float(((columns - centre) ** 2).sum())
    error = float(((table - rows[:, None] - columns[None, :] + centre) ** 2).sum())
    # What is left of equal numbers after subtraction is rounding, not error.
    noise = 1e-24 * n * k * float(np.abs(table).max()) ** 2
    effect, error = (0.0 if part <= noise else part for part in (effect, error))
    epsilon = _epsilon(table) if error else 1.0
    df = (epsilon * (k - 1), epsilon * (k - 1) * (n - 1))
    if error:
        ratio = (effect / (k - 1)) / (error / ((k - 1) * (n - 1)))
        chance = float(stats.f.sf(ratio, *df))
    else:
        ratio, chance = (math.inf, 0.0) if effect else (0.0, 1.0)
    return Anova(
        F=ratio,
        df=df,
        p=chance,
        eta_squared=_share(effect, effect + between + error),
        partial_eta_squared=_share(effect, effect + error),
        epsilon=epsilon,
    )


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p values of planned contrasts (Holm, Scand. J. Stat. 6, 65, 1979).

    Unknown ones (``nan``) stay unknown and are not counted.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    for name, value in p.items():
        if not (math.isnan(value) or 0.0 <= value <= 1.0):
            raise InputError(f"p of {name} must be between 0 and 1, got {value}")
    known = sorted((value, name) for name, value in p.items() if not math.isnan(value))
    adjusted = dict(p)
    highest = 0.0
    for rank, (value, name) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        adjusted[name] = highest
    return adjusted


def not_worse(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    *,
    margin: float,
    better: Better = "higher",
    alpha: float = 0.05,
) -> NotWorse:
    """Test that a is not worse than b by ``margin`` (> 0, in the unit of the values) or more.

    Two one-sided t tests (Schuirmann, J. Pharmacokinet. Biopharm. 15, 657, 1987) on the mean
    differences of the clusters, signed so that positive is better. ``not_worse`` needs the lower
    one to reject at ``alpha``, ``equivalent`` both; with one cluster neither can be shown.
    """
    if not 0.0 < margin < math.inf:
        raise InputError(f"margin must be > 0, got {margin}")
    _check_confidence(1.0 - alpha)
    x, y = _sample("a", a), _sample("b", b)
    group, size = _clusters(clusters, x, y)
    means = _cluster_means((x - y) * (1.0 if better == "higher" else -1.0), group, size)
    middle = float(means.mean())
    worse, best = _tail(middle + margin, means), _tail(margin - middle, means)
    return NotWorse(
        difference=middle,
        p_worse=worse,
        p_better=best,
        not_worse=worse < alpha,
        equivalent=max(worse, best) < alpha,
    )


def convergence(
    curves: ArrayLike,
    steps: ArrayLike,
    *,
    rng: np.random.Generator,
    share: float = 0.95,
    confidence: float = 0.95,
) -> Convergence:
    """Return the steps after which training has come to ``share`` of its final level.

    ``curves`` (runs, evaluations) are scores of training runs at ``steps`` (evaluations,), rising.
    The level is the interquartile mean over runs, at the end that of the last tenth of the
    evaluations; the first evaluation that reaches ``share`` of it counts. The interval is a
    percentile bootstrap over runs; with one run it is unknown.
    """
    table = np.asarray(curves, dtype=np.float64)
    at = _sample("steps", steps)
    if table.ndim != 2 or not table.size or not np.all(np.isfinite(table)):
        raise InputError(f"curves must be finite, (runs, evaluations), got {table.shape}")
    if at.shape != table.shape[1:] or np.any(np.diff(at) <= 0):
        raise InputError(f"steps must be {table.shape[1]} rising numbers")
    if not 0.0 < share <= 1.0:
        raise InputError(f"share must be in (0, 1], got {share}")
    _check_confidence(confidence)
    runs = len(table)
    found, level = _reached(table, at, share)
    low, high = math.nan, math.nan
    if runs > 1:
        drawn = rng.integers(runs, size=(RESAMPLES // 4, runs))
        again = [_reached(table[index], at, share)[0] for index in drawn]
        low, high = np.quantile(again, _tails(confidence)).tolist()
    return Convergence(steps=found, low=low, high=high, level=level)


def _reached(table: Floats, at: Floats, share: float) -> tuple[float, float]:
    middle: Floats = stats.trim_mean(table, 0.25, axis=0)
    level = float(middle[-max(1, len(at) // 10) :].mean())
    wanted = level - (1.0 - share) * abs(level)
    return float(at[np.argmax(middle >= wanted - 1e-12 * abs(level))]), level


def _sample(name: str, values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.all(np.isfinite(sample)):
        raise InputError(f"{name} must be a list of finite numbers")
    return sample


def _clusters(names: ArrayLike, x: Floats, y: Floats) -> tuple[Ints, int]:
    """Number the clusters 0 to G - 1; returns each cell's number and G."""
    _, group = np.unique(np.asarray(names), return_inverse=True)
    group = group.ravel().astype(np.int64)
    if not len(x) or x.shape != y.shape or group.shape != x.shape:
        raise InputError(
            f"a, b and clusters need the same cells, at least one; "
            f"got {len(x)}, {len(y)} and {len(group)}"
        )
    return group, int(group.max()) + 1


def _cluster_means(d: Floats, group: Ints, size: int) -> Floats:
    means: Floats = np.bincount(group, weights=d, minlength=size) / np.bincount(group)
    return means


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")


def _tails(confidence: float) -> tuple[float, float]:
    return (1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0


def _relative(sums: Floats) -> Floats:
    """Ratio of sums (..., 2) - 1; nan where the second is not positive."""
    first, second = sums[..., 0], sums[..., 1]
    return np.where(second > 0, first / np.where(second > 0, second, 1.0) - 1.0, np.nan)


def _interval(drawn: Floats, centre: Floats, size: int, confidence: float) -> tuple[float, float]:
    if np.mean(np.isfinite(drawn)) < 0.99:
        return math.nan, math.nan
    tails = _tails(confidence)
    low, high = np.nanquantile(drawn, tails)
    stretch = math.sqrt(size / (size - 1)) * float(
        stats.t.ppf(tails[1], size - 1) / stats.norm.ppf(tails[1])
    )
    return float(centre + stretch * (low - centre)), float(centre + stretch * (high - centre))


def _tail(distance: float, means: Floats) -> float:
    """Chance of a mean this far above its null value, by Student's t on the clusters' means."""
    if len(means) < 2:
        return math.nan
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    # Clusters that agree to the last digits: there is no noise to test against.
    if error <= 1e-15 * max(1.0, float(np.abs(means).max())):
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / error, len(means) - 1))


def _epsilon(table: Floats) -> float:
    k = table.shape[1]
    spread = np.cov(table, rowvar=False)
    centred = spread - spread.mean(axis=0) - spread.mean(axis=1)[:, None] + spread.mean()
    return min(1.0, float(np.trace(centred) ** 2 / ((k - 1) * (centred**2).sum())))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0

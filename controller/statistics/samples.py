"""What all comparisons share: samples, clusters, and tails of Student's t on cluster means."""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from quantum.errors import InputError

__all__ = ["RESAMPLES", "Better", "check_confidence", "cluster_means", "finite", "iqm"]
__all__ += ["number_clusters", "t_tail", "tails_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Better = Literal["higher", "lower"]

#: Resamples of a bootstrap: the 2.5 % quantile then wobbles by 3 % of the interval's width.
RESAMPLES = 4000


def iqm(values: ArrayLike) -> float:
    """Return the interquartile mean: a quarter of the values cut off at either end.

    >>> iqm([0.0, 1.0, 3.0, 100.0])
    2.0
    """
    sample = finite("values", values)
    return float(stats.trim_mean(sample, 0.25)) if sample.size else math.nan


def finite(name: str, values: ArrayLike) -> Floats:
    """Return a list of finite numbers as an array; ``name`` is for the error."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.all(np.isfinite(sample)):
        raise InputError(f"{name} must be a list of finite numbers")
    return sample


def number_clusters(names: ArrayLike, x: Floats, y: Floats) -> tuple[Ints, int]:
    """Number the clusters 0 to G - 1; returns each cell's number and G."""
    _, group = np.unique(np.asarray(names), return_inverse=True)
    group = group.ravel().astype(np.int64)
    if not len(x) or x.shape != y.shape or group.shape != x.shape:
        raise InputError(
            f"a, b and clusters need the same cells, at least one; "
            f"got {len(x)}, {len(y)} and {len(group)}"
        )
    return group, int(group.max()) + 1


def cluster_means(d: Floats, group: Ints, size: int) -> Floats:
    """Return the mean of each cluster, (G,)."""
    means: Floats = np.bincount(group, weights=d, minlength=size) / np.bincount(group)
    return means


def check_confidence(confidence: float) -> None:
    """Refuse what is no probability between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")


def tails_of(confidence: float) -> tuple[float, float]:
    """Return the two quantiles of an interval.

    >>> tails_of(0.5)
    (0.25, 0.75)
    """
    return (1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0


def t_tail(distance: float, means: Floats) -> float:
    """Chance of a mean this far above its null value, by Student's t on the clusters' means."""
    if len(means) < 2:
        return math.nan
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    # Clusters that agree to the last digits: there is no noise to test against.
    if error <= 1e-15 * max(1.0, float(np.abs(means).max())):
        return 0.0 if distance > 0 else 1.0
    return float(stats.t.sf(distance / error, len(means) - 1))

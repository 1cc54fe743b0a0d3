"""Planned contrasts: adjusted p values, and tests of "not worse"."""

import math
from collections.abc import Mapping

import msgspec
from numpy.typing import ArrayLike

from controller.statistics.samples import (
    Better,
    check_confidence,
    cluster_means,
    finite,
    number_clusters,
    t_tail,
)
from quantum.errors import InputError

__all__ = ["NotWorse", "holm", "not_worse"]


class NotWorse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two one-sided t tests against a margin: ``p_worse`` refutes "worse by the margin or more"."""

    difference: float
    p_worse: float
    p_better: float
    not_worse: bool
    equivalent: bool


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
    check_confidence(1.0 - alpha)
    x, y = finite("a", a), finite("b", b)
    group, size = number_clusters(clusters, x, y)
    means = cluster_means((x - y) * (1.0 if better == "higher" else -1.0), group, size)
    middle = float(means.mean())
    worse, best = t_tail(middle + margin, means), t_tail(margin - middle, means)
    return NotWorse(
        difference=middle,
        p_worse=worse,
        p_better=best,
        not_worse=worse < alpha,
        equivalent=max(worse, best) < alpha,
    )

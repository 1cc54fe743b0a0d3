"""Delivery over the size of the network: a straight line with its interval."""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from controller.statistics.samples import check_confidence, finite, tails_of
from quantum.errors import InputError

__all__ = ["Regression", "regression"]


class Regression(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``y = intercept + slope x``; ``low`` and ``high`` are of the slope, ``r2`` is explained."""

    slope: float
    low: float
    high: float
    intercept: float
    r2: float
    p: float
    points: int


def regression(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> Regression:
    """Fit a line by least squares; the interval of the slope is Student's t on n - 2.

    Give one point for each independent thing (a network with a seed), never one for each cell.
    Raises :class:`InputError` for fewer than three points or a single x.

    >>> regression([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).slope
    2.0
    """
    a, b = finite("x", x), finite("y", y)
    check_confidence(confidence)
    if a.shape != b.shape or len(a) < 3 or np.ptp(a) == 0.0:
        raise InputError("a regression needs at least three points, of at least two different x")
    fit = stats.linregress(a, b)
    half = float(fit.stderr) * float(stats.t.ppf(tails_of(confidence)[1], len(a) - 2))
    slope = float(fit.slope)
    flat = np.ptp(b) == 0.0
    return Regression(
        slope=slope,
        low=slope - half,
        high=slope + half,
        intercept=float(fit.intercept),
        r2=math.nan if flat else float(fit.rvalue) ** 2,
        p=1.0 if flat else float(fit.pvalue),
        points=len(a),
    )

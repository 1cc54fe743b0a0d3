"""How long learning takes: steps to a share of the final level."""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from controller.statistics.samples import RESAMPLES, Floats, check_confidence, finite, tails_of
from quantum.errors import InputError

__all__ = ["Convergence", "convergence"]


class Convergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps to 95 % of the final level, with an interval over training runs."""

    steps: float
    low: float
    high: float
    level: float


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
    at = finite("steps", steps)
    if table.ndim != 2 or not table.size or not np.all(np.isfinite(table)):
        raise InputError(f"curves must be finite, (runs, evaluations), got {table.shape}")
    if at.shape != table.shape[1:] or np.any(np.diff(at) <= 0):
        raise InputError(f"steps must be {table.shape[1]} rising numbers")
    if not 0.0 < share <= 1.0:
        raise InputError(f"share must be in (0, 1], got {share}")
    check_confidence(confidence)
    runs = len(table)
    found, level = _reached(table, at, share)
    low, high = math.nan, math.nan
    if runs > 1:
        drawn = rng.integers(runs, size=(RESAMPLES // 4, runs))
        again = [_reached(table[index], at, share)[0] for index in drawn]
        low, high = np.quantile(again, tails_of(confidence)).tolist()
    return Convergence(steps=found, low=low, high=high, level=level)


def _reached(table: Floats, at: Floats, share: float) -> tuple[float, float]:
    middle: Floats = stats.trim_mean(table, 0.25, axis=0)
    level = float(middle[-max(1, len(at) // 10) :].mean())
    wanted = level - (1.0 - share) * abs(level)
    return float(at[np.argmax(middle >= wanted - 1e-12 * abs(level))]), level

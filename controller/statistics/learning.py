"""How long learning takes: steps to a share of the final level, and who is there sooner."""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from controller.statistics.samples import RESAMPLES, Floats, check_confidence, finite, tails_of
from quantum.errors import InputError

__all__ = ["Convergence", "Sooner", "convergence", "sooner"]


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
        again = [_reached(table[index], at, share)[0] for index in _resampled(runs, rng)]
        low, high = np.quantile(again, tails_of(confidence)).tolist()
    return Convergence(steps=found, low=low, high=high, level=level)


class Sooner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many steps earlier one learner is there than another, over the same training runs.

    Above 0 the first is faster. ``higher`` is the difference of their final levels.
    """

    fewer: float
    fewer_low: float
    fewer_high: float
    higher: float
    higher_low: float
    higher_high: float


def sooner(
    first: ArrayLike,
    other: ArrayLike,
    steps: ArrayLike,
    *,
    rng: np.random.Generator,
    share: float = 0.95,
    confidence: float = 0.95,
) -> Sooner:
    """Compare two learners, each by the steps to ``share`` of its own final level.

    ``first`` and ``other`` (runs, evaluations) are as in :func:`convergence`, and run k of both had
    the same seed: the bootstrap draws runs, the same of both.
    """
    one, two = (np.asarray(table, dtype=np.float64) for table in (first, other))
    if one.shape != two.shape:
        raise InputError(f"curves must be of the same runs, got {one.shape} and {two.shape}")
    both = [convergence(table, steps, rng=rng, share=share) for table in (one, two)]
    at, runs = finite("steps", steps), len(one)
    check_confidence(confidence)
    ends = np.full((2, 2), math.nan)
    if runs > 1:
        again = np.array(
            [
                np.subtract(_reached(two[index], at, share), _reached(one[index], at, share))
                for index in _resampled(runs, rng)
            ]
        )
        ends = np.quantile(again, tails_of(confidence), axis=0)
    return Sooner(
        fewer=both[1].steps - both[0].steps,
        fewer_low=float(ends[0, 0]),
        fewer_high=float(ends[1, 0]),
        higher=both[0].level - both[1].level,
        higher_low=float(-ends[1, 1]),
        higher_high=float(-ends[0, 1]),
    )


def _resampled(runs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw runs with replacement, (resamples, runs)."""
    return rng.integers(runs, size=(RESAMPLES // 4, runs))


def _reached(table: Floats, at: Floats, share: float) -> tuple[float, float]:
    middle: Floats = stats.trim_mean(table, 0.25, axis=0)
    level = float(middle[-max(1, len(at) // 10) :].mean())
    wanted = level - (1.0 - share) * abs(level)
    return float(at[np.argmax(middle >= wanted - 1e-12 * abs(level))]), level

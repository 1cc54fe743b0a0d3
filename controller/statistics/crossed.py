"""How sure a mean is over trainings that all meet the same luck: two crossed samples.

Trained policies are one sample, networks with seeds another, and every policy plays every one of
them. A mean over both is uncertain in both; an interval over one alone says too little.
"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from controller.statistics.samples import Floats, check_confidence, tails_of
from quantum.errors import InputError

__all__ = ["Crossed", "crossed"]


class Crossed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mean of a table of S rows (trainings) and C columns (clusters), with three intervals.

    ``low``, ``high`` are over new rows and new columns, ``row_low``, ``row_high`` over new rows
    on these columns, and ``column_low``, ``column_high`` over new columns for these rows.
    ``next_low``, ``next_high`` is where the mean of one more row on these columns is expected.
    ``spread`` is the standard deviation of the rows' means, and ``row_spread`` that of what rows
    differ in on average, without the luck of these columns: the root of the variance component.
    """

    mean: float
    low: float
    high: float
    row_low: float
    row_high: float
    column_low: float
    column_high: float
    next_low: float
    next_high: float
    spread: float
    row_spread: float


def crossed(values: ArrayLike, *, confidence: float = 0.95) -> Crossed:
    """Judge a table of finite numbers (S, C), at least two by two.

    The variance of the mean is (rows + columns - rest) / (S C) in the mean squares of a two-way
    analysis without replication, at least that of rows or columns alone, and its degrees of freedom
    are those of Satterthwaite (Biometrics Bull. 2, 110, 1946). Raises InputError for other shapes.

    >>> found = crossed([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    >>> found.mean, round(found.row_spread, 4)
    (2.5, 0.7071)
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or not np.all(np.isfinite(table)):
        raise InputError("crossed samples must be a table of finite numbers, at least two by two")
    check_confidence(confidence)
    size, columns = table.shape
    by_row, by_column, mean = table.mean(axis=1), table.mean(axis=0), float(table.mean())
    rest = table - by_row[:, None] - by_column[None, :] + mean
    free_rest = (size - 1) * (columns - 1)
    squares = (
        columns * float(by_row.var(ddof=1)),
        size * float(by_column.var(ddof=1)),
        float((rest**2).sum()) / free_rest,
    )
    degrees = (size - 1, columns - 1, free_rest)
    half = _half(squares, degrees, size * columns, confidence)
    spread = float(by_row.std(ddof=1))
    row_half, column_half = _alone(by_row, confidence), _alone(by_column, confidence)
    # One more row differs from the mean of S rows by its own luck and by theirs.
    next_half = row_half * math.sqrt(size + 1)
    return Crossed(
        mean=mean,
        low=mean - half,
        high=mean + half,
        row_low=mean - row_half,
        row_high=mean + row_half,
        column_low=mean - column_half,
        column_high=mean + column_half,
        next_low=mean - next_half,
        next_high=mean + next_half,
        spread=spread,
        row_spread=math.sqrt(max(0.0, (squares[0] - squares[2]) / columns)),
    )


def _half(
    squares: tuple[float, float, float], degrees: tuple[int, int, int], cells: int, level: float
) -> float:
    """Return half the interval of the mean over both samples."""
    rows, columns, rest = squares
    both = rows + columns - rest
    if both <= max(rows, columns):
        # No sign that both matter: the larger alone, which cannot be too narrow by much.
        both, few = max(zip((rows, columns), degrees[:2], strict=True))
        free = float(few)
    else:
        free = both**2 / sum(s**2 / d for s, d in zip(squares, degrees, strict=True))
    return float(stats.t.ppf(tails_of(level)[1], free)) * math.sqrt(both / cells)


def _alone(means: Floats, level: float) -> float:
    size = len(means)
    error = float(means.std(ddof=1)) / math.sqrt(size)
    return float(stats.t.ppf(tails_of(level)[1], size - 1)) * error

"""Analysis of variance of repeated measures: do the allocators differ at all?"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from controller.statistics.samples import Floats
from quantum.errors import InputError

__all__ = ["Anova", "anova"]


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


def _epsilon(table: Floats) -> float:
    k = table.shape[1]
    spread = np.cov(table, rowvar=False)
    centred = spread - spread.mean(axis=0) - spread.mean(axis=1)[:, None] + spread.mean()
    return min(1.0, float(np.trace(centred) ** 2 / ((k - 1) * (centred**2).sum())))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0

"""Exact intervals for chances: the ground on which all estimates of this package stand."""

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from quantum.errors import InputError

__all__ = ["Interval", "chance", "chance_bounds", "check_confidence"]

Floats = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value with its interval: low <= best <= high."""

    low: float
    best: float
    high: float


def check_confidence(confidence: float) -> float:
    """Refuse a confidence that is not strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    return confidence


def chance_bounds(passed: ArrayLike, failed: ArrayLike, tail: ArrayLike) -> tuple[Floats, Floats]:
    """Return the exact (low, high) of a chance; each side is wrong with at most ``tail`` (0-0.5).

    Clopper and Pearson, Biometrika 26, 404 (1934). Arguments broadcast. Without any test: (0, 1).

    >>> low, high = chance_bounds([8, 0], [2, 0], 0.025)
    >>> low.round(4).tolist(), high.round(4).tolist()
    ([0.4439, 0.0], [0.9748, 1.0])
    """
    k, f = np.asarray(passed, dtype=np.float64), np.asarray(failed, dtype=np.float64)
    t = np.asarray(tail, dtype=np.float64)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1.0), f + 1.0, t), 0.0)
    high = np.where(f > 0, betaincinv(k + 1.0, np.maximum(f, 1.0), 1.0 - t), 1.0)
    return low, high


def chance(passed: int, failed: int, tail: float) -> Interval:
    """Return the observed share of passes with its exact interval; 0.5 without any test.

    >>> chance(0, 0, 0.025)
    Interval(low=0.0, best=0.5, high=1.0)
    """
    low, high = chance_bounds(passed, failed, tail)
    best = passed / (passed + failed) if passed + failed else 0.5
    return Interval(min(low.item(), best), best, max(high.item(), best))

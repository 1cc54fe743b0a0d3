"""From raw counts to a fidelity with an interval: one estimator for simulators and hardware.

Each test draws XX, YY or ZZ uniformly after the pair exists. The chance to pass is then
``p = (1 + 2F) / 3`` for *any* state, so an exact binomial interval on ``p`` (Clopper and Pearson,
Biometrika 26, 404, 1934) is an exact interval on ``F = (3p - 1) / 2``.
"""

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

from quantum.counts import Counts
from quantum.errors import InputError

__all__ = ["Estimate", "estimate", "estimate_batch", "estimate_passes", "probability_at_least"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Up to so many shots, all estimates that can come out are computed at once and remembered.
_TABLE_SHOTS = 1000


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fidelity with its interval: low <= best <= high, all 0-1."""

    low: float
    best: float
    high: float
    confidence: float
    shots: int


def estimate(counts: Counts, *, confidence: float = 0.95) -> Estimate:
    """Estimate the fidelity to phi_plus from parity tests, with an exact interval.

    Without any shot everything is possible: the interval is [0, 1].

    >>> from quantum.counts import Tally
    >>> e = estimate(Counts(Tally(33, 0), Tally(33, 0), Tally(34, 0)))
    >>> e.best, round(e.low, 4), e.high
    (1.0, 0.9457, 1.0)
    """
    return estimate_passes(counts.passed, counts.shots, confidence=confidence)


def estimate_passes(
    passed: int, shots: int, *, qubits: int = 2, confidence: float = 0.95
) -> Estimate:
    """Estimate the fidelity to the GHZ state of n qubits (a pair: 2) from random stabilizers.

    See :mod:`quantum.ghz`; the interval is exact.

    >>> round(estimate_passes(700, 1000, qubits=3).best, 6)
    0.475
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    if shots == 0:
        return Estimate(low=0.0, best=0.5, high=1.0, confidence=confidence, shots=0)
    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(passed, shots - passed + 1, tail)) if passed else 0.0
    high = float(betaincinv(passed + 1, shots - passed, 1.0 - tail)) if passed < shots else 1.0
    return Estimate(
        low=_to_fidelity(low, qubits),
        best=_to_fidelity(passed / shots, qubits),
        high=_to_fidelity(high, qubits),
        confidence=confidence,
        shots=shots,
    )


def estimate_batch(counts: Ints, *, confidence: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Estimate many fidelities from counts ``(B, 2^n - 1, 2)``: (low, best, high), ``(B,)`` each.

    The same numbers as :func:`estimate_passes` gives one by one, each of them computed once.

    >>> low, best, high = estimate_batch(np.array([[[33, 0], [33, 0], [34, 0]]]))
    >>> best.item(), low.round(4).item(), high.item()
    (1.0, 0.9457, 1.0)
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    size, stabilizers = counts.shape[0], counts.shape[1]
    if size == 0:
        return np.empty(0), np.empty(0), np.empty(0)
    tests = counts.sum(axis=1)
    passed, shots = tests[:, 0], tests[:, 0] + tests[:, 1]
    most = int(shots.max())
    if most <= _TABLE_SHOTS and shots.min() == most:
        low, best, high = _table(most, stabilizers, confidence).take(passed, axis=1)
        return low, best, high
    distinct, where = np.unique(np.stack([passed, shots]), axis=1, return_inverse=True)
    low, best, high = _estimates(distinct[0], distinct[1], stabilizers, confidence)[:, where]
    return low, best, high


@lru_cache(maxsize=64)
def _table(shots: int, stabilizers: int, confidence: float) -> Floats:
    return _estimates(np.arange(shots + 1), np.full(shots + 1, shots), stabilizers, confidence)


def _estimates(passed: Ints, shots: Ints, stabilizers: int, confidence: float) -> Floats:
    """Return (low, best, high) for each number of passes, ``(3, ...)``."""
    tail = (1.0 - confidence) / 2.0
    failed = shots - passed
    low = np.where(passed > 0, betaincinv(np.maximum(passed, 1), failed + 1, tail), 0.0)
    high = np.where(failed > 0, betaincinv(passed + 1, np.maximum(failed, 1), 1.0 - tail), 1.0)
    chance = np.stack([low, passed / np.maximum(shots, 1), high])
    fidelity = (1.0 + stabilizers * (2.0 * chance - 1.0)) / (stabilizers + 1)
    untested = np.array([[0.0], [0.5], [1.0]])
    return np.where(shots > 0, np.clip(fidelity, 0.0, 1.0), untested)


def probability_at_least(counts: Counts, fidelity: float) -> float:
    """Return the posterior probability that the fidelity is at least ``fidelity``.

    Jeffreys prior on the pass probability, restricted to what a state can show (p >= 1/3).

    >>> probability_at_least(Counts(), 0.0)
    1.0
    """
    if not 0.0 <= fidelity <= 1.0:
        raise InputError(f"fidelity must be between 0 and 1, got {fidelity}")
    a = counts.passed + 0.5
    b = counts.shots - counts.passed + 0.5
    possible = 1.0 - float(betainc(a, b, 1.0 / 3.0))
    if possible <= 0.0:
        return 1.0 if fidelity == 0.0 else 0.0
    wanted = 1.0 - float(betainc(a, b, (1.0 + 2.0 * fidelity) / 3.0))
    return wanted / possible


def _to_fidelity(pass_probability: float, qubits: int) -> float:
    others: int = 2**qubits - 1
    return min(1.0, max(0.0, (1.0 + others * (2.0 * pass_probability - 1.0)) / (others + 1)))

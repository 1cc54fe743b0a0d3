"""From raw counts to a fidelity with an interval: one estimator for simulators and hardware.

Each test draws XX, YY or ZZ uniformly after the pair exists. The chance to pass is then
``p = (1 + 2F) / 3`` for *any* state, so an exact binomial interval on ``p`` (Clopper and Pearson,
Biometrika 26, 404, 1934) is an exact interval on ``F = (3p - 1) / 2``.
"""

import msgspec
from scipy.special import betainc, betaincinv

from quantum.counts import Counts
from quantum.errors import InputError

__all__ = ["Estimate", "estimate", "estimate_passes", "probability_at_least"]


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
    others = 2**qubits - 1
    return min(1.0, max(0.0, (1.0 + others * (2.0 * pass_probability - 1.0)) / 2**qubits))

"""Quantum bit error rates, and the secret key that a pair is worth.

The QBER of a basis is the chance that the two bits disagree with the correlation of phi_plus, so it
is the chance to fail the parity test in that basis. Key fractions are asymptotic (infinitely many
pairs, one-way reconciliation at the Shannon limit) and count secret bits for each sifted bit.
"""

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum import bell
from quantum.counts import Counts
from quantum.errors import InputError
from quantum.estimation.binomial import Interval, chance, check_confidence
from quantum.estimation.box import entropy, entropy_bounds
from quantum.estimation.chsh import TSIRELSON, largest_s, largest_s_bounds
from quantum.estimation.tomography import correlator_bounds, most_likely, table_of

__all__ = [
    "KeyFraction",
    "KeyFractions",
    "bb84",
    "binary_entropy",
    "device_independent",
    "key_fractions",
    "qber",
    "six_state",
]

Floats = NDArray[np.float64]


class KeyFraction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Secret bits for each sifted bit, 0-1; ``raw`` is before clipping at 0."""

    low: float
    best: float
    high: float
    raw: Interval


class KeyFractions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Key fractions of three protocols; all intervals hold together with the ``confidence``.

    ``bb84`` (also BBM92) has its key in zz and tests xx; ``six_state`` tests all three bases;
    ``device_independent`` is what devices that reach the largest CHSH value of this state would
    give, with the key in ``zz``. It is no device-independent proof: the bases are trusted here.
    """

    bb84: KeyFraction
    six_state: KeyFraction
    device_independent: KeyFraction
    confidence: float
    shots: int


def binary_entropy(chance_of_one: ArrayLike) -> Floats:
    """Return h(p) in bits.

    >>> binary_entropy([0.0, 0.5, 1.0]).tolist()
    [0.0, 1.0, 0.0]
    """
    p = np.asarray(chance_of_one, dtype=np.float64)
    return entropy(np.stack([p, 1.0 - p], axis=-1))


def bb84(qber_xx: ArrayLike, qber_zz: ArrayLike) -> Floats:
    """Return 1 - h(e_x) - h(e_z), not clipped (Shor and Preskill, PRL 85, 441, 2000).

    >>> round(bb84(0.05, 0.05).item(), 4)
    0.4272
    """
    e_x, e_z = _chances("qber_xx", qber_xx), _chances("qber_zz", qber_zz)
    rate: Floats = 1.0 - binary_entropy(e_x) - binary_entropy(e_z)
    return rate


def six_state(populations: ArrayLike) -> Floats:
    """Return 1 - H of populations ``(..., 4)``, not clipped (Lo, QIC 1, 81, 2001).

    This is the hashing bound on distillable entanglement too (Bennett et al., Phys. Rev. A 54,
    3824, 1996).

    >>> round(six_state([0.95, 0.05, 0.0, 0.0]).item(), 4)
    0.7136
    """
    weights = _chances("populations", populations)
    if weights.shape[-1:] != (4,) or np.any(np.abs(weights.sum(axis=-1) - 1.0) > 1e-9):
        raise InputError("populations must be four weights that sum to 1")
    return 1.0 - entropy(weights)


def device_independent(qber: ArrayLike, s: ArrayLike) -> Floats:
    """Return 1 - h(Q) - chi(S), not clipped (Acin et al., PRL 98, 230501, 2007).

    chi(S) = h((1 + sqrt((S/2)^2 - 1)) / 2) bounds what an eavesdropper knows; without a violation
    (S <= 2) it is 1. Proved against collective attacks.

    >>> round(device_independent(0.0, 2.0 * 2.0**0.5).item(), 6)
    1.0
    """
    error = _chances("qber", qber)
    value = np.asarray(s, dtype=np.float64)
    if not np.all(np.abs(value) <= TSIRELSON * (1.0 + 1e-12)):
        raise InputError(f"s must be between -2 sqrt(2) and 2 sqrt(2), got {value}")
    violation = np.clip((value / 2.0) ** 2 - 1.0, 0.0, 1.0)
    known = binary_entropy((1.0 + np.sqrt(np.where(value > 0.0, violation, 0.0))) / 2.0)
    rate: Floats = 1.0 - binary_entropy(error) - known
    return rate


def qber(counts: Counts, *, confidence: float = 0.95) -> dict[str, Interval]:
    """Return the QBER of each basis with its exact interval, which holds by itself.

    >>> from quantum.counts import Tally
    >>> qber(Counts(zz=Tally(100, 0)))["zz"].high < 0.0363
    True
    """
    tail = (1.0 - check_confidence(confidence)) / 2.0
    tallies = (counts.xx, counts.yy, counts.zz)
    rows = zip(bell.BASES, tallies, strict=True)
    return {basis: chance(tally.failed, tally.passed, tail) for basis, tally in rows}


def key_fractions(counts: Counts, *, confidence: float = 0.95) -> KeyFractions:
    """Estimate key fractions; low and high are the worst and best state that the tests allow.

    >>> from quantum.counts import Tally
    >>> key = key_fractions(Counts(Tally(9900, 100), Tally(9900, 100), Tally(9900, 100)))
    >>> [round(key.bb84.low, 3), round(key.bb84.best, 3), round(key.six_state.best, 3)]
    [0.804, 0.838, 0.864]
    """
    table = table_of(counts)
    low, high = correlator_bounds(table, confidence)
    weights = most_likely(table)
    seen = _seen(table)
    nearest, farthest = _entropy_range(low, high)
    calm, wild = entropy_bounds(low, high)
    s_low, s_high = largest_s_bounds(low, high)
    s_best = largest_s(bell.correlators(weights))
    return KeyFractions(
        bb84=_fraction(
            1.0 - farthest[0] - farthest[2], bb84(seen[0], seen[2]), 1.0 - nearest[0] - nearest[2]
        ),
        six_state=_fraction(1.0 - wild, six_state(weights), 1.0 - calm),
        device_independent=_fraction(
            device_independent(0.0, s_low) - farthest[2],
            device_independent(seen[2], s_best),
            device_independent(0.0, s_high) - nearest[2],
        ),
        confidence=confidence,
        shots=counts.shots,
    )


def _seen(table: Floats) -> Floats:
    """Return the observed QBER of each basis; one half where nothing was measured."""
    shots = table.sum(axis=-1)
    seen: Floats = np.where(shots > 0, table[:, 1] / np.maximum(shots, 1.0), 0.5)
    return seen


def _entropy_range(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the least and the most h of the QBER of each basis, ``(3,)``."""
    ends = binary_entropy((1.0 - np.stack([low, high])) / 2.0)
    undecided = (low <= 0.0) & (high >= 0.0)
    return ends.min(axis=0), np.where(undecided, 1.0, ends.max(axis=0))


def _fraction(low: ArrayLike, best: ArrayLike, high: ArrayLike) -> KeyFraction:
    lo, mid, hi = (float(np.asarray(value)) for value in (low, best, high))
    raw = Interval(min(lo, mid), mid, max(hi, mid))
    return KeyFraction(max(0.0, raw.low), max(0.0, raw.best), max(0.0, raw.high), raw)


def _chances(name: str, values: ArrayLike) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if not np.all((found >= -1e-12) & (found <= 1.0 + 1e-12)):
        raise InputError(f"{name} must be between 0 and 1, got {found}")
    return found

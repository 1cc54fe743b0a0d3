"""GHZ states of n qubits and their stabilizers; a Bell pair is the case n = 2.

The *basis states* are ``|b, s> = (|0 b> + (-1)^s |1 not b>) / sqrt(2)`` with n - 1 bits b, those of
qubits 1 to n - 1, the first the most significant. *Populations* are their weights at index
``2 b + s``; for two qubits that is phi_plus, phi_minus, psi_plus, psi_minus. Index 0 is the GHZ
state itself.

The *stabilizers* are products of X on all qubits and of Z_0 Z_j, 2^n - 1 of them without the
identity, each with the sign that makes it +1 on the GHZ state. A *correlator* is the expectation of
a stabilizer. First come the 2^(n-1) that contain X, then the others, each with the subsets of
qubits 1 to n - 1 in binary order, the first qubit the most significant: xx, yy, zz for two qubits.

The fidelity of *any* state is ``F = (1 + sum of correlators) / 2^n`` (Toth and Guehne, Phys. Rev.
Lett. 94, 060501, 2005), so a test that draws a stabilizer uniformly passes with
``p = 1/2 + (2^n F - 1) / (2 (2^n - 1))``, which is (1 + 2F) / 3 for pairs.
"""

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum.errors import InputError
from quantum.noise import decay
from quantum.program import MOST_QUBITS, End, Gates, Memory

__all__ = [
    "correlators",
    "fidelity_of",
    "labels",
    "merge",
    "pass_probability",
    "populations",
    "qubits_of",
    "wait",
]

Floats = NDArray[np.float64]

_PERFECT = Gates()


def correlators(weights: ArrayLike) -> Floats:
    """Turn populations ``(..., 2^n)`` into correlators ``(..., 2^n - 1)``.

    >>> correlators([0.0, 1.0, 0.0, 0.0]).tolist()
    [-1.0, -1.0, 1.0]
    """
    w = np.asarray(weights, dtype=np.float64)
    signed: Floats = w @ _signs(qubits_of(w.shape[-1]))
    return signed


def populations(signed: ArrayLike) -> Floats:
    """Turn correlators ``(..., 2^n - 1)`` into populations ``(..., 2^n)``.

    >>> populations([1.0] * 7).tolist()
    [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    c = np.asarray(signed, dtype=np.float64)
    size = c.shape[-1] + 1
    weights: Floats = (1.0 + c @ _signs(qubits_of(size)).T) / size
    return weights


def pass_probability(weights: ArrayLike) -> Floats:
    """Return the chance that a test of each stabilizer passes, ``(..., 2^n - 1)``."""
    chance: Floats = np.clip((1.0 + correlators(weights)) / 2.0, 0.0, 1.0)
    return chance


def fidelity_of(pass_chance: ArrayLike, qubits: int) -> Floats:
    """Return the fidelity at which tests of random stabilizers pass with this chance.

    >>> fidelity_of([1.0, 0.5], 3).tolist()
    [1.0, 0.125]
    """
    others = 2**qubits - 1
    value: Floats = (1.0 + others * (2.0 * np.asarray(pass_chance) - 1.0)) / 2**qubits
    return value


def qubits_of(weights: int) -> int:
    """Return n for the number 2^n of populations.

    >>> qubits_of(8)
    3
    """
    return weights.bit_length() - 1


def merge(keep: ArrayLike, spend: ArrayLike, gates: Gates = _PERFECT, at: End = "last") -> Floats:
    """Fuse GHZ states ``(..., 2^k - 1)`` and ``(..., 2^m - 1)``: ``(..., 2^(k+m-1) - 1)``.

    Exact for the correlators of any states. A stabilizer of the result pulls back through the
    corrections, the measurement and the CNOT of :class:`quantum.program.Merge` to one stabilizer of
    each input (Heisenberg picture), so correlators multiply, as in a swap. Where the letters of the
    appended qubits hold an odd number of Y or Z, the measured bit decides the sign, which costs
    1-2e, and the node's own letter is the other one of its kind (X and Y, I and Z). Depolarising
    takes (1-p) of all but the stabilizers that do not touch the CNOT.

    >>> fused = merge([1.0, 1.0, 1.0], [0.8, 0.8, 0.8])
    >>> round(populations(fused)[0].item(), 6)  # (1 + w + w' + 5 w w') / 8
    0.85
    """
    (x_keep, z_keep), (x_spend, z_spend) = _halves(keep), _halves(spend)
    kept = np.arange(x_keep.shape[-1])[:, None]
    added = np.arange(x_spend.shape[-1])[None, :]
    odd = np.bitwise_count(added) & 1
    from_keep = kept ^ odd if at == "last" else kept
    own = kept & 1 if at == "last" else (np.bitwise_count(kept) & 1) ^ odd
    cnot = 1.0 - gates.gate_depolarizing
    read = np.where(odd == 1, 1.0 - 2.0 * gates.readout_error, 1.0)
    x = cnot * read * x_keep[..., from_keep] * x_spend[..., None, :]
    z = np.where(own | odd, cnot, 1.0) * read * z_keep[..., from_keep] * z_spend[..., None, :]
    shape = (*x.shape[:-2], kept.size * added.size)
    return np.concatenate([x.reshape(shape), z.reshape(shape)[..., 1:]], axis=-1)


def _halves(signed: ArrayLike) -> tuple[Floats, Floats]:
    """Return the correlators with X, and those with Z led by the identity: twice 2^(n-1)."""
    c = np.asarray(signed, dtype=np.float64)
    half = (c.shape[-1] + 1) // 2
    return c[..., :half], np.concatenate([np.ones_like(c[..., :1]), c[..., half:]], axis=-1)


def wait(
    signed: ArrayLike,
    first_s: ArrayLike,
    others_s: ArrayLike,
    memory: Memory,
    first_attempts: ArrayLike = 0.0,
    others_attempts: ArrayLike = 0.0,
) -> Floats:
    """Dephase all qubits of a state with correlators ``(..., 2^n - 1)``; seconds are ``(...)``.

    Exact for any state, but only without relaxation: with T1 it needs Z on odd numbers of qubits,
    which are no stabilizers.

    >>> wait([1.0, 1.0, 1.0], 1.0, 1.0, Memory(t2_s=1.0)).round(4).tolist()
    [0.1353, 0.1353, 1.0]
    """
    if not math.isinf(memory.t1_s):
        raise InputError(f"memory.t1_s must be inf here, got {memory.t1_s}")
    c = np.asarray(signed, dtype=np.float64)
    half = (c.shape[-1] + 1) // 2
    first = decay(first_s, memory, first_attempts)[1]
    others = decay(others_s, memory, others_attempts)[1]
    coherence = first * others ** (qubits_of(2 * half) - 1)
    x = coherence[..., None] * c[..., :half]
    z = np.broadcast_to(c[..., half:], (*x.shape[:-1], half - 1))
    return np.concatenate([x, z], axis=-1)


@cache
def labels(qubits: int) -> tuple[str, ...]:
    """Name the stabilizers, a letter for each qubit.

    >>> labels(2)
    ('xx', 'yy', 'zz')
    >>> labels(3)
    ('xxx', 'yxy', 'yyx', 'xyy', 'ziz', 'zzi', 'izz')
    """
    half = 2 ** (qubits - 1)
    with_x = [_label(subset, qubits, "xy") for subset in range(half)]
    return (*with_x, *(_label(subset, qubits, "iz") for subset in range(1, half)))


def _label(subset: int, qubits: int, letters: str) -> str:
    bits = format(subset, f"0{qubits - 1}b")
    first = subset.bit_count() % 2
    return letters[first] + "".join(letters[int(bit)] for bit in bits)


@cache
def _signs(qubits: int) -> Floats:
    """Return the eigenvalue of each stabilizer on each basis state, ``(2^n, 2^n - 1)``."""
    assert 2 <= qubits <= MOST_QUBITS
    half = 2 ** (qubits - 1)
    number = np.arange(2 * half)
    bits, phase = number // 2, number % 2
    subset = np.concatenate([np.arange(half), np.arange(1, half)])
    has_x = np.arange(2 * half - 1) < half
    parity = np.array([[(b & z).bit_count() for z in subset.tolist()] for b in bits.tolist()])
    signs: Floats = (-1.0) ** (parity + np.outer(phase, has_x))
    return signs

"""Matrices of gates and channels, as values that are made once and kept.

They cannot be written to, so engines may know them by identity. Qubits are big-endian. A
superoperator acts on row-stacked density matrices, ``rho.reshape(-1)``: that of a unitary U is
kron(U, conj(U)). The matrices of netqasm's classes are not used: its ``crot_y`` turns about X.
"""

import functools
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from backends.squid.engine import Complex

__all__ = [
    "CNOT",
    "CPHASE",
    "GATES",
    "PROJECTORS",
    "SWAP",
    "Axis",
    "constant",
    "controlled_rotation",
    "decay",
    "depolarise",
    "faulty_readout",
    "of_unitary",
    "on_each",
    "rotation",
]

Axis = Literal["x", "y", "z"]


def constant(matrix: ArrayLike) -> Complex:
    """Return a matrix that cannot be written to."""
    out = np.array(matrix, dtype=np.complex128)
    out.setflags(write=False)
    return out


_ONE = np.eye(2, dtype=np.complex128)
_PAULIS: dict[Axis, Complex] = {
    "x": constant([[0, 1], [1, 0]]),
    "y": constant([[0, -1j], [1j, 0]]),
    "z": constant([[1, 0], [0, -1]]),
}

#: Gates of one qubit by their NetQASM names; K exchanges Y and Z as H exchanges X and Z.
GATES: dict[str, Complex] = {
    "x": _PAULIS["x"],
    "y": _PAULIS["y"],
    "z": _PAULIS["z"],
    "h": constant((_PAULIS["x"] + _PAULIS["z"]) / math.sqrt(2.0)),
    "k": constant((_PAULIS["y"] + _PAULIS["z"]) / math.sqrt(2.0)),
    "s": constant(np.diag([1.0, 1j])),
    "t": constant(np.diag([1.0, np.exp(0.25j * math.pi)])),
}
CNOT = constant(np.eye(4)[[0, 1, 3, 2]])
CPHASE = constant(np.diag([1.0, 1.0, 1.0, -1.0]))
SWAP = constant(np.eye(4)[[0, 2, 1, 3]])

#: Kraus operators of a measurement without errors, outcomes 0 and 1.
PROJECTORS = constant(np.diag([1.0, 0.0])), constant(np.diag([0.0, 1.0]))


@functools.lru_cache(maxsize=4096)
def rotation(axis: Axis, n: int, d: int) -> Complex:
    """Return exp(-i theta P / 2) with theta = n pi / 2^d, NetQASM's way to write an angle.

    >>> np.allclose(rotation("y", 1, 0), [[0, -1], [1, 0]])
    True
    """
    # Whole turns are taken out first, so that a large n costs no digits.
    half = 0.5 * math.pi * ((n % (4 * 2**d)) / 2**d)
    return constant(math.cos(half) * _ONE - 1j * math.sin(half) * _PAULIS[axis])


@functools.lru_cache(maxsize=4096)
def controlled_rotation(axis: Axis, n: int, d: int) -> Complex:
    """Return R(theta) where the first qubit is 0 and R(-theta) where it is 1.

    This is the native gate of an NV centre, exp(-i theta Z P / 2).
    """
    out = np.zeros((4, 4), dtype=np.complex128)
    out[:2, :2] = rotation(axis, n, d)
    out[2:, 2:] = rotation(axis, -n, d)
    return constant(out)


def of_unitary(matrix: Complex) -> Complex:
    """Return the superoperator of a unitary."""
    return constant(np.kron(matrix, matrix.conj()))


def depolarise(p: float, qubits: int = 1) -> Complex:
    """Return the channel that puts I/d in place of qubits, together, with probability p.

    >>> depolarise(1.0) @ [1, 0, 0, 0]
    array([0.5+0.j, 0. +0.j, 0. +0.j, 0.5+0.j])
    """
    d = 2**qubits
    out = (1.0 - p) * np.eye(d * d, dtype=np.complex128)
    diagonal = np.arange(d) * (d + 1)
    out[np.ix_(diagonal, diagonal)] += p / d
    return constant(out)


def decay(time_ns: float, t1_ns: float, t2_ns: float) -> Complex:
    """Return the channel of a qubit that idles: relaxation to |0>, then dephasing.

    The excited population falls as exp(-t/T1) and coherence as exp(-t/T2) in total; T1 = 0 or
    T2 = 0 means that this kind of decay is off. Coherence cannot outlive what relaxation leaves,
    exp(-t/(2 T1)), so a longer T2 counts as 2 T1.

    >>> decay(1.0, 0.0, 0.0).real.diagonal()
    array([1., 1., 1., 1.])
    """
    kept = math.exp(-time_ns / t1_ns) if t1_ns > 0.0 else 1.0
    coherence = math.exp(-time_ns / t2_ns) if t2_ns > 0.0 else 1.0
    out = np.diag([1.0, *2 * [min(coherence, math.sqrt(kept))], kept])
    out[0, 3] = 1.0 - kept
    return constant(out)


def on_each(a: Complex, b: Complex) -> Complex:
    """Return the superoperator of two channels of one qubit, side by side."""
    # kron orders the indices (a a' b b'); a density matrix of two qubits is stacked (a b a' b').
    sides = np.kron(a, b).reshape([2] * 8).transpose(0, 2, 1, 3, 4, 6, 5, 7)
    return constant(sides.reshape(16, 16))


def faulty_readout(flip_0: float, flip_1: float) -> tuple[Complex, Complex]:
    """Return the Kraus operators of a readout that tells 0 as 1 and 1 as 0 with these chances."""
    return (
        constant(np.diag([math.sqrt(1.0 - flip_0), math.sqrt(flip_1)])),
        constant(np.diag([math.sqrt(flip_0), math.sqrt(1.0 - flip_1)])),
    )

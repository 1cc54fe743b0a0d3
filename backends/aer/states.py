"""Density matrices as Aer wants them: the first qubit is the least significant bit.

Aer accepts any matrix as a state and warns about nothing, so what re-enters it is checked here.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from quantum import bell
from quantum.errors import InputError

__all__ = [
    "PHI_PLUS",
    "act",
    "beside",
    "check_states",
    "emitted",
    "loaded",
    "populations",
    "replacements",
]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

_TOLERANCE = 1e-9

#: What a perfect source emits.
PHI_PLUS: Complex = np.array(
    [[0.5, 0, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0.5]], dtype=np.complex128
)


#: Projectors on phi_plus, phi_minus, psi_plus, psi_minus.
_BELL: Complex = np.array(
    [
        np.outer(state, state).reshape(16) / 2.0
        for state in ([1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0])
    ],
    dtype=np.complex128,
)


def emitted(weights: Floats) -> Complex:
    """Return pairs ``(B, 4, 4)`` with Bell populations ``(B, 4)``: what a source emits."""
    # One product for each pair: the sums of a single large one depend on the batch around it.
    stacked: Complex = np.matmul(weights[:, None, :], _BELL)
    return stacked.reshape(-1, 4, 4)


def loaded(expectations: Floats) -> Complex:
    """Return pairs ``(B, 4, 4)`` from Pauli expectations ``(B, 4, 4)``, left by right."""
    stacked: Complex = np.matmul(expectations.reshape(-1, 1, 16), _of_expectations())
    return stacked.reshape(-1, 4, 4)


@cache
def _of_expectations() -> Complex:
    """Return the density matrix that each Pauli expectation stands for, ``(16, 16)``."""
    # With the qubits exchanged the left one is the less significant.
    exchanged = np.eye(16).reshape(16, 4, 4).transpose(0, 2, 1)
    return np.ascontiguousarray(bell.density_matrix(exchanged).reshape(16, 16))


def check_states(states: Complex) -> Complex:
    """Return density matrices ``(B, d, d)``, or refuse what is not a state."""
    trace = np.trace(states, axis1=1, axis2=2)
    if not np.all(np.abs(trace - 1.0) <= _TOLERANCE):
        raise InputError("a stored state must have trace 1")
    if not np.all(np.abs(states - states.conj().transpose(0, 2, 1)) <= _TOLERANCE):
        raise InputError("a stored state must be Hermitian")
    try:
        # Only a matrix without negative eigenvalues has a Cholesky decomposition.
        np.linalg.cholesky(states + _TOLERANCE * np.eye(states.shape[1]))
    except np.linalg.LinAlgError:
        raise InputError("a stored state must not have negative eigenvalues") from None
    return states


def beside(first: Complex, second: Complex) -> Complex:
    """Return the joint states of a register and one whose qubits follow, each ``([B,] d, d)``."""
    joint = first[..., None, :, None, :] * second[..., :, None, :, None]
    size = first.shape[-1] * second.shape[-1]
    return np.ascontiguousarray(joint.reshape(*joint.shape[:-4], size, size))


#: Order of (row, row, column, column) bits, second qubit first, in which a superoperator on one
#: qubit finds its column and row bit in front; and the way back.
_TO_FRONT = (((0, 4, 2, 1, 3), (0, 3, 2, 4, 1)), ((0, 3, 1, 2, 4), (0, 2, 3, 1, 4)))


def act(states: Complex, one: Complex, place: int) -> Complex:
    """Return pairs ``([B,] 4, 4)`` after channels ``([B,] 4, 4)`` on qubit ``place``: (B, 4, 4)."""
    there, back = _TO_FRONT[place]
    bits = states.reshape(-1, 2, 2, 2, 2).transpose(there).reshape(-1, 4, 4)
    after = np.matmul(one, bits).reshape(-1, 2, 2, 2, 2).transpose(back)
    return np.ascontiguousarray(after.reshape(-1, 4, 4))


def replacements(states: Complex) -> Complex:
    """Return the channels that put states ``([B,] 4, 4)`` into two qubits, whatever these held."""
    columns = states.swapaxes(-1, -2).reshape(*states.shape[:-2], 16)
    out = np.zeros((*columns.shape, 16), dtype=complex)
    # Tr(rho) is the sum of those elements of a stacked matrix whose row is their column.
    out[..., ::5] = columns[..., None]
    return out


def populations(states: Complex) -> Floats:
    """Return the populations ``(B, 2^n)`` of GHZ states, in the order of :mod:`quantum.ghz`."""
    size, dimension = states.shape[0], states.shape[1]
    flat = states.reshape(size, -1).take(_elements(dimension), axis=1).real
    same, coherence = (flat[:, 0] + flat[:, 1]) / 2.0, flat[:, 2]
    out = np.empty((size, dimension))
    np.add(same, coherence, out=out[:, ::2])
    np.subtract(same, coherence, out=out[:, 1::2])
    return out


@cache
def _elements(dimension: int) -> NDArray[np.int64]:
    """Return where <0b|rho|0b>, <1b'|rho|1b'> and <0b|rho|1b'> are, b' = not b: (3, d/2)."""
    others = dimension.bit_length() - 2
    bits = [int(format(b, f"0{others}b")[::-1], 2) << 1 for b in range(dimension // 2)]
    zero = np.array(bits, dtype=np.int64)
    one = dimension - 1 - zero
    return np.stack([zero * dimension + zero, one * dimension + one, zero * dimension + one])

"""Exact two-qubit states of a whole batch as Pauli expectations, and what steps do to them.

A state is ``t[..., a, b] = <sigma_a (x) sigma_b>`` with a on the left and b on the right qubit and
sigma = (I, X, Y, Z): sixteen real numbers that hold the same as the 4x4 density matrix. Swaps and
distillation are Clifford circuits with Pauli noise, so on these numbers they are signed products;
amplitude damping is the only step that mixes numbers.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from quantum import bell, werner
from quantum.noise import decay
from quantum.program import Gates, Memory

__all__ = ["correlators", "dejmps", "from_correlators", "swap", "wait"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: <YY> of phi_plus is -1: the sign that turns expectations into correlators, for a = I, X, Y, Z.
_SIGN = np.array([1.0, 1.0, -1.0, 1.0])


def from_correlators(signed: Floats) -> Floats:
    """Return the tensors ``(..., 4, 4)`` of Bell-diagonal states with correlators ``(..., 3)``."""
    tensor = np.zeros((*signed.shape[:-1], 4, 4))
    tensor[..., 0, 0] = 1.0
    for axis in (1, 2, 3):
        tensor[..., axis, axis] = _SIGN[axis] * signed[..., axis - 1]
    return tensor


def correlators(tensor: Floats) -> Floats:
    """Return the correlators ``(..., 3)`` of any states.

    >>> correlators(from_correlators(np.array([0.9, 0.8, 0.7]))).tolist()
    [0.9, 0.8, 0.7]
    """
    diagonal: Floats = (np.diagonal(tensor, axis1=-2, axis2=-1) * _SIGN)[..., 1:]
    return diagonal


def wait(tensor: Floats, left_s: Floats, right_s: Floats, memory: Memory) -> Floats:
    """Let the qubits of the states ``(B, 4, 4)`` decay for ``(B,)`` seconds each.

    One qubit: <X> and <Y> shrink by c, <Z> becomes (1-g) <Z> + g (towards |0>).
    """
    left = tensor * _shrink(left_s, memory)[:, :, None]
    left[:, 3, :] += decay(left_s, memory)[0][:, None] * tensor[:, 0, :]
    right = left * _shrink(right_s, memory)[:, None, :]
    right[:, :, 3] += decay(right_s, memory)[0][:, None] * left[:, :, 0]
    return right


def _shrink(seconds: Floats, memory: Memory) -> Floats:
    damping, coherence = decay(seconds, memory)
    return np.stack([np.ones_like(damping), coherence, coherence, 1.0 - damping], axis=-1)


def swap(left: Floats, right: Floats, gates: Gates) -> Floats:
    """Join states by a Bell measurement, averaged over outcomes, corrected on the far right qubit.

    Averaging over the four corrections keeps only the diagonal of the right state, which multiplies
    the columns of the left one; the noise factors are those of :func:`quantum.werner.swap_factors`.
    """
    columns = np.diagonal(right, axis1=-2, axis2=-1) * _SIGN
    columns = columns * np.concatenate([[1.0], werner.swap_factors(gates)])
    joined: Floats = left * columns[:, None, :]
    return joined


def dejmps(keep: Floats, spend: Floats, gates: Gates) -> tuple[Floats, Floats]:
    """Distil any states ``(B, 4, 4)``: (states given success, chance of success ``(B,)``).

    Where success never happens the state returned is the fully mixed one.
    """
    cnot, _, flips = werner.distill_factors(gates)
    from_keep, from_spend, sign, touched = _pull_back()
    out = np.zeros_like(keep)
    for bit, weight in ((0, 1.0), (1, flips)):
        noise = cnot ** touched[0, :, bit, None] * cnot ** touched[1, None, :, bit]
        signs = sign[0, :, bit, None] * sign[1, None, :, bit]
        kept = keep[:, from_keep[0, :, bit, None], from_keep[1, None, :, bit]]
        spent = spend[:, from_spend[0, :, bit, None], from_spend[1, None, :, bit]]
        out += 0.5 * weight * noise * signs * kept * spent
    chance = out[:, 0, 0].copy()
    possible = chance > werner.IMPOSSIBLE
    out /= np.where(possible, chance, 1.0)[:, None, None]
    mixed = from_correlators(bell.correlators(np.full(4, 0.25)))
    return np.where(possible[:, None, None], out, mixed), np.where(possible, chance, 0.0)


@cache
def _pull_back() -> tuple[Ints, Ints, Floats, Ints]:
    """Follow Paulis backwards through CNOT and rotation (left +90, right -90 degrees).

    For sigma_a on the kept qubit and I or Z on the spent one, indexed ``[side, a, bit]``: the Pauli
    on the kept and on the spent input qubit, the sign, and whether depolarising noise touches it.
    """
    pauli = np.array(
        [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex
    )
    cnot = np.kron(np.diag([1, 0]), pauli[0]) + np.kron(np.diag([0, 1]), pauli[1])
    kept = np.zeros((2, 4, 2), dtype=np.int64)
    spent = np.zeros_like(kept)
    touched = np.zeros_like(kept)
    sign = np.zeros((2, 4, 2))
    for side, turn in enumerate((1j, -1j)):
        rotation = (pauli[0] - turn * pauli[1]) / np.sqrt(2.0)
        circuit = cnot @ np.kron(rotation, rotation)
        for a in range(4):
            for bit, read in enumerate((0, 3)):
                before = circuit.conj().T @ np.kron(pauli[a], pauli[read]) @ circuit
                overlap = np.array(
                    [[np.trace(np.kron(p, q) @ before).real / 4.0 for q in pauli] for p in pauli]
                )
                where = np.unravel_index(np.abs(overlap).argmax(), (4, 4))
                kept[side, a, bit], spent[side, a, bit] = where
                sign[side, a, bit] = np.round(overlap[where])
                touched[side, a, bit] = int(a != 0 or read != 0)
    return kept, spent, sign, touched

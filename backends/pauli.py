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
from quantum.program import Gates, Protocol

__all__ = ["chances", "correlators", "distill", "from_correlators", "swap", "wait"]

Floats = NDArray[np.float64]

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


def chances(tensor: Floats, angles_rad: Floats) -> Floats:
    """Return the chances ``(B, 4)`` of the results 00, 01, 10, 11 of states ``(B, 4, 4)``.

    Qubits are measured in cos t Z + sin t X, ``angles_rad`` ``(B, 2)``, left and right.

    >>> best = from_correlators(np.ones((1, 3)))
    >>> chances(best, np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.0, 0.0, 0.5]]
    >>> round(float(chances(best, np.array([[0.0, np.pi / 4]]))[0] @ [1, -1, -1, 1]), 6)
    0.707107
    """
    bits = np.array([1.0, -1.0])
    seen = np.zeros((*angles_rad.shape, 2, 4))
    seen[..., 0] = 1.0
    seen[..., 1] = np.sin(angles_rad)[..., None] * bits
    seen[..., 3] = np.cos(angles_rad)[..., None] * bits
    both = np.einsum("bia,bac,bjc->bij", seen[:, 0], tensor, seen[:, 1]) / 4.0
    out: Floats = np.clip(both.reshape(-1, 4), 0.0, 1.0)
    return out


def wait(tensor: Floats, damping: Floats, coherence: Floats) -> Floats:
    """Let the qubits of the states ``(B, 4, 4)`` decay as :func:`quantum.noise.decay` says.

    ``damping`` g and ``coherence`` c are ``(B, 2)``, left and right. One qubit: <X> and <Y> shrink
    by c, <Z> becomes (1-g) <Z> + g (towards |0>).
    """
    shrink = np.stack([np.ones_like(damping), coherence, coherence, 1.0 - damping], axis=-1)
    left = tensor * shrink[:, 0, :, None]
    left[:, 3, :] += damping[:, :1] * tensor[:, 0, :]
    right = left * shrink[:, 1, None, :]
    right[:, :, 3] += damping[:, 1:] * left[:, :, 0]
    return right


def swap(left: Floats, right: Floats, gates: Gates) -> Floats:
    """Join states by a Bell measurement, averaged over outcomes, corrected on the far right qubit.

    Averaging over the four corrections keeps only the diagonal of the right state, which multiplies
    the columns of the left one; the noise factors are those of :func:`quantum.werner.swap_factors`.
    """
    columns = np.diagonal(right, axis1=-2, axis2=-1) * _SIGN
    columns = columns * np.concatenate([[1.0], werner.swap_factors(gates)])
    joined: Floats = left * columns[:, None, :]
    return joined


def distill(protocol: Protocol, keep: Floats, spend: Floats, gates: Gates) -> tuple[Floats, Floats]:
    """Distil any states ``(B, 4, 4)``: (states given success, chance of success ``(B,)``).

    Where success never happens the state returned is the fully mixed one.
    """
    if protocol == "bbpssw":
        keep, spend = (from_correlators(werner.twirl(correlators(t))) for t in (keep, spend))
    cnot = 1.0 - gates.gate_depolarizing
    read = np.array([1.0, 1.0 - 2.0 * gates.readout_error])
    pulled = _pull_back(turned=protocol == "dejmps")
    out = np.zeros_like(keep)
    for bits, weight in _HERALDS[protocol].items():
        left, right = (pulled[side, :, bit] for side, bit in enumerate(bits))
        noise = np.outer(cnot ** left["touched"], cnot ** right["touched"])
        factor = weight * read[list(bits)].prod() * noise * np.outer(left["sign"], right["sign"])
        kept = keep[:, left["kept"][:, None], right["kept"]]
        spent = spend[:, left["spent"][:, None], right["spent"]]
        out += factor * kept * spent
    chance = out[:, 0, 0].copy()
    possible = chance > werner.IMPOSSIBLE
    out /= np.where(possible, chance, 1.0)[:, None, None]
    mixed = from_correlators(bell.correlators(np.full(4, 0.25)))
    return np.where(possible[:, None, None], out, mixed), np.where(possible, chance, 0.0)


#: The accepted outcomes as a sum of products of I (0) and Z (1) on the two spent qubits: equal bits
#: are (II + ZZ) / 2, twice a 1 is (I - Z)(I - Z) / 4.
_HERALDS: dict[Protocol, dict[tuple[int, int], float]] = {
    "dejmps": {(0, 0): 0.5, (1, 1): 0.5},
    "bbpssw": {(0, 0): 0.5, (1, 1): 0.5},
    "epl": {(0, 0): 0.25, (0, 1): -0.25, (1, 0): -0.25, (1, 1): 0.25},
}


@cache
def _pull_back(*, turned: bool) -> NDArray[np.void]:
    """Follow Paulis backwards through CNOT and, if ``turned``, rotations about x by +-90 degrees.

    For sigma_a on the kept qubit and I or Z on the spent one, indexed ``[side, a, bit]``: the Pauli
    on the kept and on the spent input qubit, the sign, and whether depolarising noise touches it.
    """
    pauli = np.array(
        [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex
    )
    cnot = np.kron(np.diag([1, 0]), pauli[0]) + np.kron(np.diag([0, 1]), pauli[1])
    table = np.zeros(
        (2, 4, 2), dtype=[("kept", int), ("spent", int), ("sign", float), ("touched", int)]
    )
    for side, turn in enumerate((1j, -1j)):
        rotation = (pauli[0] - turn * pauli[1]) / np.sqrt(2.0) if turned else pauli[0]
        circuit = cnot @ np.kron(rotation, rotation)
        for a in range(4):
            for bit, read in enumerate((0, 3)):
                before = circuit.conj().T @ np.kron(pauli[a], pauli[read]) @ circuit
                overlap = np.array(
                    [[np.trace(np.kron(p, q) @ before).real / 4.0 for q in pauli] for p in pauli]
                )
                where = np.unravel_index(np.abs(overlap).argmax(), (4, 4))
                touched = int(a != 0 or read != 0)
                table[side, a, bit] = (*where, np.round(overlap[where]), touched)
    return table

"""Exact registers of a whole batch: what GHZ states of 3+ qubits need of their density matrix.

The populations of GHZ states are set by the diagonal and the antidiagonal of a density matrix, and
waits and merges map each of the two into itself. So 2^n + 2^(n-1) numbers hold all that matters of
a register, where a state has 4^n: 384 for eight qubits, amplitude damping included.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends import pauli
from quantum import ghz
from quantum.program import End, Gates

__all__ = ["Register", "correlators", "from_pair", "merge", "wait"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Register:
    """The states of B registers of n qubits.

    ``coherent`` (B, 2^(n-1)) are the correlators of the stabilizers with X, in the order of
    :mod:`quantum.ghz`. ``strings`` (B, 2^n) are the expectations of products of Z on any subset of
    qubits, in binary order with the first qubit the most significant.
    """

    coherent: Floats
    strings: Floats

    @property
    def qubits(self) -> int:
        """Qubits of each register."""
        return ghz.qubits_of(self.strings.shape[1])


def from_pair(tensor: Floats) -> Register:
    """Return pairs ``(B, 4, 4)`` as registers of two qubits."""
    strings = tensor[:, ::3, ::3].reshape(-1, 4)
    return Register(pauli.correlators(tensor)[:, :2], strings)


def correlators(register: Register) -> Floats:
    """Return the correlators ``(B, 2^n - 1)`` of registers."""
    subset = np.arange(1, 2 ** (register.qubits - 1))
    even = (_odd(subset) << (register.qubits - 1)) | subset
    return np.concatenate([register.coherent, register.strings[:, even]], axis=1)


def wait(register: Register, damping: Floats, coherence: Floats) -> Register:
    """Let registers decay; ``damping`` and ``coherence`` are (B, 2), first qubit and each other.

    A product of X and Y shrinks by the coherence of every qubit; each Z becomes (1-g) Z + g.
    """
    size, others = len(damping), register.qubits - 1
    shrink = coherence[:, 0] * coherence[:, 1] ** others
    strings = register.strings
    for qubit in range(register.qubits):
        g = damping[:, min(qubit, 1), None, None]
        split = strings.reshape(size, 2**qubit, 2, -1)
        without, with_z = split[:, :, 0], split[:, :, 1]
        strings = np.stack([without, (1.0 - g) * with_z + g * without], axis=2)
    return Register(register.coherent * shrink[:, None], strings.reshape(size, -1))


def merge(keep: Register, spend: Register, gates: Gates, at: End) -> Register:
    """Fuse registers as :class:`quantum.program.Merge` says, averaged over outcomes.

    Stabilizers with X come from stabilizers alone (:func:`quantum.ghz.merge`). A product of Z pulls
    back likewise: where the appended qubits have an odd number of Z, the measured bit decides the
    sign (1-2e), and the node's own letter turns between I and Z.
    """
    joined = ghz.merge(correlators(keep), correlators(spend), gates, at)
    total = keep.qubits + spend.qubits - 1
    kept = np.arange(2**keep.qubits)[:, None]
    added = np.arange(2 ** (spend.qubits - 1))[None, :]
    odd = _odd(added)
    place = 0 if at == "last" else keep.qubits - 1
    touched = ((kept >> place) & 1) | odd
    factor = np.where(touched == 1, 1.0 - gates.gate_depolarizing, 1.0)
    factor = factor * np.where(odd == 1, 1.0 - 2.0 * gates.readout_error, 1.0)
    from_keep, from_spend = kept ^ (odd << place), (odd << (spend.qubits - 1)) | added
    strings = factor * keep.strings[:, from_keep] * spend.strings[:, from_spend]
    return Register(joined[:, : 2 ** (total - 1)], strings.reshape(-1, 2**total))


def _odd(subset: Ints) -> Ints:
    """Return 1 where a subset, as bits of a number, has an odd number of members."""
    return np.bitwise_count(subset).astype(np.int64) & 1

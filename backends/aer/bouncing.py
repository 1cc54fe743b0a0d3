"""Sequences of network benchmarking on Qiskit Aer: one data qubit, one fresh pair at a time.

The running qubit wanders over the three qubits of a tape: it is measured with the near half of a
pair that has just been put there, and goes on in the far half.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.aer import channels, states
from backends.aer.execution import Path
from backends.aer.tape import Operation, Tape
from backends.bouncing import IDEAL_ENDS, Hop, Spam
from quantum.estimation.benchmarking import Sequences
from quantum.estimation.cliffords import UNITARY
from quantum.noise import decay

__all__ = ["survival"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

#: Hops in memory at once: each holds some 10 kB of matrices.
_AT_ONCE = 4096

#: Superoperators of the Cliffords, on column-stacked matrices.
_CLIFFORD: Complex = np.array([np.kron(u.conj(), u) for u in UNITARY])


def survival(
    path: Path, route: Sequence[Hop], sequences: Sequences, spam: Spam = IDEAL_ENDS
) -> Floats:
    """Return the chance of the outcome wanted for each of N sequences over a route, ``(N,)``."""
    size = max(1, _AT_ONCE // max(1, len(route)))
    parts = []
    for start in range(0, len(sequences), size):
        part = slice(start, start + size)
        chosen = Sequences(sequences.cliffords[part], sequences.last[part], sequences.flipped[part])
        ends = path.play(_tape(route, chosen, spam))
        up = (ends[:, 0, 0] - ends[:, 1, 1]).real / np.trace(ends, axis1=1, axis2=2).real
        parts.append(spam.read(up, chosen.flipped))
    return np.concatenate(parts) if parts else np.empty(0)


def _tape(route: Sequence[Hop], sequences: Sequences, spam: Spam) -> Tape:
    """Write sequences over one route as programs of one tape."""
    size = len(sequences)
    qubit, near, far = 0, 1, 2
    operations: list[Operation] = []
    for number, hop in enumerate(route):
        turn = _CLIFFORD[sequences.cliffords[:, number]]
        wait = channels.decays(*decay(hop.wait_s, hop.memory, hop.attempts))
        operations += [
            Operation((qubit,), wait @ turn),
            Operation((near, far), state=_pair(hop)),
            Operation((qubit, near), channels.bell_measurement(hop.gates)),
            Operation((near, far), gate="cx"),
            Operation((qubit, far), gate="cz"),
        ]
        qubit, near, far = far, qubit, near
    operations.append(Operation((qubit,), _CLIFFORD[sequences.last]))
    return Tape(3, size, _start(spam), tuple(operations), (qubit,))


def _start(spam: Spam) -> Complex:
    """Return |0>, or by mistake |1>, beside two qubits that wait for a pair, ``(8, 8)``."""
    state = np.zeros((8, 8), dtype=np.complex128)
    state[0, 0], state[1, 1] = 1.0 - spam.prepared_one, spam.prepared_one
    return state


def _pair(hop: Hop) -> Complex:
    """Return the state of (near, far) when a hop is made, ``(4, 4)``."""
    pair: Complex = states.check_states(states.loaded(hop.expectations[None]))[0]
    return pair

"""The engine on Qiskit Aer: operations are postponed and then played in one go.

A measurement, a chance or a state needs them done; so does tracing out a qubit of a larger group.
The draw of an outcome and what the outcome leaves behind are a few products of two numbers for
each element of the matrix: they are computed here.
"""

import numpy as np

from backends.squid.engine import Complex
from backends.squid.engines.aer_states import Player, open_player
from backends.squid.engines.dense import DenseEngine, Group, two
from backends.squid.engines.operations import Catalogue, checked_unitary, kraus_of

__all__ = ["AerEngine"]


class AerEngine(DenseEngine):
    """Density matrices of groups of qubits on Aer's ``density_matrix`` method.

    ``player`` is the way into Aer, by default the fastest that works; ``runs`` counts how often
    Aer was called.
    """

    name = "aer"

    def __init__(self, most_qubits: int = 10, player: Player | None = None) -> None:
        super().__init__(most_qubits)
        self.runs = 0
        self._player = open_player() if player is None else player
        self._turns: Catalogue[list[Complex]] = Catalogue(lambda given: _unitary(given, 1))
        self._unitaries: Catalogue[list[Complex]] = Catalogue(lambda given: _unitary(given, 2))
        self._single: Catalogue[list[Complex]] = Catalogue(lambda given: _channel(given, 1))
        self._double: Catalogue[list[Complex]] = Catalogue(lambda given: _channel(given, 2))

    @property
    def path(self) -> str:
        """The way into Aer that is used."""
        return self._player.name

    def unitary(self, matrix: Complex, *qubits: int) -> None:
        """Apply a unitary ``(2^n, 2^n)``, n = 1 or 2."""
        if len(qubits) == 1:
            self._find(qubits[0]).pending.append((qubits, self._turns.find(matrix)))
        else:
            first, second = two(qubits)
            kraus = self._unitaries.find(matrix)
            self._together(first, second).pending.append((qubits, kraus))

    def channel(self, superoperator: Complex, *qubits: int) -> None:
        """Apply a channel given as ``(4^n, 4^n)`` on row-stacked density matrices, n = 1 or 2."""
        if len(qubits) == 1:
            self._find(qubits[0]).pending.append((qubits, self._single.find(superoperator)))
        else:
            first, second = two(qubits)
            kraus = self._double.find(superoperator)
            self._together(first, second).pending.append((qubits, kraus))

    def _settle(self, group: Group) -> None:
        pending, group.pending = group.pending, []
        if not pending:
            return
        # Aer counts from the least significant qubit.
        place = {qubit: number for number, qubit in enumerate(reversed(group.qubits))}
        self._player.play(
            group.matrix,
            [([place[qubit] for qubit in reversed(qubits)], kraus) for qubits, kraus in pending],
        )
        self.runs += 1


def _unitary(matrix: Complex, qubits: int) -> list[Complex]:
    return [np.asfortranarray(checked_unitary(matrix, qubits))]


def _channel(matrix: Complex, qubits: int) -> list[Complex]:
    return [np.asfortranarray(operator) for operator in kraus_of(matrix, qubits)]

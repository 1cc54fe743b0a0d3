"""The reference engine: each operation is applied at once, by compiled kernels on NumPy arrays."""

from functools import partial

import numpy as np

from backends.squid.engine import Complex
from backends.squid.engines import kernels
from backends.squid.engines.dense import DenseEngine, two
from backends.squid.engines.operations import Catalogue, checked_unitary, kraus_of, superoperator

__all__ = ["NumpyEngine"]


class NumpyEngine(DenseEngine):
    """Density matrices of groups of qubits, without any simulator."""

    name = "numpy"

    def __init__(self, most_qubits: int = 10) -> None:
        super().__init__(most_qubits)
        self._turns: Catalogue[Complex] = Catalogue(_turn)
        self._unitaries: Catalogue[Complex] = Catalogue(partial(checked_unitary, qubits=2))
        self._single: Catalogue[Complex] = Catalogue(partial(_channel, qubits=1))
        self._double: Catalogue[Complex] = Catalogue(partial(_channel, qubits=2))

    def unitary(self, matrix: Complex, *qubits: int) -> None:
        """Apply a unitary ``(2^n, 2^n)``, n = 1 or 2."""
        if len(qubits) == 1:
            (qubit,) = qubits
            group = self._find(qubit)
            kernels.apply_one(group.matrix, self._turns.find(matrix), group.bit(qubit))
        else:
            first, second = two(qubits)
            known = self._unitaries.find(matrix)
            group = self._together(first, second)
            kernels.apply_unitary(group.matrix, known, group.bit(first), group.bit(second))

    def channel(self, superoperator: Complex, *qubits: int) -> None:
        """Apply a channel given as ``(4^n, 4^n)`` on row-stacked density matrices, n = 1 or 2."""
        if len(qubits) == 1:
            (qubit,) = qubits
            group = self._find(qubit)
            kernels.apply_one(group.matrix, self._single.find(superoperator), group.bit(qubit))
        else:
            first, second = two(qubits)
            known = self._double.find(superoperator)
            group = self._together(first, second)
            kernels.apply_channel(group.matrix, known, group.bit(first), group.bit(second))


def _turn(matrix: Complex) -> Complex:
    return superoperator(checked_unitary(matrix, 1))


def _channel(matrix: Complex, qubits: int) -> Complex:
    kraus_of(matrix, qubits)
    return np.array(matrix, dtype=np.complex128, order="C")

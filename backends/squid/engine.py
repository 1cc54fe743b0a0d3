"""What keeps quantum states: one interface, two engines (dense matrices and Qiskit Aer).

A *qubit* is a number that an engine hands out. Time and decay are not an engine's business:
:mod:`backends.squid.memory` applies channels when they are due.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Complex", "Engine"]

Complex = NDArray[np.complex128]


class Engine(Protocol):
    """Density matrices of qubits that come and go.

    Matrices act on qubits in the order given, the first the most significant. Engines may postpone
    work; ``measure``, ``chance`` and ``state`` need it done.
    """

    name: str

    def new(self) -> int:
        """Return a new qubit in |0>."""

    def pair(self, state: Complex) -> tuple[int, int]:
        """Return two new qubits in a state ``(4, 4)``."""

    def unitary(self, matrix: Complex, *qubits: int) -> None:
        """Apply a unitary ``(2^n, 2^n)``, n = 1 or 2."""

    def channel(self, superoperator: Complex, *qubits: int) -> None:
        """Apply a channel given as ``(4^n, 4^n)`` on row-stacked density matrices, n = 1 or 2."""

    def measure(self, qubit: int, draw: float, kraus: tuple[Complex, Complex]) -> int:
        """Measure by the Kraus operators of outcomes 0 and 1; 0 where ``draw`` < its chance.

        The state becomes that of the outcome.
        """

    def chance(self, qubit: int, kraus: Complex) -> float:
        """Return the chance of an outcome without measuring."""

    def discard(self, qubit: int) -> None:
        """Trace a qubit out and forget it."""

    def state(self, qubits: Sequence[int]) -> Complex:
        """Return the reduced density matrix of qubits, the first the most significant."""

    def entangled_with(self, qubit: int) -> tuple[int, ...]:
        """Return all qubits of the group in which this one is kept, itself included, in order."""

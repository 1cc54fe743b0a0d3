"""What both engines share: groups of qubits with one density matrix each.

Qubits that never met stay apart. Two groups become one when an operation acts on both; a qubit
that is measured into one state, or discarded, leaves its group.
"""

from collections.abc import Sequence
from itertools import count

import numpy as np

from backends.squid.engine import Complex
from backends.squid.engines import kernels
from backends.squid.engines.operations import (
    Catalogue,
    Instrument,
    checked_state,
    effect,
    instrument,
)
from backends.squid.errors import LimitError, SquidError
from quantum.errors import InputError

__all__ = ["DenseEngine", "Group", "Pending", "two"]

#: (qubits, Kraus operators): an operation that is still to be applied.
Pending = tuple[tuple[int, ...], list[Complex]]

#: Chances below this are rounding.
_NEVER = 1e-14

_ZERO = np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.complex128)


class Group:
    """Qubits, the first the most significant of the matrix, and what is to be done to them."""

    __slots__ = ("matrix", "pending", "qubits")

    def __init__(self, qubits: list[int], matrix: Complex) -> None:
        self.qubits, self.matrix = qubits, matrix
        self.pending: list[Pending] = []

    def bit(self, qubit: int) -> int:
        """Return the weight of a qubit in row and column numbers."""
        return 1 << (len(self.qubits) - 1 - self.qubits.index(qubit))


class DenseEngine:
    """Keeps groups; an engine adds how operations are applied to them.

    Groups have at most ``most_qubits``: a matrix of n qubits takes 16 * 4^n bytes.
    """

    name = "dense"

    def __init__(self, most_qubits: int = 10) -> None:
        self._most = most_qubits
        self._groups: dict[int, Group] = {}
        self._number = count()
        self._states: Catalogue[Complex] = Catalogue(checked_state)
        self._effects: Catalogue[Complex] = Catalogue(effect)
        self._instruments: Catalogue[Instrument] = Catalogue(instrument)

    def new(self) -> int:
        """Return a new qubit in |0>."""
        qubit = next(self._number)
        self._groups[qubit] = Group([qubit], _ZERO.copy())
        return qubit

    def pair(self, state: Complex) -> tuple[int, int]:
        """Return two new qubits in a state ``(4, 4)``."""
        matrix = self._states.find(state).copy()
        first, second = next(self._number), next(self._number)
        self._groups[first] = self._groups[second] = Group([first, second], matrix)
        return first, second

    def measure(self, qubit: int, draw: float, kraus: tuple[Complex, Complex]) -> int:
        """Measure by the Kraus operators of outcomes 0 and 1; 0 where ``draw`` < its chance.

        ``draw`` is in [0, 1). What is compared is the object itself, so that
        :mod:`backends.squid.engines.branches` can decide.
        """
        if not 0.0 <= draw < 1.0:
            raise InputError(f"draw must be in [0, 1), got {draw}")
        group = self._settled(qubit)
        measurement = self._instruments.find(kraus)
        bit = group.bit(qubit)
        chance: float = kernels.chance(group.matrix, measurement.effect, bit)
        if chance < _NEVER:
            outcome = 1
        elif chance > 1.0 - _NEVER or draw < chance:
            outcome = 0
        else:
            outcome = 1
        part = measurement.parts[outcome]
        if part.bra is None:
            kernels.apply_one(group.matrix, part.channel, bit)
            group.matrix /= np.trace(group.matrix).real
        elif len(group.qubits) == 1:
            group.matrix = part.left.copy()
        else:
            half = len(group.matrix) // 2
            rest = np.empty((half, half), dtype=np.complex128)
            kernels.project(group.matrix, part.bra, bit, rest)
            group.matrix = rest
            group.qubits.remove(qubit)
            self._groups[qubit] = Group([qubit], part.left.copy())
        return outcome

    def chance(self, qubit: int, kraus: Complex) -> float:
        """Return the chance of an outcome without measuring."""
        group = self._settled(qubit)
        found: float = kernels.chance(group.matrix, self._effects.find(kraus), group.bit(qubit))
        return min(max(found, 0.0), 1.0)

    def discard(self, qubit: int) -> None:
        """Trace a qubit out and forget it."""
        group = self._find(qubit)
        if len(group.qubits) > 1:
            self._settle(group)
            half = len(group.matrix) // 2
            rest = np.empty((half, half), dtype=np.complex128)
            kernels.trace_out(group.matrix, group.bit(qubit), rest)
            group.matrix = rest
            group.qubits.remove(qubit)
        del self._groups[qubit]

    def state(self, qubits: Sequence[int]) -> Complex:
        """Return the reduced density matrix of qubits, the first the most significant."""
        wanted = list(qubits)
        if len(set(wanted)) != len(wanted):
            raise SquidError(f"each qubit can be asked for once, got {wanted}")
        groups = list(dict.fromkeys(self._settled(qubit) for qubit in wanted))
        have: list[int] = []
        matrix: Complex = np.ones((1, 1), dtype=np.complex128)
        for group in groups:
            kept = [qubit for qubit in group.qubits if qubit in wanted]
            reduced = _reduced(group, kept)
            self._check_size(len(have) + len(kept))
            matrix = np.asarray(np.kron(matrix, reduced), dtype=np.complex128) if have else reduced
            have += kept
        ordered = matrix
        if have != wanted:
            axes = [have.index(qubit) for qubit in wanted]
            n = len(axes)
            bits = matrix.reshape([2] * (2 * n)).transpose([*axes, *(n + axis for axis in axes)])
            ordered = bits.reshape(2**n, 2**n)
        normalised: Complex = ordered / np.trace(ordered).real
        return normalised

    def entangled_with(self, qubit: int) -> tuple[int, ...]:
        """Return all qubits of the group in which this one is kept, itself included, in order."""
        return tuple(sorted(self._find(qubit).qubits))

    def _settle(self, group: Group) -> None:
        """Do what is pending."""

    def _find(self, qubit: int) -> Group:
        try:
            return self._groups[qubit]
        except KeyError:
            raise SquidError(f"there is no qubit {qubit}, or it was discarded") from None

    def _settled(self, qubit: int) -> Group:
        group = self._find(qubit)
        if group.pending:
            self._settle(group)
        return group

    def _together(self, first: int, second: int) -> Group:
        """Return the group of two qubits, joined if need be."""
        group, other = self._find(first), self._find(second)
        if group is other:
            if first == second:
                raise SquidError(f"an operation on two qubits needs two, got {first} twice")
            return group
        self._check_size(len(group.qubits) + len(other.qubits))
        size = len(group.matrix) * len(other.matrix)
        matrix = np.empty((size, size), dtype=np.complex128)
        kernels.join(group.matrix, other.matrix, matrix)
        group.matrix = matrix
        group.qubits += other.qubits
        group.pending += other.pending
        for qubit in other.qubits:
            self._groups[qubit] = group
        return group

    def _check_size(self, qubits: int) -> None:
        if qubits > self._most:
            raise LimitError(f"{qubits} qubits in one state; at most {self._most} are allowed")


def two(qubits: tuple[int, ...]) -> tuple[int, int]:
    """Return two qubits, or refuse another number of them."""
    if len(qubits) != 2:
        raise SquidError(f"operations act on one or two qubits, got {len(qubits)}")
    return qubits[0], qubits[1]


def _reduced(group: Group, kept: list[int]) -> Complex:
    """Return the state of some qubits of a group, in the group's order."""
    qubits, matrix = list(group.qubits), group.matrix
    for qubit in group.qubits:
        if qubit in kept:
            continue
        rest = np.empty((len(matrix) // 2, len(matrix) // 2), dtype=np.complex128)
        kernels.trace_out(matrix, 1 << (len(qubits) - 1 - qubits.index(qubit)), rest)
        matrix = rest
        qubits.remove(qubit)
    return matrix

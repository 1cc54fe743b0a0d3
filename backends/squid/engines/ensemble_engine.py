"""One course of many programs at once: programs of one shape that differ in their numbers only.

They run the same instructions as long as their measurements have the same outcomes. So one
simulation plays all of them on one course of outcomes, and is repeated for each other course. A
state here is ``(B, 2^n, 2^n)``, one matrix for each program; its trace is the chance of what has
happened to its qubits so far.
"""

from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from backends.squid.engine import Complex
from backends.squid.engines import kernels
from backends.squid.engines.dense import two
from backends.squid.engines.operations import Catalogue, superoperator
from backends.squid.errors import SquidError

__all__ = ["EnsembleEngine"]

Floats = NDArray[np.float64]

_ZERO = np.diag([1.0, 0.0]).astype(np.complex128)


class _Group:
    """Qubits, the first the most significant of the matrices."""

    __slots__ = ("matrices", "qubits")

    def __init__(self, qubits: list[int], matrices: Complex) -> None:
        self.qubits, self.matrices = qubits, matrices

    def bit(self, qubit: int) -> int:
        return 1 << (len(self.qubits) - 1 - self.qubits.index(qubit))


class EnsembleEngine:
    """The states of ``size`` programs; see :class:`backends.squid.engine.Engine`.

    States and channels of one qubit may be given for each program, ``(B, 4, 4)``. A measurement
    takes the outcome that ``draw`` names, 0 below one half, whatever its chance.
    """

    name = "ensemble"

    def __init__(self, size: int = 1) -> None:
        self._number = count()
        self._groups: dict[int, _Group] = {}
        self._turns: Catalogue[Complex] = Catalogue(_stacked)
        # Kernels are compiled for arrays that may be written to.
        self._channels: Catalogue[Complex] = Catalogue(lambda given: np.array(given, order="C"))
        self._kraus: Catalogue[tuple[Complex, Complex]] = Catalogue(
            lambda zero, one: (_stacked(zero), _stacked(one))
        )
        self.begin(size)

    def begin(self, size: int) -> None:
        """Forget all qubits; from now on there are ``size`` programs."""
        self._size = size
        self._groups.clear()
        #: The chance of what happened to qubits that are gone.
        self._weights = np.ones(size)

    def new(self) -> int:
        """Return a new qubit in |0>."""
        return self._add(np.tile(_ZERO, (self._size, 1, 1)), 1)[0]

    def pair(self, state: Complex) -> tuple[int, int]:
        """Return two new qubits in a state ``(4, 4)`` or ``(B, 4, 4)``."""
        first, second = self.register(state)
        return first, second

    def register(self, states: Complex) -> list[int]:
        """Return new qubits in a state ``(2^n, 2^n)`` or ``(B, 2^n, 2^n)``."""
        width = states.shape[-1]
        own = np.empty((self._size, width, width), dtype=np.complex128)
        own[...] = states
        return self._add(own, width.bit_length() - 1)

    def unitary(self, matrix: Complex, *qubits: int) -> None:
        """Apply a unitary ``(2^n, 2^n)``, n = 1 or 2."""
        self._apply(self._turns.find(matrix), qubits)

    def channel(self, superoperator: Complex, *qubits: int) -> None:
        """Apply a channel ``(4^n, 4^n)``, n = 1 or 2; or ``(B, 4, 4)``, one for each program."""
        of_all = superoperator.ndim == 2
        self._apply(self._channels.find(superoperator) if of_all else superoperator, qubits)

    def measure(self, qubit: int, draw: float, kraus: tuple[Complex, Complex]) -> int:
        """Go on with outcome 0 if ``draw`` < 1/2, else with 1; the states keep its chance."""
        outcome = int(draw >= 0.5)
        self._apply(self._kraus.find(kraus)[outcome], (qubit,))
        return outcome

    def chance(self, qubit: int, kraus: Complex) -> float:
        """Refuse: each program has its own chance."""
        raise SquidError("an ensemble of programs has no single chance of an outcome")

    def discard(self, qubit: int) -> None:
        """Trace a qubit out and forget it."""
        group = self._find(qubit)
        left = _reduced(group, [other for other in group.qubits if other != qubit])
        group.qubits.remove(qubit)
        if group.qubits:
            group.matrices = left
        else:
            self._weights = self._weights * left[:, 0, 0].real
        del self._groups[qubit]

    def state(self, qubits: Sequence[int]) -> Complex:
        """Return reduced states ``(B, 2^n, 2^n)``, the first qubit the most significant.

        Their traces are the chances of all that has happened.
        """
        wanted, have = list(qubits), list[int]()
        states: Complex = self._weights.astype(np.complex128)[:, None, None]
        for group in dict.fromkeys(self._groups.values()):
            kept = [qubit for qubit in group.qubits if qubit in wanted]
            states = _product(states, _reduced(group, kept))
            have += kept
        axes = [have.index(qubit) for qubit in wanted]
        n = len(axes)
        order = [0, *(1 + axis for axis in axes), *(1 + n + axis for axis in axes)]
        bits = states.reshape([self._size] + [2] * (2 * n)).transpose(order)
        return bits.reshape(self._size, 2**n, 2**n)

    def entangled_with(self, qubit: int) -> tuple[int, ...]:
        """Return all qubits of the group in which this one is kept, itself included, in order."""
        return tuple(sorted(self._find(qubit).qubits))

    def _apply(self, channel: Complex, qubits: tuple[int, ...]) -> None:
        if len(qubits) == 1:
            group = self._find(qubits[0])
            each = channel if channel.ndim == 3 else channel[None]
            kernels.each_one(group.matrices, each, group.bit(qubits[0]))
        else:
            first, second = two(qubits)
            group = self._together(first, second)
            kernels.each_channel(group.matrices, channel, group.bit(first), group.bit(second))

    def _add(self, matrices: Complex, qubits: int) -> list[int]:
        made = [next(self._number) for _ in range(qubits)]
        self._groups.update(dict.fromkeys(made, _Group(list(made), matrices)))
        return made

    def _find(self, qubit: int) -> _Group:
        try:
            return self._groups[qubit]
        except KeyError:
            raise SquidError(f"there is no qubit {qubit}, or it was discarded") from None

    def _together(self, first: int, second: int) -> _Group:
        group, other = self._find(first), self._find(second)
        if group is other:
            return group
        group.matrices = _product(group.matrices, other.matrices)
        group.qubits += other.qubits
        self._groups.update(dict.fromkeys(other.qubits, group))
        return group


def _stacked(operator: Complex) -> Complex:
    return np.ascontiguousarray(superoperator(operator))


def _product(left: Complex, right: Complex) -> Complex:
    width = left.shape[1] * right.shape[1]
    out = np.empty((len(left), width, width), dtype=np.complex128)
    kernels.each_join(left, right, out)
    return out


def _reduced(group: _Group, kept: Sequence[int]) -> Complex:
    """Return the states of some qubits of a group, in the group's order."""
    qubits, matrices = list(group.qubits), group.matrices
    for qubit in group.qubits:
        if qubit in kept:
            continue
        half = matrices.shape[1] // 2
        rest = np.empty((len(matrices), half, half), dtype=np.complex128)
        kernels.each_trace_out(matrices, 1 << (len(qubits) - 1 - qubits.index(qubit)), rest)
        matrices = rest
        qubits.remove(qubit)
    return matrices

"""The common language of the two ways into Aer: operations that every program goes through."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.aer import states

__all__ = ["Operation", "Tape", "side_by_side"]

Complex = NDArray[np.complex128]


class Operation(NamedTuple):
    """One of three things on ``qubits``, the first the least significant.

    A ``channel``: one superoperator for all programs, or ``(B, d^2, d^2)``, one for each. A
    ``state`` that replaces whatever two qubits held, ``(4, 4)`` or ``(B, 4, 4)``. A ``gate``
    (``cx``, ``cz``; control first), ideal.
    """

    qubits: tuple[int, ...]
    channel: Complex | None = None
    state: Complex | None = None
    gate: str = ""

    @property
    def matrices(self) -> Complex | None:
        """The superoperator or superoperators; None for a gate."""
        return self.channel if self.state is None else states.replacements(self.state)


class Tape(NamedTuple):
    """Operations on ``width`` qubits, played once for each of ``size`` programs.

    Each program starts in ``start``, ``(d, d)`` for all or ``(B, d, d)`` one for each: programs
    follow one another. The result is the reduced density matrix of the ``save`` qubits, the first
    the least significant. Of a ``heralded`` tape the last of them says how it went: |0> is success.
    """

    width: int
    size: int
    start: Complex
    operations: tuple[Operation, ...]
    save: tuple[int, ...]
    heralded: bool = False


def side_by_side(tapes: list[Tape]) -> Tape:
    """Join tapes of jobs of one shape and one batch into one tape of all their programs."""
    first = tapes[0]
    if len(tapes) == 1:
        return first
    columns = tuple(
        Operation(
            alike[0].qubits,
            channel=_joined([operation.channel for operation in alike]),
            state=_joined([operation.state for operation in alike]),
            gate=alike[0].gate,
        )
        for alike in zip(*(tape.operations for tape in tapes), strict=True)
    )
    start = _joined([tape.start for tape in tapes])
    assert start is not None
    size = sum(tape.size for tape in tapes)
    return Tape(first.width, size, start, columns, first.save, first.heralded)


def _joined(matrices: list[Complex | None]) -> Complex | None:
    """Return a constant that all share, or the matrices of all programs."""
    some = [matrix for matrix in matrices if matrix is not None]
    if not some or some[0].ndim == 2:
        return matrices[0]
    return np.concatenate(some)

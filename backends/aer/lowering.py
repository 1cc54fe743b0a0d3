"""From jobs to a tape: the operations on qubits that every program of a batch goes through.

A :class:`Tape` is the common language of the two ways into Aer (:mod:`backends.aer.direct` and
:mod:`backends.aer.public`): both play the same operations and return the same density matrices.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends.aer import channels
from backends.aer.schedule import Job, Operand
from quantum.batch import Batch

__all__ = ["Operation", "Tape", "fold", "lower", "side_by_side"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Operation:
    """A channel on ``qubits``: one matrix for all programs, or ``(B, d^2, d^2)``, one for each.

    ``gate`` names an ideal gate instead (``cx``, ``cz``; control first).
    """

    qubits: tuple[int, ...]
    channel: Complex | None = None
    gate: str = ""

    @property
    def varies(self) -> bool:
        """Whether every program has its own matrix."""
        return self.channel is not None and self.channel.ndim == 3


@dataclass(frozen=True, eq=False)
class Tape:
    """Operations on ``width`` qubits, played once for each of ``size`` programs.

    Each program starts with the sources emitting phi_plus into qubits (0, 1) and, where there are
    four, (2, 3), whatever they held before: programs follow one another. The result is the reduced
    density matrix of the ``save`` qubits, the first the least significant. Where there is a third
    one it is the herald of a distillation: |0> is success.
    """

    width: int
    size: int
    operations: tuple[Operation, ...]
    save: tuple[int, ...]


@dataclass
class _Writer:
    """Places pairs on qubits and writes down operations."""

    batch: Batch
    stored: dict[int, Complex]
    operations: list[Operation] = field(default_factory=list)
    emitted: set[tuple[int, int]] = field(default_factory=lambda: {(0, 1), (2, 3)})

    def constant(self, matrix: Complex, *qubits: int) -> None:
        self.operations.append(Operation(qubits, matrix))

    def gate(self, name: str, *qubits: int) -> None:
        self.operations.append(Operation(qubits, gate=name))

    def enter(self, operand: Operand, left: int, right: int) -> None:
        """Put a pair on two qubits and let it wait."""
        ready = (left, right) in self.emitted
        self.emitted.discard((left, right))
        if operand.stored:
            matrices = channels.replacements(self.stored[operand.number])
            self.operations.append(Operation((left, right), matrices))
            self.wait(operand.waits, left, right)
            return
        weights = self.batch.populations[:, operand.number]
        seconds = self.seconds(operand.waits)
        if not ready:
            self.constant(channels.SOURCE, left, right)
        if self._decays(operand.waits):
            decays = channels.decays(seconds[:, 0], self.batch.memory)
            self.operations.append(Operation((left,), decays))
        halves = channels.fresh_halves(weights, seconds[:, 1], self.batch.memory)
        self.operations.append(Operation((right,), halves))

    def wait(self, waits: tuple[int, ...], left: int, right: int) -> None:
        """Let the pair on two qubits decay."""
        if self._decays(waits):
            seconds = self.seconds(waits)
            for qubit, column in ((left, 0), (right, 1)):
                decays = channels.decays(seconds[:, column], self.batch.memory)
                self.operations.append(Operation((qubit,), decays))

    def seconds(self, waits: tuple[int, ...]) -> Floats:
        """Return the summed waits ``(B, 2)``: decay for s and then t is decay for s + t."""
        total: Floats = self.batch.waits_s[:, list(waits)].sum(axis=1)
        return total

    def _decays(self, waits: tuple[int, ...]) -> bool:
        memory = self.batch.memory
        return bool(waits) and not (np.isinf(memory.t1_s) and np.isinf(memory.t2_s))

    def bell_measurement(self, z_bit: int, x_bit: int, corrected: int) -> None:
        """Measure two qubits in the Bell basis and correct a third.

        The bits stay quantum and control the corrections, which is the same as measuring them
        because nothing else ever touches them.
        """
        self.constant(channels.bell_measurement(self.batch.gates), z_bit, x_bit)
        self.gate("cx", x_bit, corrected)
        self.gate("cz", z_bit, corrected)


def fold(operations: list[Operation]) -> tuple[Operation, ...]:
    """Merge each one-qubit channel into the two-qubit channel that follows it on its qubit.

    The product is the same; every operation less is a few microseconds less for every program.
    """
    out: list[Operation | None] = []
    last: dict[int, int] = {}
    for operation in operations:
        merged, matrix = operation, operation.channel
        if len(operation.qubits) == 2 and matrix is not None and not operation.varies:
            for place, qubit in enumerate(operation.qubits):
                before = out[last[qubit]] if qubit in last else None
                if before is not None and before.varies and len(before.qubits) == 1:
                    assert before.channel is not None
                    matrix = channels.after(matrix, before.channel, place)
                    out[last[qubit]] = None
            merged = Operation(operation.qubits, matrix)
        for qubit in operation.qubits:
            last[qubit] = len(out)
        out.append(merged)
    return tuple(operation for operation in out if operation is not None)


def lower(job: Job, batch: Batch, stored: dict[int, Complex]) -> Tape:
    """Write a job of a batch as a tape; ``stored`` holds the states ``(B, 4, 4)`` that re-enter."""
    writer = _Writer(batch, stored)
    left, right = 0, 1
    one, two = 2, 3
    writer.enter(job.base, left, right)
    for join in job.joins:
        writer.enter(join.operand, one, two)
        if join.right:
            writer.bell_measurement(right, one, two)
            right, one, two = two, right, one
        else:
            writer.bell_measurement(two, left, right)
            left, one, two = one, two, left
        writer.wait(join.waits, left, right)
    width = 2 if not job.joins and job.distil is None else 4
    if job.distil is None:
        return Tape(width, len(batch), fold(writer.operations), (left, right))
    last = job.distil
    writer.enter(last.operand, one, two)
    kept, spent = (left, right), (one, two)
    if not last.running_is_kept:
        kept, spent = spent, kept
    turn = 1
    if last.protocol == "bbpssw":
        turn = 0
        writer.constant(channels.TWIRL, *kept)
        writer.constant(channels.TWIRL, *spent)
    writer.constant(channels.distillation_side(batch.gates, turn), kept[0], spent[0])
    writer.constant(channels.distillation_side(batch.gates, -turn), kept[1], spent[1])
    writer.gate("cx", spent[1], spent[0])
    writer.wait(last.waits, *kept)
    return Tape(width, len(batch), fold(writer.operations), (*kept, spent[0]))


def side_by_side(tapes: list[Tape]) -> Tape:
    """Join tapes of jobs of one shape and one batch into one tape of all their programs."""
    first = tapes[0]
    if len(tapes) == 1:
        return first
    columns = []
    for alike in zip(*(tape.operations for tape in tapes), strict=True):
        if alike[0].varies:
            matrices = np.concatenate([op.channel for op in alike if op.channel is not None])
            columns.append(Operation(alike[0].qubits, matrices))
        else:
            columns.append(alike[0])
    return Tape(first.width, sum(t.size for t in tapes), tuple(columns), first.save)

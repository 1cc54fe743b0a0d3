"""From jobs to a tape: the operations on qubits that every program of a batch goes through.

Both ways into Aer (:mod:`backends.aer.direct` and :mod:`backends.aer.public`) play the same tapes
and return the same density matrices.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends.aer import channels, states
from backends.aer.folding import fold
from backends.aer.schedule import Distil, Fuse, Job, Operand
from backends.aer.tape import Operation, Tape
from quantum.batch import Batch
from quantum.noise import decay

__all__ = ["lower"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]
Waits = tuple[int, ...]


@dataclass
class _Writer:
    """Writes down operations on pairs and registers, which are tuples of qubits."""

    batch: Batch
    stored: dict[int, Complex]
    operations: list[Operation] = field(default_factory=list)

    def constant(self, matrix: Complex, *qubits: int) -> None:
        self.operations.append(Operation(qubits, matrix))

    def gate(self, name: str, *qubits: int) -> None:
        self.operations.append(Operation(qubits, gate=name))

    def entering(self, operand: Operand) -> Complex:
        """Return the states in which a pair or register enters, before it waits."""
        match operand.origin:
            case "generated":
                return states.emitted(self.batch.populations[:, operand.number])
            case "loaded":
                return states.loaded(self.batch.states[:, operand.number])
            case "stored":
                return states.check_states(self.stored[operand.number])

    def wait(self, waits: Waits, qubits: tuple[int, ...]) -> None:
        """Let a pair or register decay: waits have times for the first and each other qubit.

        Decay for s and then for t is decay for s + t.
        """
        memory = self.batch.memory
        lasting = math.isinf(memory.t1_s) and math.isinf(memory.t2_s)
        if not waits or (lasting and math.isinf(memory.attempts_1e)):
            return
        one = waits[0]
        seconds, attempts = self.batch.waits_s[:, one], self.batch.attempts[:, one]
        for more in waits[1:]:
            seconds = seconds + self.batch.waits_s[:, more]
            attempts = attempts + self.batch.attempts[:, more]
        both = channels.decays(*decay(seconds.T, memory, attempts.T))
        for place, qubit in enumerate(qubits):
            self.operations.append(Operation((qubit,), both[min(place, 1)]))

    def bell_measurement(self, z_bit: int, x_bit: int, corrected: int) -> None:
        """Measure two qubits in the Bell basis and correct a third.

        The bits stay quantum and control the corrections, which is the same as measuring them
        because nothing else ever touches them.
        """
        self.constant(channels.bell_measurement(self.batch.gates), z_bit, x_bit)
        self.gate("cx", x_bit, corrected)
        self.gate("cz", z_bit, corrected)

    def distil(self, last: Distil, running: tuple[int, ...], other: tuple[int, ...]) -> int:
        """Distil; return the qubit that holds the herald, 0 for success."""
        kept, spent = (running, other) if last.running_is_kept else (other, running)
        gates, turn = self.batch.gates, 1 if last.protocol == "dejmps" else 0
        if last.protocol == "bbpssw":
            self.constant(channels.TWIRL, *kept)
            self.constant(channels.TWIRL, *spent)
        self.constant(channels.cnot_and_read(gates, turn), kept[0], spent[0])
        self.constant(channels.cnot_and_read(gates, -turn), kept[1], spent[1])
        if last.protocol == "epl":
            self.constant(channels.BOTH_READ_ONE, *spent)
        else:
            self.gate("cx", spent[1], spent[0])
        self.wait(last.waits, kept)
        return spent[0]

    def fuse(self, last: Fuse, running: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
        """Merge; return the qubits of the register."""
        kept, spent = (running, other) if last.running_is_kept else (other, running)
        node = kept[0] if last.at == "first" else kept[-1]
        measured, *appended = spent
        self.constant(channels.cnot_and_read(self.batch.gates), node, measured)
        for qubit in appended:
            self.gate("cx", measured, qubit)
        register = (*kept, *appended)
        self.wait(last.waits, register)
        return register


def lower(
    job: Job, batch: Batch, stored: dict[int, Complex], angles_rad: Floats | None = None
) -> Tape:
    """Write a job of a batch as a tape; ``stored`` holds the states ``(B, d, d)`` that re-enter.

    With ``angles_rad`` (B, 2) both qubits of the pair that is left are turned before they are
    measured, see :func:`backends.aer.channels.turned`.

    What enters first and second is there when a program starts; later pairs replace what is left
    of measured ones.
    """
    writer = _Writer(batch, stored)
    running = tuple(range(job.base.qubits))
    start, waiting = writer.entering(job.base), job.operands[1:]
    free = tuple(range(len(running), job.width))
    if waiting:
        start = states.beside(start, writer.entering(waiting[0]))
    writer.wait(job.base.waits, running)

    def enter(operand: Operand) -> None:
        if operand is not waiting[0]:
            writer.operations.append(Operation(free, state=writer.entering(operand)))
        writer.wait(operand.waits, free)

    for join in job.joins:
        enter(join.operand)
        (left, right), (one, two) = running, free
        if join.right:
            writer.bell_measurement(right, one, two)
            running, free = (left, two), (right, one)
        else:
            writer.bell_measurement(two, left, right)
            running, free = (one, right), (two, left)
        writer.wait(join.waits, running)
    save, heralded = running, isinstance(job.end, Distil)
    if job.end is not None:
        enter(job.end.operand)
    if isinstance(job.end, Distil):
        herald = writer.distil(job.end, running, free)
        save = (*(running if job.end.running_is_kept else free), herald)
    elif isinstance(job.end, Fuse):
        save = writer.fuse(job.end, running, free)
    if angles_rad is not None:
        for place, qubit in enumerate(save[:2]):
            writer.operations.append(Operation((qubit,), channels.turned(angles_rad[:, place])))
    return Tape(job.width, len(batch), start, fold(writer.operations), save, heralded)

"""What generic and NV devices have in common: to allocate, initialise, measure and free qubits."""

from typing import Any

from netqasm.lang.instr import core, nv, vanilla

from backends.squid.appmemory import AppMemory
from backends.squid.clock import Steps
from backends.squid.errors import LimitError, SquidError
from backends.squid.instructions.operands import (
    Quick,
    Slow,
    immediate,
    register,
    value,
)
from backends.squid.matrices import Axis
from backends.squid.nodecontext import NodeContext

__all__ = [
    "CONTROLLED_ROTATIONS",
    "MEASUREMENTS",
    "MOVES",
    "ROTATIONS",
    "SWAPS",
    "allocate",
    "basis_of",
    "free",
    "initialise",
    "two_qubits",
]

ROTATIONS: dict[type, Axis] = {
    vanilla.RotXInstruction: "x",
    vanilla.RotYInstruction: "y",
    vanilla.RotZInstruction: "z",
    nv.RotXInstruction: "x",
    nv.RotYInstruction: "y",
    nv.RotZInstruction: "z",
}
CONTROLLED_ROTATIONS: dict[type, Axis] = {
    nv.ControlledRotXInstruction: "x",
    nv.ControlledRotYInstruction: "y",
}
MOVES: tuple[type, ...] = (vanilla.MovInstruction, nv.MovInstruction)
SWAPS: tuple[type, ...] = (vanilla.SwpInstruction, nv.SwpInstruction)

#: Rotations before a measurement of Z, in the order in which they are done.
MEASUREMENTS: dict[type, tuple[Axis, ...]] = {
    core.MeasInstruction: (),
    core.MeasBasisInstruction: ("x", "y", "x"),
    core.MeasBasisYZYInstruction: ("y", "z", "y"),
    core.MeasBasisZXZInstruction: ("z", "x", "z"),
}


def basis_of(instr: Any) -> list[tuple[Axis, int, int]]:
    """Return the rotations (axis, n, d) of a measurement; those by nothing are left out."""
    axes = MEASUREMENTS[type(instr)]
    if not axes:
        return []
    d = immediate(instr.imm3)
    if not 0 <= d <= 255:
        raise SquidError(f"an angle is n pi / 2^d with d from 0 to 255, not {d}")
    numbers = map(immediate, (instr.imm0, instr.imm1, instr.imm2))
    return [(axis, n, d) for axis, n in zip(axes, numbers, strict=True) if n]


def allocate(instr: Any) -> Quick:
    """Make the step of qalloc."""
    name = register(instr.qreg)

    def step(node: NodeContext, line: int) -> int:
        app, memory = node.app, node.memory
        virtual_id = value(app.registers, name)
        _unused(app, virtual_id)
        position = memory.allocate_for(virtual_id)
        if position is None:
            raise LimitError(
                f"too many qubits: no position is free for virtual qubit {virtual_id}"
                f" ({memory.told()})"
            )
        app.map(virtual_id, position)
        return line + 1

    return step


def _unused(app: AppMemory, virtual_id: int) -> None:
    if virtual_id < 0:
        raise SquidError(f"virtual qubits are numbered from 0, not {virtual_id}")
    if virtual_id in app.positions:
        raise SquidError(f"virtual qubit {virtual_id} is allocated already")
    if app.is_pending(virtual_id):
        raise SquidError(f"virtual qubit {virtual_id} is awaiting half of a pair")


def initialise(instr: Any) -> Slow:
    """Make the steps of init."""
    name = register(instr.qreg)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        virtual_id = value(app.registers, name)
        position = app.positions.get(virtual_id)
        if position is None:
            position = yield from app.located(virtual_id)
        yield from node.memory.initialise(position)

    return steps


def free(instr: Any) -> Slow:
    """Make the steps of qfree."""
    name = register(instr.qreg)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        virtual_id = value(app.registers, name)
        if virtual_id not in app.positions:
            yield from app.located(virtual_id)
        node.memory.free(app.unmap(virtual_id))

    return steps


def two_qubits(node: NodeContext, first: int, second: int) -> Steps:
    """Return the virtual qubits that two registers name, when both are there."""
    app = node.app
    a, b = value(app.registers, first), value(app.registers, second)
    if a == b:
        raise SquidError(f"virtual qubit {a} cannot be both qubits of one gate")
    if a not in app.positions:
        yield from app.located(a)
    if b not in app.positions:
        yield from app.located(b)
    return a, b

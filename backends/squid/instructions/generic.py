"""Quantum instructions on a generic device: every gate of both flavours, between any qubits."""

import functools
from typing import Any

from netqasm.lang.instr import core, vanilla

from backends.squid import matrices
from backends.squid.clock import Steps
from backends.squid.engine import Complex
from backends.squid.instructions import qubits
from backends.squid.instructions.operands import (
    QuickMaker,
    Slow,
    SlowMaker,
    angle_of,
    register,
    value,
)
from backends.squid.matrices import Axis
from backends.squid.memory import Operation
from backends.squid.nodecontext import NodeContext
from backends.squid.setting import Generic

__all__ = ["instructions"]

_SINGLE: dict[type, Complex] = {
    vanilla.GateXInstruction: matrices.GATES["x"],
    vanilla.GateYInstruction: matrices.GATES["y"],
    vanilla.GateZInstruction: matrices.GATES["z"],
    vanilla.GateHInstruction: matrices.GATES["h"],
    vanilla.GateSInstruction: matrices.GATES["s"],
    vanilla.GateKInstruction: matrices.GATES["k"],
    vanilla.GateTInstruction: matrices.GATES["t"],
}
_TWO: dict[type, Complex] = {
    vanilla.CnotInstruction: matrices.CNOT,
    vanilla.CphaseInstruction: matrices.CPHASE,
}


class _Native:
    """The operations of a device, each made once."""

    def __init__(self, device: Generic) -> None:
        self.single = functools.partial(
            Operation.gate, duration_ns=device.single_ns, depolar=device.single_depolar
        )
        self.two = functools.partial(
            Operation.gate,
            duration_ns=device.two_ns,
            depolar=device.two_depolar,
            joint=device.joint_depolar,
        )
        self.swap = self.two(matrices.SWAP)
        self.rotation = functools.lru_cache(maxsize=1024)(self._rotation)
        self.controlled = functools.lru_cache(maxsize=1024)(self._controlled)

    def _rotation(self, axis: Axis, n: int, d: int) -> Operation:
        return self.single(matrices.rotation(axis, n, d))

    def _controlled(self, axis: Axis, n: int, d: int) -> Operation:
        return self.two(matrices.controlled_rotation(axis, n, d))


def instructions(device: Generic) -> tuple[dict[type, QuickMaker], dict[type, SlowMaker]]:
    """Return what each class becomes: (steps without waiting, steps that may wait)."""
    native = _Native(device)
    slow: dict[type, SlowMaker] = {
        core.InitInstruction: qubits.initialise,
        core.QFreeInstruction: qubits.free,
    }
    for kind, matrix in _SINGLE.items():
        slow[kind] = functools.partial(_one, native.single(matrix))
    for kind, matrix in _TWO.items():
        slow[kind] = functools.partial(_two, native.two(matrix))
    for kind, axis in qubits.ROTATIONS.items():
        slow[kind] = functools.partial(_rotate, native, axis)
    for kind, axis in qubits.CONTROLLED_ROTATIONS.items():
        slow[kind] = functools.partial(_controlled, native, axis)
    for kind in qubits.SWAPS:
        slow[kind] = functools.partial(_two, native.swap)
    for kind in qubits.MOVES:
        slow[kind] = functools.partial(_move, native.swap)
    for kind in qubits.MEASUREMENTS:
        slow[kind] = functools.partial(_measure, native)
    return {core.QAllocInstruction: qubits.allocate}, slow


def _one(operation: Operation, instr: Any) -> Slow:
    name = register(instr.qreg)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        virtual_id = value(app.registers, name)
        position = app.positions.get(virtual_id)
        if position is None:
            position = yield from app.located(virtual_id)
        yield from node.memory.operate(operation, position)

    return steps


def _rotate(native: _Native, axis: Axis, instr: Any) -> Slow:
    name, angle = register(instr.qreg), angle_of(instr.angle_num, instr.angle_denom)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        virtual_id = value(app.registers, name)
        position = app.positions.get(virtual_id)
        if position is None:
            position = yield from app.located(virtual_id)
        n, d = angle(app.registers)
        yield from node.memory.operate(native.rotation(axis, n, d), position)

    return steps


def _two(operation: Operation, instr: Any) -> Slow:
    first, second = register(instr.qreg0), register(instr.qreg1)

    def steps(node: NodeContext) -> Steps:
        a, b = yield from qubits.two_qubits(node, first, second)
        at = node.app.positions
        yield from node.memory.operate(operation, at[a], at[b])

    return steps


def _controlled(native: _Native, axis: Axis, instr: Any) -> Slow:
    first, second = register(instr.qreg0), register(instr.qreg1)
    angle = angle_of(instr.angle_num, instr.angle_denom)

    def steps(node: NodeContext) -> Steps:
        a, b = yield from qubits.two_qubits(node, first, second)
        n, d = angle(node.app.registers)
        at = node.app.positions
        yield from node.memory.operate(native.controlled(axis, n, d), at[a], at[b])

    return steps


def _move(swap: Operation, instr: Any) -> Slow:
    """Make the steps of mov: what the target held is lost, and the source is left in |0>."""
    first, second = register(instr.qreg0), register(instr.qreg1)

    def steps(node: NodeContext) -> Steps:
        a, b = yield from qubits.two_qubits(node, first, second)
        at = node.app.positions
        node.memory.empty(at[b])
        yield from node.memory.operate(swap, at[a], at[b])

    return steps


def _measure(native: _Native, instr: Any) -> Slow:
    name, out = register(instr.qreg), register(instr.creg)
    basis = [native.rotation(*turn) for turn in qubits.basis_of(instr)]

    def steps(node: NodeContext) -> Steps:
        app, memory = node.app, node.memory
        virtual_id = value(app.registers, name)
        position = app.positions.get(virtual_id)
        if position is None:
            position = yield from app.located(virtual_id)
        for turn in basis:
            yield from memory.operate(turn, position)
        app.registers[out] = yield from memory.measure(position)

    return steps

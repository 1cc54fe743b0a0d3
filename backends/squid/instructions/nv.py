"""Quantum instructions on an NV centre: rotations, controlled rotations, moves, measurements.

Only the electron (position 0) controls, is measured and talks to the network. Where an instruction
needs a qubit there, it is brought, and what was there goes to a free carbon or changes places with
it. Gates of the vanilla flavour have no times and errors here: netqasm compiles them to these.
"""

import functools
from typing import Any

from netqasm.lang.instr import core

from backends.squid.clock import Steps
from backends.squid.errors import LimitError
from backends.squid.instructions import qubits
from backends.squid.instructions.moves import ELECTRON, Moves
from backends.squid.instructions.operands import (
    QuickMaker,
    Slow,
    SlowMaker,
    angle_of,
    register,
    value,
)
from backends.squid.matrices import Axis
from backends.squid.nodecontext import NodeContext
from backends.squid.setting import Nv

__all__ = ["instructions"]


def instructions(device: Nv) -> tuple[dict[type, QuickMaker], dict[type, SlowMaker]]:
    """Return what each class becomes: (steps without waiting, steps that may wait)."""
    moves = Moves(device)
    slow: dict[type, SlowMaker] = {
        core.InitInstruction: qubits.initialise,
        core.QFreeInstruction: qubits.free,
    }
    for kind, axis in qubits.ROTATIONS.items():
        slow[kind] = functools.partial(_rotate, moves, axis)
    for kind, axis in qubits.CONTROLLED_ROTATIONS.items():
        slow[kind] = functools.partial(_controlled, moves, axis)
    for kind in qubits.SWAPS:
        slow[kind] = functools.partial(_swap, moves)
    for kind in qubits.MOVES:
        slow[kind] = functools.partial(_move, moves)
    for kind in qubits.MEASUREMENTS:
        slow[kind] = functools.partial(_measure, moves)
    return {core.QAllocInstruction: qubits.allocate}, slow


def _rotate(moves: Moves, axis: Axis, instr: Any) -> Slow:
    name, angle = register(instr.qreg), angle_of(instr.angle_num, instr.angle_denom)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        virtual_id = value(app.registers, name)
        position = app.positions.get(virtual_id)
        if position is None:
            position = yield from app.located(virtual_id)
        turn = moves.rotation(axis, *angle(app.registers), position == ELECTRON)
        yield from node.memory.operate(turn, position)

    return steps


def _controlled(moves: Moves, axis: Axis, instr: Any) -> Slow:
    first, second = register(instr.qreg0), register(instr.qreg1)
    angle = angle_of(instr.angle_num, instr.angle_denom)

    def steps(node: NodeContext) -> Steps:
        a, b = yield from qubits.two_qubits(node, first, second)
        at = node.app.positions
        if at[a] != ELECTRON:
            yield from moves.bring(node, a)
        operation = moves.controlled(axis, *angle(node.app.registers))
        yield from node.memory.operate(operation, ELECTRON, at[b])

    return steps


def _measure(moves: Moves, instr: Any) -> Slow:
    name, out = register(instr.qreg), register(instr.creg)
    basis = [moves.rotation(*turn, True) for turn in qubits.basis_of(instr)]

    def steps(node: NodeContext) -> Steps:
        app, memory = node.app, node.memory
        virtual_id = value(app.registers, name)
        position = app.positions.get(virtual_id)
        if position is None:
            position = yield from app.located(virtual_id)
        if position != ELECTRON:
            yield from moves.bring(node, virtual_id, for_z=not basis)
        for turn in basis:
            yield from memory.operate(turn, ELECTRON)
        app.registers[out] = yield from memory.measure(ELECTRON)

    return steps


def _move(moves: Moves, instr: Any) -> Slow:
    """Make the steps of mov: what the target held is lost, and the source holds no data."""
    first, second = register(instr.qreg0), register(instr.qreg1)

    def steps(node: NodeContext) -> Steps:
        a, b = yield from qubits.two_qubits(node, first, second)
        source, target = node.app.positions[a], node.app.positions[b]
        if source == ELECTRON:
            yield from moves.to_carbon(node.memory, target)
        elif target == ELECTRON:
            yield from moves.to_electron(node.memory, source)
        else:
            yield from moves.carbon_to_carbon(node, source, target)

    return steps


def _swap(moves: Moves, instr: Any) -> Slow:
    """Make the steps of swp.

    netqasm compiles a gate between carbons to: swp electron carbon, the gate, swp electron carbon,
    also where virtual qubit 0 is not allocated. Then the first lends the carbon's state to virtual
    qubit 0 and the second gives it back.
    """
    first, second = register(instr.qreg0), register(instr.qreg1)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        pair = value(app.registers, first), value(app.registers, second)
        for absent, there in (pair, pair[::-1]):
            if absent in app.positions or app.is_pending(absent) or there not in app.positions:
                continue
            if absent == 0:
                yield from _lend(moves, node, there)
                return
            if there == 0 and absent in app.lent:
                yield from _give_back(moves, node, absent)
                return
        a, b = yield from qubits.two_qubits(node, first, second)
        p, q = app.positions[a], app.positions[b]
        if ELECTRON in (p, q):
            yield from moves.exchange(node.memory, max(p, q))
        else:
            yield from moves.exchange_carbons(node, p, q)

    return steps


def _lend(moves: Moves, node: NodeContext, virtual_id: int) -> Steps:
    app = node.app
    if app.positions[virtual_id] != ELECTRON:
        yield from moves.bring(node, virtual_id)
    app.map(0, app.unmap(virtual_id))
    app.lent.add(virtual_id)


def _give_back(moves: Moves, node: NodeContext, virtual_id: int) -> Steps:
    app, memory = node.app, node.memory
    position = app.positions[0]
    if position == ELECTRON:
        carbon = memory.allocate(storage=True)
        if carbon is None:
            raise LimitError(f"too many qubits: no carbon is free for virtual qubit {virtual_id}")
        yield from moves.to_carbon(memory, carbon)
        memory.free(ELECTRON)
        position = carbon
    app.unmap(0)
    app.map(virtual_id, position)
    app.lent.discard(virtual_id)

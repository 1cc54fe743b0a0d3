"""Pairs with other nodes, and waiting for what the network stack writes into arrays."""

from collections.abc import Callable
from typing import Any

from netqasm.lang.instr import core

from backends.squid.clock import Steps, Until
from backends.squid.instructions.operands import (
    Quick,
    QuickMaker,
    Slow,
    SlowMaker,
    entry_of,
    register,
    slice_of,
    value,
)
from backends.squid.nodecontext import NodeContext

__all__ = ["REQUESTS", "WAITS"]


def _create(instr: Any) -> Quick:
    remote, socket = register(instr.remote_node_id), register(instr.epr_socket_id)
    qubits, args = register(instr.qubit_addr_array), register(instr.arg_array)
    results = register(instr.ent_results_array)

    def step(node: NodeContext, line: int) -> int:
        registers = node.app.registers
        node.netstack.create(
            node.app,
            value(registers, remote),
            value(registers, socket),
            registers[qubits],
            value(registers, args),
            value(registers, results),
        )
        return line + 1

    return step


def _receive(instr: Any) -> Quick:
    remote, socket = register(instr.remote_node_id), register(instr.epr_socket_id)
    qubits, results = register(instr.qubit_addr_array), register(instr.ent_results_array)

    def step(node: NodeContext, line: int) -> int:
        registers = node.app.registers
        node.netstack.receive(
            node.app,
            value(registers, remote),
            value(registers, socket),
            registers[qubits],
            value(registers, results),
        )
        return line + 1

    return step


def _why(node: NodeContext, entries: str, address: int) -> str:
    awaited = node.app.awaited.get(address, "nobody was asked to write it")
    return f"{entries} ({awaited})"


def _wait_slice(enough: Callable[[list[int | None]], bool], how_many: str) -> SlowMaker:
    def make(instr: Any) -> Slow:
        address, first, last = slice_of(instr.slice)

        def steps(node: NodeContext) -> Steps:
            app = node.app
            start, stop = value(app.registers, first), value(app.registers, last)
            while not enough(app.read_slice(address, start, stop)):
                entries = f"{how_many} of array entries @{address}[{start}:{stop}]"
                yield Until(app.changed, _why(node, entries, address))

        return steps

    return make


def _wait_single(instr: Any) -> Slow:
    address, index = entry_of(instr.entry)

    def steps(node: NodeContext) -> Steps:
        app = node.app
        at = value(app.registers, index)
        while app.read(address, at) is None:
            yield Until(app.changed, _why(node, f"array entry @{address}[{at}]", address))

    return steps


#: Requests for pairs; they return at once.
REQUESTS: dict[type, QuickMaker] = {
    core.CreateEPRInstruction: _create,
    core.RecvEPRInstruction: _receive,
}

#: An empty slice is complete, so nothing waits for it.
WAITS: dict[type, SlowMaker] = {
    core.WaitAllInstruction: _wait_slice(lambda entries: None not in entries, "all"),
    core.WaitAnyInstruction: _wait_slice(
        lambda entries: not entries or any(e is not None for e in entries), "any"
    ),
    core.WaitSingleInstruction: _wait_single,
}

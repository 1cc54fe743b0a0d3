"""Registers, arrays, arithmetic and branches: instructions that take no simulated time.

Integers have 32 bits as NetQASM encodes them. ``div`` and ``rem`` round down, as netqasm's own
executor does: -7 div 2 = -4, -7 rem 2 = 1.
"""

import operator
from collections.abc import Callable
from typing import Any

from netqasm.lang.instr import DebugInstruction, core

from backends.squid.errors import SquidError
from backends.squid.instructions.operands import (
    Quick,
    QuickMaker,
    entry_of,
    immediate,
    register,
    value,
)
from backends.squid.nodecontext import NodeContext

__all__ = ["CLASSICAL"]

_SMALLEST, _LARGEST = -(2**31), 2**31 - 1


def _fits(number: int) -> int:
    if not _SMALLEST <= number <= _LARGEST:
        raise SquidError(f"{number} does not fit into 32 bits")
    return number


def _set(instr: Any) -> Quick:
    out, number = register(instr.reg), _fits(immediate(instr.imm))

    def step(node: NodeContext, line: int) -> int:
        node.app.registers[out] = number
        return line + 1

    return step


def _lea(instr: Any) -> Quick:
    out, address = register(instr.reg), int(instr.address.address)

    def step(node: NodeContext, line: int) -> int:
        node.app.registers[out] = address
        return line + 1

    return step


def _array(instr: Any) -> Quick:
    size, address = register(instr.size), int(instr.address.address)

    def step(node: NodeContext, line: int) -> int:
        node.app.new_array(address, value(node.app.registers, size))
        return line + 1

    return step


def _store(instr: Any) -> Quick:
    source, (address, index) = register(instr.reg), entry_of(instr.entry)

    def step(node: NodeContext, line: int) -> int:
        registers = node.app.registers
        node.app.write(address, value(registers, index), value(registers, source))
        return line + 1

    return step


def _load(instr: Any) -> Quick:
    out, (address, index) = register(instr.reg), entry_of(instr.entry)

    def step(node: NodeContext, line: int) -> int:
        at = value(node.app.registers, index)
        number = node.app.read(address, at)
        if number is None:
            raise SquidError(f"@{address}[{at}] has no value yet")
        node.app.registers[out] = number
        return line + 1

    return step


def _undef(instr: Any) -> Quick:
    address, index = entry_of(instr.entry)

    def step(node: NodeContext, line: int) -> int:
        node.app.write(address, value(node.app.registers, index), None)
        return line + 1

    return step


def _no_op(instr: Any) -> Quick:
    return lambda node, line: line + 1


def _return_register(instr: Any) -> Quick:
    source = register(instr.reg)

    def step(node: NodeContext, line: int) -> int:
        value(node.app.registers, source)
        return line + 1

    return step


def _return_array(instr: Any) -> Quick:
    address = int(instr.address.address)

    def step(node: NodeContext, line: int) -> int:
        node.app.array(address)
        return line + 1

    return step


def _jump(instr: Any) -> Quick:
    target = immediate(instr.line)
    return lambda node, line: target


def _unary(holds: Callable[[int], bool]) -> QuickMaker:
    def make(instr: Any) -> Quick:
        source, target = register(instr.reg), immediate(instr.line)

        def step(node: NodeContext, line: int) -> int:
            return target if holds(value(node.app.registers, source)) else line + 1

        return step

    return make


def _binary(holds: Callable[[int, int], bool]) -> QuickMaker:
    def make(instr: Any) -> Quick:
        a, b = register(instr.reg0), register(instr.reg1)
        target = immediate(instr.line)

        def step(node: NodeContext, line: int) -> int:
            registers = node.app.registers
            return target if holds(value(registers, a), value(registers, b)) else line + 1

        return step

    return make


def _arithmetic(combine: Callable[[int, int], int]) -> QuickMaker:
    def make(instr: Any) -> Quick:
        out, a, b = register(instr.regout), register(instr.regin0), register(instr.regin1)

        def step(node: NodeContext, line: int) -> int:
            registers = node.app.registers
            registers[out] = _fits(combine(value(registers, a), value(registers, b)))
            return line + 1

        return step

    return make


def _modular(combine: Callable[[int, int], int]) -> QuickMaker:
    def make(instr: Any) -> Quick:
        out, modulus = register(instr.regout), register(instr.regmod)
        a, b = register(instr.regin0), register(instr.regin1)

        def step(node: NodeContext, line: int) -> int:
            registers = node.app.registers
            mod = value(registers, modulus)
            if mod < 1:
                raise SquidError(f"the modulus must be 1 or more, not {mod}")
            registers[out] = combine(value(registers, a), value(registers, b)) % mod
            return line + 1

        return step

    return make


def _by(divide: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def safe(a: int, b: int) -> int:
        if b == 0:
            raise SquidError(f"{a} cannot be divided by zero")
        return divide(a, b)

    return safe


#: What each class of instruction becomes.
CLASSICAL: dict[type, QuickMaker] = {
    core.SetInstruction: _set,
    core.LeaInstruction: _lea,
    core.ArrayInstruction: _array,
    core.StoreInstruction: _store,
    core.LoadInstruction: _load,
    core.UndefInstruction: _undef,
    core.RetRegInstruction: _return_register,
    core.RetArrInstruction: _return_array,
    DebugInstruction: _no_op,
    core.JmpInstruction: _jump,
    core.BezInstruction: _unary(lambda a: a == 0),
    core.BnzInstruction: _unary(lambda a: a != 0),
    core.BeqInstruction: _binary(operator.eq),
    core.BneInstruction: _binary(operator.ne),
    core.BltInstruction: _binary(operator.lt),
    core.BgeInstruction: _binary(operator.ge),
    core.AddInstruction: _arithmetic(operator.add),
    core.SubInstruction: _arithmetic(operator.sub),
    core.MulInstruction: _arithmetic(operator.mul),
    core.DivInstruction: _arithmetic(_by(operator.floordiv)),
    core.RemInstruction: _arithmetic(_by(operator.mod)),
    core.AddmInstruction: _modular(operator.add),
    core.SubmInstruction: _modular(operator.sub),
}

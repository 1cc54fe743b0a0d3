"""Compiled subroutines, kept by what they are made of.

A program builds the same subroutines in each of its runs; assembling and transpiling them costs
several times as much as comparing their commands.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from netqasm.lang.ir import ICmd, ProtoSubroutine
from netqasm.lang.operand import Address, ArrayEntry, ArraySlice, Label, Register, Template
from netqasm.lang.subroutine import Subroutine

from backends.squid.building import Block, expanded

__all__ = ["CompiledSubroutines", "structure"]

Compile = Callable[[ProtoSubroutine], Subroutine]

#: Beyond this many the oldest are forgotten: programs may put random angles into their gates.
_MOST = 2048


def structure(proto: ProtoSubroutine) -> tuple[Any, ...]:
    """Return what makes a subroutine the one that it is, as a key.

    Cheaper than its text: enumerations and registers count as numbers.
    """
    key: list[Any] = []
    add = key.append
    for command in proto.commands:
        if type(command) is ICmd:
            add(command.instruction._value_)
            for operand in command.operands:
                kind = type(operand)
                if kind is int:
                    add(operand)
                elif kind is Register:
                    add((operand.name._value_, operand.index))
                else:
                    add(_operand(operand))
            if command.args:
                add("args")
                key.extend(command.args)
            # Ends a command: the number of operands is part of the key.
            add(None)
        elif type(command) is Block:
            add(command.key)
        else:
            add(command.name)
    return tuple(key)


def _operand(operand: Any) -> Any:
    if isinstance(operand, IntEnum):
        return int(operand)
    return _KEYS[type(operand)](operand)


def _register(register: Register) -> tuple[int, int]:
    return register.name._value_, register.index


def _index(index: Any) -> Any:
    return index if type(index) is int else _register(index)


_KEYS: dict[type, Callable[[Any], Any]] = {
    Register: _register,
    Address: lambda address: ("@", address.address),
    ArrayEntry: lambda entry: ("[", entry.address.address, _index(entry.index)),
    ArraySlice: lambda part: (":", part.address.address, _index(part.start), _index(part.stop)),
    Label: lambda label: label.name,
    Template: lambda template: ("{", template.name),
}


class CompiledSubroutines:
    """The subroutines of the programs of one kind of device."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Subroutine] = {}

    def get(self, proto: ProtoSubroutine, compile_it: Compile) -> Subroutine:
        """Return the compiled subroutine, which nobody may change."""
        try:
            key = structure(proto)
        except KeyError:
            # Operands of unknown kinds: let netqasm say what it thinks of them.
            return compile_it(_copy(proto))
        found = self._known.get(key)
        if found is None:
            found = compile_it(_copy(proto))
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return found


def _copy(proto: ProtoSubroutine) -> ProtoSubroutine:
    """Return a subroutine that netqasm may change."""
    return ProtoSubroutine(
        expanded(proto.commands), list(proto.arguments), proto.netqasm_version, proto.app_id
    )

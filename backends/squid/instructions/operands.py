"""How operands are read: what is known when a subroutine is decoded, and what when it runs."""

from collections.abc import Callable, Sequence
from typing import Any

from netqasm.lang.operand import Immediate, Register, Template

from backends.squid.appmemory import REGISTERS, register_index
from backends.squid.clock import Steps
from backends.squid.errors import SquidError
from backends.squid.nodecontext import NodeContext

__all__ = [
    "Quick",
    "QuickMaker",
    "Slow",
    "SlowMaker",
    "angle_of",
    "entry_of",
    "immediate",
    "register",
    "slice_of",
    "value",
]

#: An instruction that takes no time: (node, line) -> next line.
Quick = Callable[[NodeContext, int], int]
#: An instruction that may wait.
Slow = Callable[[NodeContext], Steps]
QuickMaker = Callable[[Any], Quick]
SlowMaker = Callable[[Any], Slow]

#: The largest exponent d of an angle n pi / 2^d: 8 bits of the instruction.
_LARGEST_EXPONENT = 255


def immediate(operand: Any) -> int:
    """Return the number that an operand is."""
    match operand:
        case Immediate(value=int(number)):
            return number
        case Template(name=name):
            raise SquidError(f"template {{{name}}} has no value: instantiate the subroutine first")
    raise SquidError(f"{operand!r} should be a number")


def register(operand: Any) -> int:
    """Return the number of the register that an operand is."""
    if isinstance(operand, Template):
        immediate(operand)
    if not isinstance(operand, Register):
        raise SquidError(f"{operand!r} should be a register")
    return register_index(operand)


def value(registers: Sequence[int | None], index: int) -> int:
    """Return the value of a register, which must have one."""
    number = registers[index]
    if number is None:
        raise SquidError(f"register {REGISTERS[index]} has no value")
    return number


def entry_of(entry: Any) -> tuple[int, int]:
    """Return (address, register of the index) of an array entry."""
    return int(entry.address.address), register(entry.index)


def slice_of(part: Any) -> tuple[int, int, int]:
    """Return (address, registers of start and stop) of a slice of an array."""
    return int(part.address.address), register(part.start), register(part.stop)


def angle_of(n: Any, d: Any) -> Callable[[Sequence[int | None]], tuple[int, int]]:
    """Return what reads an angle n pi / 2^d; netqasm lets either be a register."""

    def reader(operand: Any) -> Callable[[Sequence[int | None]], int]:
        if isinstance(operand, Register):
            index = register_index(operand)
            return lambda registers: value(registers, index)
        number = immediate(operand)
        return lambda registers: number

    read_n, read_d = reader(n), reader(d)

    def read(registers: Sequence[int | None]) -> tuple[int, int]:
        exponent = read_d(registers)
        if not 0 <= exponent <= _LARGEST_EXPONENT:
            raise SquidError(f"an angle is n pi / 2^d with d from 0 to 255, not {exponent}")
        return read_n(registers), exponent

    return read

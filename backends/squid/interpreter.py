"""Runs NetQASM subroutines: each is decoded once, then played line by line.

What a line is made of is in :mod:`backends.squid.instructions`. Errors name the program, the node
and the instruction.
"""

import functools
import logging
from dataclasses import dataclass
from typing import Any

from backends.squid.clock import Steps
from backends.squid.errors import LimitError, SquidError
from backends.squid.instructions import generic, nv
from backends.squid.instructions.classical import CLASSICAL
from backends.squid.instructions.debug import DEBUG
from backends.squid.instructions.network import REQUESTS, WAITS
from backends.squid.instructions.operands import Quick, QuickMaker, Slow, SlowMaker
from backends.squid.nodecontext import NodeContext
from backends.squid.setting import Device, Nv

__all__ = ["known_instructions", "run_subroutine"]

#: Subroutines that are kept decoded.
_MOST_DECODED = 1024


@dataclass(frozen=True, eq=False, slots=True)
class _Decoded:
    """The lines of a subroutine, each quick or slow; and for whom they were made."""

    instructions: Any
    device: Device
    quick: list[Quick | None]
    slow: list[Slow]


#: By the identity of the list of instructions and of the device, which the values keep alive.
_decoded: dict[tuple[int, int], _Decoded] = {}


@functools.lru_cache(maxsize=64)
def _makers(device: Device) -> tuple[dict[type, QuickMaker], dict[type, SlowMaker]]:
    quick, slow = (
        nv.instructions(device) if isinstance(device, Nv) else generic.instructions(device)
    )
    return {**CLASSICAL, **REQUESTS, **quick}, {**WAITS, **DEBUG, **slow}


def known_instructions(device: Device) -> frozenset[type]:
    """Return netqasm's classes of instructions that a device executes."""
    quick, slow = _makers(device)
    return frozenset(quick) | frozenset(slow)


def run_subroutine(subroutine: Any, node: NodeContext) -> Steps:
    """Run a netqasm Subroutine on a node.

    Raises :class:`SquidError` that names program, node and line for whatever it cannot do, and
    :class:`LimitError` after ``node.most_instructions``.
    """
    code = _decode(subroutine, node)
    quick_lines, slow_lines = code.quick, code.slow
    end, line = len(quick_lines), 0
    left = node.most_instructions
    log = node.log if node.log.isEnabledFor(logging.DEBUG) else None
    try:
        while line < end:
            if left == 0:
                raise LimitError(
                    f"more than {node.most_instructions} instructions in one subroutine:"
                    " is there an endless loop?"
                )
            left -= 1
            if log is not None:
                log.debug("line %d: %s", line, subroutine.instructions[line])
            quick = quick_lines[line]
            if quick is not None:
                line = quick(node, line)
            else:
                yield from slow_lines[line](node)
                line += 1
    except SquidError as error:
        raise type(error)(_told(error, node, line, subroutine.instructions[line])) from error


def _told(error: SquidError, node: NodeContext, line: int, instr: Any) -> str:
    host = ""
    if instr.lineno is not None:
        host = f" from {instr.lineno.filename}:{instr.lineno.lineno}"
    return f"{node.program} on {node.name}, instruction {line} ({instr}){host}: {error}"


def _decode(subroutine: Any, node: NodeContext) -> _Decoded:
    instructions, device = subroutine.instructions, node.memory.device
    key = id(instructions), id(device)
    known = _decoded.get(key)
    if known is not None and len(known.quick) == len(instructions):
        return known
    quick_makers, slow_makers = _makers(device)
    quick: list[Quick | None] = []
    slow: list[Slow] = []
    for line, instr in enumerate(instructions):
        try:
            _check_target(instr, len(instructions))
            kind = type(instr)
            if kind in quick_makers:
                quick.append(quick_makers[kind](instr))
                slow.append(_never)
            elif kind in slow_makers:
                quick.append(None)
                slow.append(slow_makers[kind](instr))
            else:
                device_name = "NV" if isinstance(device, Nv) else "generic"
                raise SquidError(f"not an instruction of {device_name} devices")
        except SquidError as error:
            raise SquidError(_told(error, node, line, instr)) from error
    if len(_decoded) >= _MOST_DECODED:
        del _decoded[next(iter(_decoded))]
    decoded = _decoded[key] = _Decoded(instructions, device, quick, slow)
    return decoded


def _never(node: NodeContext) -> Steps:
    """Stand in the list of slow lines where a line is quick."""
    yield from ()


def _check_target(instr: Any, lines: int) -> None:
    """Refuse a jump out of the subroutine; the line after the last one ends it."""
    target = getattr(instr, "line", None)
    number = getattr(target, "value", None)
    if isinstance(number, int) and not 0 <= number <= lines:
        raise SquidError(f"there is no line {number} to go to: lines are 0 to {lines}")

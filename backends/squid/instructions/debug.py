"""Breakpoints: what a person wants to see while a program runs."""

import logging
from typing import Any

import numpy as np
from netqasm.lang.instr import core
from netqasm.lang.ir import BreakpointAction, BreakpointRole

from backends.squid.clock import Steps
from backends.squid.errors import SquidError
from backends.squid.instructions.operands import Slow, SlowMaker, immediate
from backends.squid.nodecontext import NodeContext

__all__ = ["DEBUG"]


def _breakpoint(instr: Any) -> Slow:
    numbers = immediate(instr.action), immediate(instr.role)
    try:
        action, role = BreakpointAction(numbers[0]), BreakpointRole(numbers[1])
    except ValueError:
        raise SquidError(
            f"breakpoint {numbers[0]} {numbers[1]}: actions are 0 (none), 1 (local state) and"
            " 2 (global state), roles 0 (create) and 1 (receive)"
        ) from None

    def steps(node: NodeContext) -> Steps:
        hook = node.on_breakpoint or _log
        more = hook(node, action, role)
        if more is not None:
            yield from more

    return steps


def _log(node: NodeContext, action: Any, role: Any) -> None:
    if not node.log.isEnabledFor(logging.INFO):
        return
    node.log.info("breakpoint %s at %g ns", action.name, node.clock.now_ns)
    if action is BreakpointAction.NOP:
        return
    for position in node.memory.filled():
        state = np.array2string(node.memory.state([position]), precision=6)
        node.log.info("position %d:\n%s", position, state)


DEBUG: dict[type, SlowMaker] = {core.BreakpointInstruction: _breakpoint}

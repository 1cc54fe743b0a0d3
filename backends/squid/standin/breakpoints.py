"""What happens at breakpoints of a program: states are told to the log, and kept."""

from typing import Any

from netqasm.lang.ir import BreakpointAction, BreakpointRole

from backends.squid.clock import Steps, Until
from backends.squid.nodecontext import NodeContext
from backends.squid.standin.observe import GlobalSimData
from backends.squid.standin.simulator import reduced_dm
from backends.squid.standin.state import STATE

__all__ = ["on_breakpoint"]

_OTHER = {
    BreakpointRole.CREATE: BreakpointRole.RECEIVE,
    BreakpointRole.RECEIVE: BreakpointRole.CREATE,
}


def on_breakpoint(node: NodeContext, action: Any, role: Any) -> Steps | None:
    """Keep the states of all nodes; where the action is global, when another node is there too."""
    if action is BreakpointAction.NOP:
        node.log.info("breakpoint: no action taken")
        return None
    if action is BreakpointAction.DUMP_GLOBAL_STATE:
        return _meet(node, role)
    _keep(node, [node.name])
    return None


def _meet(node: NodeContext, role: Any) -> Steps:
    """Wait for the node of the other role; who comes second keeps the states of both."""
    other = STATE.waiting[_OTHER[role]]
    if other:
        _keep(node, None)
        other.popleft().give()
        return
    signal = node.clock.signal()
    STATE.waiting[role].append(signal)
    yield Until(signal, f"a node at a global breakpoint with role {_OTHER[role].name}")


def _keep(node: NodeContext, told: list[str] | None) -> None:
    """Keep all states, and tell those of some nodes (None: of all) to the log."""
    found = GlobalSimData.get_quantum_state(save=True)
    for name, qubits in found.items():
        if told is None or name in told:
            for position, qubit in qubits.items():
                node.log.info("breakpoint: %s, qubit %d:\n%s", name, position, reduced_dm(qubit))

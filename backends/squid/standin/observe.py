"""Looking at quantum states in the middle of a program, which only a simulation can."""

import math
from typing import Any

import numpy as np

from backends.squid.engine import Complex
from backends.squid.errors import SquidError
from backends.squid.standin.simulator import Qubit, reduced_dm
from backends.squid.standin.state import STATE

__all__ = ["GlobalSimData", "get_qubit_state", "get_reference_state"]


def get_qubit_state(q: Any, node_name: str, full_state: bool = False) -> Complex:
    """Return the density matrix of a qubit as it is now; flush before.

    ``full_state``: that of all qubits with which it may be entangled, itself included, in the order
    of nodes in the configuration, and of positions within a node.
    """
    nodes = _nodes()
    node = nodes.get(node_name)
    if node is None:
        raise SquidError(f"there is no node {node_name!r}; nodes are: {', '.join(nodes)}")
    position = node.app.positions.get(q.qubit_id)
    if position is None:
        raise SquidError(
            f"virtual qubit {q.qubit_id} is not in the memory of {node_name}: it was measured or "
            "freed, or its commands were not flushed"
        )
    qubit = Qubit(node, position)
    if not full_state:
        return reduced_dm(qubit)
    group = set(node.memory.engine.entangled_with(node.memory.qubit(position)))
    return reduced_dm([one for one in _all_qubits() if _number(one) in group])


def get_reference_state(phi: float, theta: float) -> Complex:
    """Return the density matrix of the pure state at two angles of the Bloch sphere.

    >>> get_reference_state(0.0, math.pi / 2).real.round(3).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    coherence = math.sin(theta) * np.exp(-1j * phi) / 2.0
    up = (1.0 + math.cos(theta)) / 2.0
    return np.array([[up, coherence], [np.conj(coherence), 1.0 - up]])


class GlobalSimData:
    """All qubits of the network that runs, and their states at breakpoints."""

    @classmethod
    def get_quantum_state(cls, save: bool = False) -> dict[str, dict[int, Qubit]]:
        """Return the qubits of each node by position; ``save`` keeps their states too."""
        found: dict[str, dict[int, Qubit]] = {name: {} for name in _nodes()}
        for qubit in _all_qubits():
            found[qubit.node.name][qubit.position] = qubit
        if save:
            STATE.breakpoints.append(
                {
                    name: {position: reduced_dm(qubit) for position, qubit in of_node.items()}
                    for name, of_node in found.items()
                }
            )
        return found

    @classmethod
    def get_last_breakpoint_state(cls) -> dict[str, dict[int, Complex]]:
        """Return the state of each qubit when states were last saved, by node and position."""
        if not STATE.breakpoints:
            raise SquidError("no state was saved: is there a breakpoint DUMP_GLOBAL_STATE?")
        return STATE.breakpoints[-1]

    @classmethod
    def get_network(cls) -> Any:
        """Return the network that runs now, or ran last; None before the first run."""
        return STATE.simulation


def _nodes() -> dict[str, Any]:
    if STATE.simulation is None:
        raise SquidError("states can be looked at only while a network runs")
    return {name: host.context for name, host in STATE.simulation.hosts.items()}


def _all_qubits() -> list[Qubit]:
    return [
        Qubit(node, position) for node in _nodes().values() for position in node.memory.filled()
    ]


def _number(qubit: Qubit) -> int:
    return int(qubit.node.memory.qubit(qubit.position))

"""What a running program has at hand: the node that it runs on, and what it asks of the network."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from backends.squid.appmemory import AppMemory
from backends.squid.clock import Clock, Steps
from backends.squid.memory import QuantumMemory

__all__ = ["BreakpointHook", "NetStackApi", "NodeContext"]


class NetStackApi(Protocol):
    """What the instructions create_epr and recv_epr ask of the network stack.

    Both return at once; pairs come later. The stack reads arrays of the application (addresses),
    announces the virtual qubits of the request by ``AppMemory.mark_pending``, maps them when halves
    come, and writes results into ``result_array``. ``qubit_array`` is None where the register that
    should name it has no value.
    """

    def create(
        self,
        app: AppMemory,
        remote_node_id: int,
        epr_socket_id: int,
        qubit_array: int | None,
        arg_array: int,
        result_array: int,
    ) -> None:
        """Ask for pairs with another node."""

    def receive(
        self,
        app: AppMemory,
        remote_node_id: int,
        epr_socket_id: int,
        qubit_array: int | None,
        result_array: int,
    ) -> None:
        """Say that the pairs which another node asks for are welcome."""


#: Called at a breakpoint with the node and netqasm's BreakpointAction and BreakpointRole; steps
#: that it returns are played before the program goes on.
BreakpointHook = Callable[["NodeContext", Any, Any], Steps | None]


@dataclass(eq=False)
class NodeContext:
    """A program on a node."""

    name: str
    node_id: int
    clock: Clock
    memory: QuantumMemory
    app: AppMemory
    netstack: NetStackApi
    rng: np.random.Generator
    program: str = "program"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    #: None: a line of the log, with the states of the node's qubits where the action asks for it.
    on_breakpoint: BreakpointHook | None = None
    #: Of one subroutine; an endless loop without quantum operations takes no simulated time.
    most_instructions: int = 2_000_000

"""What an application is made of: a program for each node, and what it is given when it runs."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netqasm.sdk.epr_socket import EPRSocket

    from backends.squid.classical import ClassicalSocket
    from backends.squid.host import Connection

__all__ = ["Program", "ProgramContext", "ProgramMeta"]


@dataclass
class ProgramMeta:
    """What a program says of itself. Sockets are named by the nodes at their other ends."""

    name: str
    csockets: list[str]
    epr_sockets: list[str]
    max_qubits: int
    #: What programs of 2022 pass; nothing reads it.
    parameters: Any = field(default_factory=list)


class ProgramContext:
    """What a program runs with: its connection to the node, and its sockets by peer."""

    def __init__(
        self,
        netqasm_connection: "Connection",
        csockets: "dict[str, ClassicalSocket]",
        epr_sockets: "dict[str, EPRSocket]",
        app_id: int,
    ) -> None:
        self._connection = netqasm_connection
        self._csockets, self._epr_sockets = csockets, epr_sockets
        self._app_id = app_id

    @property
    def connection(self) -> "Connection":
        """The connection on which qubits are made and subroutines are flushed."""
        return self._connection

    @property
    def csockets(self) -> "dict[str, ClassicalSocket]":
        """Classical sockets by the name of the peer."""
        return self._csockets

    @property
    def epr_sockets(self) -> "dict[str, EPRSocket]":
        """EPR sockets by the name of the peer."""
        return self._epr_sockets

    @property
    def app_id(self) -> int:
        """The number of this application on its node."""
        return self._app_id


class Program:
    """Base of all programs: give ``meta`` and ``run``, which this one, as SquidASM's, has not."""

    @property
    def meta(self) -> ProgramMeta:
        """Say which sockets and how many qubits are needed."""
        raise NotImplementedError

    def run(self, context: ProgramContext) -> Generator[Any, Any, dict[str, Any]]:
        """Run once; return the results."""
        raise NotImplementedError

"""The host of a node: it runs a program again and again on a connection of netqasm's SDK."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import isgenerator
from typing import Any

from netqasm.lang.ir import ProtoSubroutine
from netqasm.lang.subroutine import Subroutine
from netqasm.sdk.connection import BaseNetQASMConnection
from netqasm.sdk.epr_socket import EPRSocket

from backends.squid.appmemory import AppMemory
from backends.squid.building import light_builder
from backends.squid.classical import ClassicalSocket, Sockets
from backends.squid.clock import Delay, Steps
from backends.squid.compiling import CompiledSubroutines
from backends.squid.errors import LimitError, SquidError
from backends.squid.interpreter import run_subroutine
from backends.squid.netstack import NetStack
from backends.squid.nodecontext import NodeContext
from backends.squid.places import module_of, place_of
from backends.squid.program import ProgramContext, ProgramMeta
from backends.squid.setting import Nv

__all__ = ["Connection", "Host", "Names"]

#: Flushes without anything to do in a row: a host program that loops on them for ever takes no
#: simulated time, so no event would ever stop it.
_MOST_EMPTY_FLUSHES = 1_000_000


@dataclass(frozen=True)
class Names:
    """Which nodes there are: netqasm's ``NetworkInfo``, as far as it is asked for."""

    nodes: Sequence[str]

    def get_node_id_for_app(self, app_name: str) -> int:
        """Return the number of a node; programs are named by their nodes."""
        return self._get_node_id(app_name)

    def get_node_name_for_app(self, app_name: str) -> str:
        """Return the node of a program."""
        return app_name

    def _get_node_id(self, node_name: str) -> int:
        try:
            return self.nodes.index(node_name)
        except ValueError:
            raise SquidError(
                f"there is no node {node_name!r}: nodes are {', '.join(self.nodes)}"
            ) from None

    def _get_node_name(self, node_id: int) -> str:
        return self.nodes[int(node_id)]


class Connection(BaseNetQASMConnection):  # type: ignore[misc]
    """A program's connection to its node; what takes time is a generator.

    netqasm's own constructor is not called: it would register the program with a global list.
    """

    def __init__(self, host: "Host", app_id: int, meta: ProgramMeta) -> None:
        self._app_name = self._node_name = host.context.name
        self._app_id, self._max_qubits = app_id, meta.max_qubits
        self._logger = host.context.log
        self._host = host
        # Futures that a program returns are read after later runs have begun.
        self._app = host.context.app
        self._empty_flushes = 0
        self._builder = light_builder(self, app_id, max(1, meta.max_qubits), host.is_nv)

    @property
    def shared_memory(self) -> AppMemory:
        """Registers and arrays, as the futures of the program read them."""
        return self._app

    def compile(self) -> Subroutine | None:
        """Return the pending subroutine, compiled; None where nothing is pending."""
        proto = self._builder.subrt_pop_pending_subroutine()
        if proto is None:
            return None
        known = self._compiled(proto)
        self._builder._reset()
        # Filling in a template changes a subroutine.
        return Subroutine(list(known.instructions), list(known.arguments), app_id=self._app_id)

    def flush(self, block: bool = True, callback: Callable[..., Any] | None = None) -> Steps:
        """Run the pending subroutine; halves of pairs are there when it ends."""
        proto = self._builder.subrt_pop_pending_subroutine()
        if proto is None:
            self._empty_flushes += 1
            if self._empty_flushes > _MOST_EMPTY_FLUSHES:
                raise LimitError(
                    f"more than {_MOST_EMPTY_FLUSHES} flushes of {self._host.title} with nothing "
                    "to do: is there an endless loop?"
                )
            return
        self._empty_flushes = 0
        yield from self.commit_protosubroutine(proto, block, callback)
        # Without wait_all (netqasm 2.3 with max_qubits=1) the pair would still be on its way.
        if self._host.netstack.queue:
            yield from self._host.netstack.settled()

    def commit_protosubroutine(
        self,
        protosubroutine: ProtoSubroutine,
        block: bool = True,
        callback: Callable[..., Any] | None = None,
    ) -> Steps:
        """Compile a subroutine and run it."""
        subroutine = self._compiled(protosubroutine)
        yield from self.commit_subroutine(subroutine, block, callback)
        self._builder._reset()

    def commit_subroutine(
        self,
        subroutine: Subroutine,
        block: bool = True,
        callback: Callable[..., Any] | None = None,
    ) -> Steps:
        """Run a compiled subroutine."""
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info("running a subroutine:\n%s", subroutine)
        # What else is due now comes first: a peer may want to look before operations without
        # duration change the state.
        yield Delay(0.0)
        try:
            yield from run_subroutine(subroutine, self._host.context)
        except SquidError as error:
            if self._builder.retries:
                error.add_note(
                    "a request with min_fidelity_all_at_end frees its qubits when the last of its "
                    "max_tries was too slow"
                )
            raise

    def _compiled(self, proto: ProtoSubroutine) -> Subroutine:
        return self._host.subroutines.get(proto, self._builder.subrt_compile_subroutine)

    def _get_network_info(self) -> Names:
        return self._host.names

    def _commit_serialized_message(self, *_: Any, **__: Any) -> None:
        """Do nothing: subroutines do not travel as bytes here."""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: a flush is a generator, so the program has to ask for it."""


@dataclass(eq=False)
class Host:
    """One node with its program, and the results of its runs so far."""

    context: NodeContext
    netstack: NetStack
    names: Names
    #: Classical sockets by peer, the same in all runs: messages of one may arrive in the next.
    csockets: dict[str, ClassicalSocket]
    subroutines: CompiledSubroutines
    on_run: Callable[[], None] = lambda: None
    results: list[Any] = field(default_factory=list)
    connection: Connection | None = None
    running: Any = None

    @property
    def is_nv(self) -> bool:
        """Whether its device is an NV centre."""
        return isinstance(self.context.memory.device, Nv)

    @property
    def title(self) -> str:
        """Who this is, in messages."""
        return f"{self.context.program} on {self.context.name}"

    def runs(self, program: Any, num_times: int) -> Steps:
        """Run a program again and again; what it raises gets a note that says where."""
        for iteration in range(num_times):
            try:
                self.running = program.run(self._start(program.meta, iteration))
                # A program without a single yield is a plain function.
                made = isgenerator(self.running)
                result = (yield from self.running) if made else self.running
                if self.netstack.queue:
                    yield from self.netstack.settled()
            except GeneratorExit:
                raise
            except BaseException as error:
                place = place_of(error)
                run = f", run {iteration + 1}" if num_times > 1 else ""
                where = f"program {self.title}{run}{f', {place}' if place else ''}"
                if isinstance(error, Exception) and module_of(error).startswith("netqasm.lang."):
                    # What netqasm thinks of a subroutine is about the program, not about netqasm.
                    raise SquidError(f"{where}: {error}") from error
                error.add_note(where)
                raise
            self.results.append(result)
            self.context.memory.reset()
            self.on_run()
        self.running = None
        self.netstack.absent = f"its program ended at {self.context.clock.now_ns:g} ns"

    def _start(self, meta: ProgramMeta, app_id: int) -> ProgramContext:
        context = self.context
        context.app = AppMemory(context.clock)
        context.program = meta.name
        self.connection = Connection(self, app_id, meta)
        sockets: list[tuple[str, EPRSocket]] = []
        opened: list[tuple[int, int]] = []
        for number, peer in enumerate(meta.epr_sockets):
            socket = EPRSocket(peer, number)
            socket.conn = self.connection
            sockets.append((peer, socket))
            opened.append((number, socket.remote_node_id))
        self.netstack.open_sockets(opened)
        known = self.csockets
        return ProgramContext(
            self.connection,
            Sockets(((peer, known[peer]) for peer in meta.csockets if peer in known), self._no_cs),
            Sockets(sockets, self._no_epr),
            app_id,
        )

    def _no_cs(self, peer: str) -> str:
        name = self.context.name
        if peer not in self.names.nodes:
            return f"there is no node {peer!r}: nodes are {', '.join(self.names.nodes)}"
        if peer not in self.csockets:
            return f"{self.title}: there is no classical connection between {name} and {peer}"
        return f"{self.title} names no classical socket to {peer} in its meta (csockets)"

    def _no_epr(self, peer: str) -> str:
        return f"{self.title} names no EPR socket to {peer!r} in its meta (epr_sockets)"

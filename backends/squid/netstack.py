"""The network stack of a node: which requests for pairs meet, and when their pairs are there.

Each node does one request at a time, in the order in which its program made them, whoever the peer
is. A request to create meets one to receive when both are at the head of their queues and name each
other. It takes a classical message from the one who creates, and one back when the other is ready;
then pairs are made one after the other, each when both nodes have a position for it. Pairs are
phi_plus, as far as the link is perfect. The goodness that is written is the time, in whole
microseconds, from this agreement to the pair: the same at both ends.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backends.squid.appmemory import AppMemory
from backends.squid.bases import Wish, measurement
from backends.squid.clock import Clock, Delay, Process, Signal, Steps, Until
from backends.squid.engine import Engine
from backends.squid.errors import LimitError, SquidError
from backends.squid.links import Source
from backends.squid.memory import QuantumMemory
from backends.squid.requests import (
    ENTRIES,
    KEEP,
    MEASURE,
    PREPARE,
    Request,
    keep_result,
    measure_result,
    read,
)

__all__ = ["Fabric", "NetStack"]


@dataclass(eq=False)
class Fabric:
    """What all network stacks share. Sources and delays are by (node, peer), in both orders."""

    clock: Clock
    engine: Engine
    rng: np.random.Generator
    sources: Mapping[tuple[str, str], Source]
    delays_ns: Mapping[tuple[str, str], float]
    #: Stacks by node number; all nodes are known before the first request.
    stacks: "list[NetStack]"


class NetStack:
    """The network stack of one node."""

    def __init__(self, name: str, node_id: int, memory: QuantumMemory, fabric: Fabric) -> None:
        self.name, self.node_id, self.memory = name, node_id, memory
        self.queue: deque[Request] = deque()
        #: Why nobody will answer requests to this node; empty while its program runs.
        self.absent = "it runs no program"
        #: The request at the head is being served.
        self.serving: Process | None = None
        self._fabric = fabric
        self._sockets: set[tuple[int, int]] = set()
        self._made = 0
        self._empty: Signal = fabric.clock.signal()

    def open_sockets(self, sockets: Sequence[tuple[int, int]]) -> None:
        """Open the EPR sockets of a program: (number of the socket, number of the peer)."""
        self._sockets = set(sockets)

    def create(
        self,
        app: AppMemory,
        remote_node_id: int,
        epr_socket_id: int,
        qubit_array: int | None,
        arg_array: int,
        result_array: int,
    ) -> None:
        """Ask for pairs with another node; see :class:`backends.squid.nodecontext.NetStackApi`."""
        fields = read(app.array(arg_array))
        room = len(app.array(result_array))
        if room < fields.number * ENTRIES:
            raise SquidError(
                f"the request is for {fields.number} pairs of {ENTRIES} results, its array "
                f"@{result_array} has {room} entries"
            )
        qubits: Sequence[int] = ()
        if fields.kind == KEEP:
            qubits = _virtual_ids(app, qubit_array)
            if len(qubits) < fields.number:
                raise SquidError(
                    f"the request is for {fields.number} pairs, its array of virtual qubits has "
                    f"{len(qubits)}"
                )
        self._put(
            Request(
                self,
                self._peer(remote_node_id, epr_socket_id),
                app,
                epr_socket_id,
                True,
                fields.kind,
                fields.number,
                result_array,
                qubits[: fields.number],
                fields.local,
                fields.remote,
                fields.limit_ns,
            )
        )

    def receive(
        self,
        app: AppMemory,
        remote_node_id: int,
        epr_socket_id: int,
        qubit_array: int | None,
        result_array: int,
    ) -> None:
        """Welcome pairs; see :class:`backends.squid.nodecontext.NetStackApi`."""
        number = len(app.array(result_array)) // ENTRIES
        qubits = _virtual_ids(app, qubit_array)
        # netqasm leaves the register unset where nothing is kept; a stale value names any array.
        keeps = len(qubits) == number
        self._put(
            Request(
                self,
                self._peer(remote_node_id, epr_socket_id),
                app,
                epr_socket_id,
                False,
                KEEP if keeps else MEASURE,
                number,
                result_array,
                qubits if keeps else (),
            )
        )

    def settled(self) -> Steps:
        """Wait until all requests of the node are answered."""
        while self.queue:
            yield Until(self._empty, f"pairs: {self.queue[0]}")

    def unanswered(self) -> str | None:
        """Say which request nobody answers, if one is stuck."""
        if not self.queue:
            return None
        mine, peer = self.queue[0], self.queue[0].peer
        if self.serving is not None:
            return f"{mine}: waiting for {self.serving.waiting_for}"
        theirs = peer.absent or (str(peer.queue[0]) if peer.queue else "no request at its end")
        return f"{mine}; {peer.name}: {theirs}"

    def _peer(self, remote_node_id: int, socket: int) -> "NetStack":
        stacks = self._fabric.stacks
        if not 0 <= remote_node_id < len(stacks) or remote_node_id == self.node_id:
            raise SquidError(
                f"node {remote_node_id} is no peer of {self.name}: "
                + ", ".join(f"{s.node_id} is {s.name}" for s in stacks if s is not self)
            )
        peer = stacks[remote_node_id]
        if (socket, remote_node_id) not in self._sockets:
            known = ", ".join(f"{s} to {stacks[p].name}" for s, p in sorted(self._sockets))
            raise SquidError(
                f"EPR socket {socket} from {self.name} to {peer.name} is not open; "
                f"open are: {known or 'none'}"
            )
        ends = (self.name, peer.name)
        if ends not in self._fabric.sources:
            raise SquidError(f"there is no quantum link between {self.name} and {peer.name}")
        if ends not in self._fabric.delays_ns:
            raise SquidError(
                f"there is no classical connection between {self.name} and {peer.name}, "
                "which they need to agree on pairs"
            )
        return peer

    def _put(self, request: Request) -> None:
        peer = request.peer
        if peer.absent:
            raise SquidError(f"{request}, but nobody answers at {peer.name}: {peer.absent}")
        self._made += 1
        request.ident = self._made
        why = f"half of a pair with {peer.name}, socket {request.socket}"
        for virtual_id in request.qubits:
            request.app.mark_pending(virtual_id, why)
        request.app.awaited[request.results] = f"pairs with {peer.name}, socket {request.socket}"
        self.queue.append(request)
        if len(self.queue) == 1:
            request.since_ns = self._fabric.clock.now_ns
            self._meet()

    def _meet(self) -> None:
        """Serve the request at the head, if the peer is at the same point."""
        if self.serving is not None or not self.queue:
            return
        mine = self.queue[0]
        peer = mine.peer
        if not peer.queue or peer.queue[0].peer is not self:
            return
        theirs = peer.queue[0]
        creator, receiver = (mine, theirs) if mine.creates else (theirs, mine)
        _check(creator, receiver)
        self.serving = peer.serving = self._fabric.clock.start(
            f"pairs of {creator.node.name} and {receiver.node.name}",
            self._serve(creator, receiver),
            must_end=False,
        )

    def _serve(self, creator: Request, receiver: Request) -> Steps:
        fabric, clock = self._fabric, self._fabric.clock
        ends = (creator.node.name, receiver.node.name)
        delay = fabric.delays_ns[ends]
        start = max(creator.since_ns + delay, receiver.since_ns) + delay
        if start > clock.now_ns:
            yield Delay(start - clock.now_ns)
        source = fabric.sources[ends]
        for index in range(creator.number):
            here = yield from _position(creator, index)
            there = yield from _position(receiver, index)
            wait = source.time_ns(fabric.rng)
            if creator.limit_ns and wait > creator.limit_ns:
                yield Delay(creator.limit_ns)
                raise LimitError(
                    f"{creator}: pair {index + 1} did not come within its max_time of "
                    f"{creator.limit_ns:g} ns"
                )
            if wait > 0.0:
                yield Delay(wait)
            duration_us = int((clock.now_ns - start) / 1000.0)
            halves = fabric.engine.pair(source.state)
            measured = creator.kind != KEEP, creator.kind == MEASURE
            self._deliver(creator, index, here, halves[0], duration_us, measured[0], creator.local)
            self._deliver(
                receiver, index, there, halves[1], duration_us, measured[1], creator.remote
            )
        self._done(creator.node, receiver.node)

    def _deliver(
        self,
        request: Request,
        index: int,
        position: int,
        qubit: int,
        duration_us: int,
        measured: bool,
        wish: Wish,
    ) -> None:
        """Give one end its half of a pair, or what was measured there."""
        memory, app = request.node.memory, request.app
        if not measured:
            virtual_id = request.qubits[index]
            memory.put(position, qubit)
            entries = keep_result(
                request, index, virtual_id, duration_us, int(self._fabric.clock.now_ns / 1000.0)
            )
            app.write_slice(request.results, index * ENTRIES, entries)
            app.map(virtual_id, position)
            return
        how = measurement(wish, self._fabric.rng)
        outcome = self._fabric.engine.measure(qubit, self._fabric.rng.random(), how.kraus)
        self._fabric.engine.discard(qubit)
        memory.free(position)
        entries = measure_result(request, index, outcome, how.basis, duration_us)
        app.write_slice(request.results, index * ENTRIES, entries)

    def _done(self, *stacks: "NetStack") -> None:
        for stack in stacks:
            stack.queue.popleft()
            stack.serving = None
            if stack.queue:
                stack.queue[0].since_ns = self._fabric.clock.now_ns
            else:
                stack._empty.give()
        for stack in stacks:
            stack._meet()


def _virtual_ids(app: AppMemory, address: int | None) -> list[int]:
    """Return the virtual qubits of a request, none where the array is not one of them."""
    if address is None or address not in app.arrays:
        return []
    entries = app.arrays[address]
    return [] if None in entries else [int(entry) for entry in entries if entry is not None]


def _position(request: Request, index: int) -> Steps:
    """Take a position for a half; wait until there is one, and its virtual qubit is free."""
    if request.qubits:
        virtual_id = request.qubits[index]
        while virtual_id in request.app.positions:
            yield Until(
                request.app.changed, f"virtual qubit {virtual_id} of {request.node.name} to be free"
            )
    memory = request.node.memory
    while (position := memory.allocate(network=True)) is None:
        yield Until(
            memory.changed, f"a free position of {request.node.name} that talks to the network"
        )
    return position


def _check(creator: Request, receiver: Request) -> None:
    """Refuse requests that can never be answered by each other."""
    both = f"{creator}, {receiver}"
    if creator.creates == receiver.creates:
        verb, other = ("create", "receive") if creator.creates else ("receive", "create")
        raise SquidError(f"both nodes {verb}, one must {other}: {both}")
    if creator.number != receiver.number:
        raise SquidError(f"different numbers of pairs: {both}")
    keeps = creator.kind in (KEEP, PREPARE)
    if keeps != (receiver.kind == KEEP):
        raise SquidError(f"one end keeps its qubits, the other measures directly: {both}")

"""The broker's socket loop: agents on one ROUTER, workers on another, telemetry on a PUB.

Everything that can go wrong in an allocation is in :mod:`controller.dispatch`; here are frames,
sessions and time.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from controller.auth import AllowList, Keys, guard
from controller.dispatch import Dispatch
from controller.handed import Handed
from quantum.egp import (
    VERSION,
    Bye,
    Done,
    Failed,
    Hello,
    Job,
    Message,
    Refuse,
    Speak,
    Telemetry,
    Welcome,
)
from quantum.errors import Code, DpemError, InputError, WireError
from quantum.ledger.state import SHARED
from quantum.wire import MAX_BYTES, decode, encode

__all__ = ["Broker", "Endpoints"]

Socket = zmq.Socket[bytes]

#: Slots between two telemetry messages.
TELEMETRY_SLOTS = 5
#: An idle poll; between two of them the processes are looked after.
POLL_MS = 200
#: Silence after which a run is given up; compiling kernels takes a process a minute at most.
SILENCE_S = 300.0
#: How long a laboratory may take over a job: longer than its worker waits for the supervisor.
ANSWER_S = 90.0


@dataclass(frozen=True)
class Endpoints:
    """Where the broker listens: TCP addresses of agents, workers and telemetry."""

    agents: str
    workers: str
    telemetry: str


@dataclass
class _Sessions:
    """Who is connected."""

    agents: dict[int, bytes] = field(default_factory=dict)
    group_of: dict[bytes, int] = field(default_factory=dict)
    workers: dict[bytes, int] = field(default_factory=dict)
    """Worker identity -> jobs it is working on."""


class Broker:
    """Owns the sockets of a run.

    ``check`` is called before every wait and may raise to end the run; ``alive`` is called when
    nobody speaks and raises when a process has died. Where pairs are only measured, a job that has
    no answer after ``answer_s`` is given up with EXPIRE.
    """

    def __init__(
        self,
        keys: Keys,
        allowed: set[str],
        *,
        host: str = "127.0.0.1",
        alive: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._context = zmq.Context()
        self._allow = AllowList(self._context, allowed)
        self._alive, self._check = alive, check
        self._heard_s = time.monotonic()
        self._sessions = _Sessions()
        self._keys = keys
        self._queue: deque[Job] = deque()
        self._jobs = Handed(answer_s)
        try:
            self._agents, agents = self._bind(zmq.ROUTER, host)
            self._workers, workers = self._bind(zmq.ROUTER, host)
            self._publisher, telemetry = self._bind(zmq.PUB, host)
        except InputError:
            self._allow.close()
            self._context.destroy(linger=0)
            raise
        self.endpoints = Endpoints(agents, workers, telemetry)
        self._poller = zmq.Poller()
        self._poller.register(self._agents, zmq.POLLIN)
        self._poller.register(self._workers, zmq.POLLIN)

    def _bind(self, kind: int, host: str) -> tuple[Socket, str]:
        socket: Socket = self._context.socket(kind)
        socket.linger, socket.maxmsgsize = 500, MAX_BYTES
        guard(socket, self._keys)
        if kind == zmq.ROUTER:
            socket.router_mandatory = True
        try:
            port = socket.bind_to_random_port(f"tcp://{host}")
        except zmq.ZMQError as wrong:
            raise InputError(f"cannot listen on {host}: {wrong.strerror}") from wrong
        return socket, f"tcp://{host}:{port}"

    def gather(self, dispatch: Dispatch, workers: int, *, timeout_s: float = 120.0) -> None:
        """Wait until every group of nodes has its agent and all workers are there."""
        deadline = time.monotonic() + timeout_s
        groups = len(dispatch.rules.groups)
        while len(self._sessions.agents) < groups or len(self._sessions.workers) < workers:
            if time.monotonic() > deadline:
                agents, others = len(self._sessions.agents), len(self._sessions.workers)
                raise DpemError(
                    f"only {agents} of {groups} agent processes and {others} of {workers} workers "
                    f"came within {timeout_s:g} s"
                )
            self._step(dispatch)

    def play(
        self,
        dispatch: Dispatch,
        *,
        progress: Callable[[Telemetry], None] = lambda _: None,
        slot_s: float | None = None,
    ) -> None:
        """Play all slots; with ``slot_s`` they follow the wall clock (hardware runs)."""
        began = time.monotonic()
        first = dispatch.slot
        while not dispatch.finished:
            if slot_s is not None:
                self._pace(dispatch, began + (dispatch.slot - first) * slot_s)
            while dispatch.waiting():
                self._step(dispatch)
            for group, look in enumerate(dispatch.open()):
                self._send(self._agents, self._sessions.agents[group], look)
            while not dispatch.all_spoken:
                self._step(dispatch)
            job = dispatch.close()
            if job is not None:
                self._queue.append(job)
                self._hand_out()
            if dispatch.slot % TELEMETRY_SLOTS == 0:
                self._publish(dispatch, progress)
        while dispatch.waiting(all_jobs=True):
            self._step(dispatch)
        dispatch.results.count(dispatch.slot)
        self._publish(dispatch, progress)

    def _pace(self, dispatch: Dispatch, due: float) -> None:
        while (early := due - time.monotonic()) > 0.0:
            if self._poller.poll(max(1, int(early * 1e3))):
                self._step(dispatch)

    def _step(self, dispatch: Dispatch) -> None:
        """Handle what has arrived, or look after the processes when nothing does."""
        self._check()
        if dispatch.rules.measured:
            self._give_up(dispatch)
        ready = dict(self._poller.poll(POLL_MS))
        if ready:
            self._heard_s = time.monotonic()
        else:
            self._alive()
            if time.monotonic() - self._heard_s > SILENCE_S:
                raise DpemError(f"no agent and no worker has spoken for {SILENCE_S:g} s")
        for socket, handle in (
            (self._agents, self._from_agent),
            (self._workers, self._from_worker),
        ):
            if socket in ready:
                identity, *frames = socket.recv_multipart()
                try:
                    if len(frames) != 1:
                        raise WireError(f"a message has one frame, got {len(frames)}")
                    handle(dispatch, identity, decode(frames[0]))
                except WireError as wrong:
                    self._send(socket, identity, Refuse(Code.CREATE, str(wrong)))

    def _from_agent(self, dispatch: Dispatch, identity: bytes, message: Message) -> None:
        sessions = self._sessions
        match message:
            case Hello(v, "agent", _, nodes):
                self._greet(self._agents, identity, v)
                groups = dispatch.rules.groups
                if nodes not in groups:
                    raise WireError("these nodes are not one of the run's groups")
                group = groups.index(nodes)
                if sessions.agents.get(group, identity) != identity:
                    raise WireError(f"group {group} already has an agent")
                sessions.agents[group] = identity
                sessions.group_of[identity] = group
                self._send(self._agents, identity, Welcome(VERSION, group))
            case Speak():
                if identity not in sessions.group_of:
                    raise WireError("say hello first")
                dispatch.hear(sessions.group_of[identity], message)
            case _:
                raise WireError(f"agents do not send {type(message).__name__}")

    def _from_worker(self, dispatch: Dispatch, identity: bytes, message: Message) -> None:
        workers = self._sessions.workers
        match message:
            case Hello(v, "worker", _):
                self._greet(self._workers, identity, v)
                if not message.keeps and not dispatch.rules.measured:
                    raise WireError("this network holds pairs, the worker's backend cannot")
                workers.setdefault(identity, 0)
                self._send(self._workers, identity, Welcome(VERSION, 0))
            case Done() | Failed():
                if not self._jobs.expects(message, identity):
                    return
                dispatch.settle(message)
                self._jobs.end(message.job)
                workers[identity] -= 1
            case _:
                raise WireError(f"workers do not send {type(message).__name__}")
        self._hand_out()

    def _give_up(self, dispatch: Dispatch) -> None:
        """Answer for workers that are silent about a job; a simulator may take its time."""
        for identity, failed in self._jobs.late(time.monotonic()):
            dispatch.settle(failed)
            self._sessions.workers[identity] -= 1
        self._hand_out()

    def _greet(self, socket: Socket, identity: bytes, version: int) -> None:
        if version != VERSION:
            raise WireError(f"version {version} is not spoken here; this is version {VERSION}")

    def _hand_out(self) -> None:
        """Give jobs to the workers that have the fewest."""
        workers = self._sessions.workers
        while self._queue and workers:
            identity = min(workers, key=lambda w: (workers[w], w))
            if workers[identity] >= 4:
                return
            job = self._queue.popleft()
            self._jobs.give(job.job, identity, time.monotonic())
            workers[identity] += 1
            self._send(self._workers, identity, job)

    def _publish(self, dispatch: Dispatch, progress: Callable[[Telemetry], None]) -> None:
        telemetry = telemetry_of(dispatch)
        self._publisher.send(encode(telemetry))
        progress(telemetry)

    def _send(self, socket: Socket, identity: bytes, message: Message) -> None:
        try:
            # A peer that does not read must not keep the others waiting.
            socket.send_multipart([identity, encode(message)], zmq.DONTWAIT)
        except zmq.ZMQError as wrong:
            if wrong.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise

    def close(self, *, interrupted: bool = False) -> None:
        """Say goodbye to everyone and close the sockets; safe to call twice."""
        if self._context.closed:
            return
        for identity in self._sessions.group_of:
            self._send(self._agents, identity, Bye(interrupted))
        for identity in self._sessions.workers:
            self._send(self._workers, identity, Bye(interrupted))
        self._allow.close()
        self._context.destroy(linger=500)


def _contention(dispatch: Dispatch) -> float:
    """Return the contention so far, 0 before counting begins."""
    world = dispatch.rules.world
    counted = min(world.slots, dispatch.slot - world.warmup) * (world.m + world.n)
    return float(dispatch.ledger.totals[SHARED]) / counted if counted > 0 else 0.0


def telemetry_of(dispatch: Dispatch) -> Telemetry:
    """Sum up a run so far."""
    ledger, world = dispatch.ledger, dispatch.rules.world
    arrived = int(ledger.now[0].next_arrival)
    asked = world.request.pairs[:arrived]
    return Telemetry(
        slot=dispatch.slot,
        horizon=world.horizon,
        requested=int(asked.sum()),
        delivered=int(ledger.request.good[:arrived].sum()),
        executed=dispatch.results.executed,
        tested=dispatch.results.tested,
        stored=int(ledger.link.stock.sum()),
        rounds=dispatch.rounds.done,
        reward=dispatch.results.reward,
        fidelity=dispatch.results.pools.recent(),
        slot_s=world.slot_s,
        contention=_contention(dispatch),
    )

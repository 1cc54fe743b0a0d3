"""The broker's socket loop: agents on one ROUTER, workers on another, telemetry on a PUB.

Everything that can go wrong in an allocation is in :mod:`controller.dispatch`; here are frames,
sessions and time.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import zmq

from controller.dispatch import Dispatch
from controller.handed import Handed
from controller.reception import Reception
from controller.security import Gate, KeyFolder, KeyPair, Keyring, bound
from controller.security.greeting import check_hello, check_same, group_of
from controller.security.limits import AGENT, REQUEST, WORKER
from controller.sessions import Peer
from controller.telemetry import telemetry_of
from quantum.egp import (
    BRIEF,
    Brief,
    Bye,
    Done,
    Failed,
    Hello,
    Job,
    Message,
    Speak,
    Telemetry,
)
from quantum.errors import DpemError, InputError, RequestError, WireError
from quantum.logs import logs, note
from quantum.roles import allows
from quantum.wire import encode

__all__ = ["Broker", "Endpoints"]


#: Slots between two telemetry messages.
TELEMETRY_SLOTS = 5
#: An idle poll; between two of them the processes are looked after.
POLL_MS = 200
#: Silence after which a run is given up; compiling kernels takes a process a minute at most.
SILENCE_S = 300.0
#: How long a laboratory may take over a job: longer than its worker waits for the supervisor.
ANSWER_S = 90.0
#: So long everyone is told that a run is over.
_GOODBYE_S = 2.0


@dataclass(frozen=True)
class Endpoints:
    """Where the broker listens: TCP addresses of agents, workers and telemetry."""

    agents: str
    workers: str
    telemetry: str


class Broker:
    """Owns the sockets of a run.

    It listens at ``listen``, else at free ports of this machine. ``ring`` tells who may come;
    agents and workers in those roles, and whoever may observe hears telemetry. ``check`` is called
    before every wait and may raise to end the run; ``alive`` is called when nobody speaks and
    raises when a process has died. Where pairs are only measured, a job that has no answer after
    ``answer_s`` is given up with EXPIRE. Workers that say that they execute on another backend than
    ``backend`` are refused, where one is given.
    """

    def __init__(
        self,
        keys: KeyPair,
        ring: Keyring | KeyFolder,
        *,
        host: str = "127.0.0.1",
        listen: Endpoints | None = None,
        backend: str = "",
        alive: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._context = zmq.Context()
        self._alive, self._check = alive, check
        self._heard_s = time.monotonic()
        self._groups: dict[int, Peer] = {}
        self._queue: deque[Job] = deque()
        self._jobs = Handed(answer_s)
        self._backend = backend
        self.briefs: tuple[Brief, ...] = ()
        """What agents are told that were started by themselves, by group."""
        self._gate = Gate(self._context, ring)
        address = f"tcp://{host}:0"
        places = listen or Endpoints(address, address, address)
        try:
            router, agents = bound(
                self._context, zmq.ROUTER, places.agents, keys, self._gate, AGENT
            )
            self._agents = Reception(router, self._gate, "agent", AGENT)
            router, workers = bound(
                self._context, zmq.ROUTER, places.workers, keys, self._gate, WORKER
            )
            self._workers = Reception(router, self._gate, "worker", WORKER)
            self._publisher, telemetry = bound(
                self._context, zmq.XPUB, places.telemetry, keys, self._gate, REQUEST
            )
        except InputError:
            self._gate.close()
            self._context.destroy(linger=0)
            raise
        # Subscriptions come here, so that whoever may not observe hears nothing.
        self._publisher.setsockopt(zmq.XPUB_MANUAL, 1)
        self.endpoints = Endpoints(agents, workers, telemetry)
        self._poller = zmq.Poller()
        for socket in (self._agents.socket, self._workers.socket, self._publisher):
            self._poller.register(socket, zmq.POLLIN)

    def gather(self, dispatch: Dispatch, workers: int, *, timeout_s: float = 120.0) -> None:
        """Wait until every group of nodes has its agent and all workers are there."""
        deadline = time.monotonic() + timeout_s
        groups = len(dispatch.rules.groups)
        while len(self._groups) < groups or len(self._workers.room.seated()) < workers:
            if time.monotonic() > deadline:
                agents, others = len(self._groups), len(self._workers.room.seated())
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
            # Silence is theirs: our own work, and the waiting for a slot, are none.
            self._heard_s = time.monotonic()
            while dispatch.waiting():
                self._step(dispatch)
            for group, look in enumerate(dispatch.open()):
                self._groups[group].show(look)
                self._agents.send(self._groups[group].identity, look)
            self._heard_s = time.monotonic()
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
        if not ready:
            self._alive()
        if self._publisher in ready:
            self._admit_observer()
        if self._agents.socket in ready:
            self._agents.hear(partial(self._from_agent, dispatch))
        if self._workers.socket in ready:
            self._workers.hear(partial(self._from_worker, dispatch))
        for line in self._gate.news():
            if logs():
                note("notice", level="warning", detail=line)
            else:
                sys.stderr.write(f"dpem broker: {line}\n")
        # What is of no use to the run does not keep it waiting, however often it comes.
        if time.monotonic() - self._heard_s > SILENCE_S:
            raise DpemError(f"no agent and no worker has spoken for {SILENCE_S:g} s")

    def _admit_observer(self) -> None:
        """Let whoever may observe have what he subscribed to."""
        frame = self._publisher.recv(copy=False)
        with contextlib.suppress(RequestError):
            if allows(self._gate.who(frame).role, "observe"):
                kind, topic = frame.bytes[:1], frame.bytes[1:]
                option = zmq.SUBSCRIBE if kind == b"\x01" else zmq.UNSUBSCRIBE
                self._publisher.setsockopt(option, topic)

    def _from_agent(
        self, dispatch: Dispatch, identity: bytes, peer: Peer, message: Message
    ) -> None:
        match message:
            case Hello():
                check_hello(message, peer.client, "agent")
                brief, groups = None, dispatch.rules.groups
                if BRIEF in message.features:
                    brief = self.briefs[group_of(message, groups, briefed=bool(self.briefs))]
                if self._agents.only_asks(identity, message, brief):
                    return
                group = group_of(message, groups, briefed=bool(self.briefs))
                if self._groups.get(group, peer) is not peer:
                    raise WireError(f"group {group} already has an agent")
                if peer.group not in (-1, group):
                    raise WireError(f"this agent has group {peer.group}")
                self._groups[group] = peer
                peer.group = group
                self._seat(self._agents, identity, peer, message)
            case Speak():
                if not peer.seated:
                    raise WireError("say hello first")
                if not peer.is_shown(message.slot) and peer.repeats(message.slot):
                    return
                dispatch.hear(peer.group, message)
                self._heard_s = time.monotonic()
                peer.look = None
            case _:
                raise WireError(f"agents do not send {type(message).__name__}")

    def _from_worker(
        self, dispatch: Dispatch, identity: bytes, peer: Peer, message: Message
    ) -> None:
        match message:
            case Hello():
                check_hello(message, peer.client, "worker")
                if self._backend:
                    check_same(message, peer.client, self._backend)
                if self._workers.only_asks(identity, message):
                    return
                if not message.keeps and not dispatch.rules.measured:
                    raise WireError("this network holds pairs, the worker's backend cannot")
                self._seat(self._workers, identity, peer, message)
            case Done() | Failed():
                if message.job not in peer.jobs and peer.repeats(message.job):
                    return
                if not self._jobs.expects(message, peer.client.public.encode()):
                    return
                dispatch.settle(message)
                self._heard_s = time.monotonic()
                self._jobs.end(message.job)
                del peer.jobs[message.job]
            case _:
                raise WireError(f"workers do not send {type(message).__name__}")
        self._hand_out()

    def _seat(self, at: Reception, identity: bytes, peer: Peer, hello: Hello) -> None:
        fresh = not peer.seated
        if at.seat(identity, peer, hello) and fresh:
            self._heard_s = time.monotonic()

    def _give_up(self, dispatch: Dispatch) -> None:
        """Answer for workers that are silent about a job; a simulator may take its time."""
        for public, failed in self._jobs.late(time.monotonic()):
            note("job given up", level="warning", job=failed.job)
            dispatch.settle(failed)
            del self._workers.room.of_key(public).jobs[failed.job]
        self._hand_out()

    def _hand_out(self) -> None:
        """Give jobs to the workers that have the fewest."""
        workers = self._workers.room.seated()
        while self._queue and workers:
            peer = min(workers, key=lambda w: (len(w.jobs), w.client.public))
            if len(peer.jobs) >= 4:
                return
            job = self._queue.popleft()
            self._jobs.give(job.job, peer.client.public.encode(), time.monotonic())
            self._workers.send(peer.identity, peer.give(job))

    def _publish(self, dispatch: Dispatch, progress: Callable[[Telemetry], None]) -> None:
        telemetry = telemetry_of(dispatch)
        self._publisher.send(encode(telemetry))
        progress(telemetry)

    def close(self, *, interrupted: bool = False) -> None:
        """Say goodbye to everyone and close the sockets; safe to call twice."""
        if self._context.closed:
            return
        try:
            self._say_goodbye(Bye(interrupted))
        finally:
            self._gate.close()
            self._context.destroy(linger=500)

    def _say_goodbye(self, word: Bye) -> None:
        """Tell everyone until they have hung up, but for two seconds only.

        Who closes a connection on which something waits to be read takes back what he said last.
        """
        rooms = (self._agents, self._workers)
        there = {(at, peer.identity) for at in rooms for peer in at.room.seated()}
        until_s = time.monotonic() + _GOODBYE_S
        while there and time.monotonic() < until_s:
            there = {(at, who) for at, who in there if at.send(who, word)}
            for at in rooms:
                while at.socket.poll(0) and time.monotonic() < until_s:
                    # Whoever still says something, or comes back now, is told too.
                    there.add((at, at.socket.recv_multipart()[0]))
            time.sleep(0.02)

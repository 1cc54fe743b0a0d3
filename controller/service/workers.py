"""The workers of a service: a second ROUTER, for keys of role worker. What they do: ``work``.

A worker whose answer did not come in time, or who cannot be reached, is given nothing more until
he speaks: what he had may have been done, so it expires and is given to nobody else.
"""

from collections import deque

import zmq

from controller.handed import Handed
from controller.reception import Reception
from controller.security import Gate, KeyPair, bound
from controller.security.greeting import check_hello, check_same
from controller.security.limits import WORKER
from controller.sessions import Peer
from quantum.egp import BOOT, Done, Failed, Hello, Job, Message
from quantum.errors import Code, WireError
from quantum.logs import note

__all__ = ["Workers"]


#: Messages that are taken before applications are looked after again.
_TURN = 64


class Workers:
    """Hands out jobs and hears what came of them; those up to ``before`` are of earlier services.

    ``backend`` is what every worker has to execute on.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        gate: Gate,
        address: str,
        keys: KeyPair,
        *,
        backend: str,
        patience_s: float,
        before: int = 0,
    ) -> None:
        socket, self.address = bound(context, zmq.ROUTER, address, keys, gate, WORKER)
        self.socket = socket
        self._reception = Reception(socket, gate, "worker", WORKER)
        self._jobs = Handed(patience_s)
        self._backend, self._before = backend, before
        self._doubted: set[str] = set()
        """Keys of those who are given nothing for now."""
        self._boots: dict[str, str] = {}
        """Key -> which process spoke with it last."""
        self._answers: list[Done | Failed] = []

    def hear(self, now_s: float) -> list[Done | Failed]:
        """Take what workers have said, and give up what is overdue; returns answers that count."""
        for _ in range(_TURN):
            if not self.socket.poll(0):
                break
            self._reception.hear(self._handle)
        for public, failed in self._jobs.late(now_s):
            note("job given up", level="warning", job=failed.job)
            peer = self._reception.room.of_key(public)
            del peer.jobs[failed.job]
            self._doubted.add(peer.client.public)
            self._answers.append(failed)
        out, self._answers = self._answers, []
        return out

    def _handle(self, identity: bytes, peer: Peer, message: Message) -> None:
        match message:
            case Hello():
                check_hello(message, peer.client, "worker")
                check_same(message, peer.client, self._backend)
                if not message.keeps:
                    raise WireError("this network holds pairs, the worker's backend cannot")
                if self._reception.only_asks(identity, message):
                    return
                self._miss(peer, message)
                if self._reception.seat(identity, peer, message):
                    self._doubted.discard(peer.client.public)
            case Done() | Failed():
                if message.job <= self._before:
                    return  # its pairs expired when this service started
                if message.job not in peer.jobs and peer.repeats(message.job):
                    return
                counts = self._jobs.expects(message, peer.client.public.encode())
                self._doubted.discard(peer.client.public)
                if counts:
                    self._jobs.end(message.job)
                    del peer.jobs[message.job]
                    self._answers.append(message)
            case _:
                raise WireError(f"workers do not send {type(message).__name__}")

    def _miss(self, peer: Peer, hello: Hello) -> None:
        """Give up the jobs of a worker that was started anew: it may have done them before."""
        boot = next((f for f in hello.features if f.startswith(f"{BOOT}:")), "")
        known = self._boots.setdefault(peer.client.public, boot)
        if boot == known:
            return
        self._boots[peer.client.public] = boot
        why = "its worker was started anew and may have executed it before"
        for job in list(peer.jobs):
            self._jobs.end(job)
            del peer.jobs[job]
            self._answers.append(Failed(job, Code.EXPIRE, why))

    def _there(self) -> list[Peer]:
        """Return the workers that may be given something, by how little they have to do."""
        admitted = self._reception.gate.ring.clients
        return [
            peer
            for peer in self._reception.room.seated()
            if peer.client.public not in self._doubted and peer.client.public in admitted
        ]

    @property
    def count(self) -> int:
        """How many workers are there."""
        return len(self._there())

    @property
    def room(self) -> int:
        """How many jobs they would take."""
        return sum(max(0, WORKER.credits - len(peer.jobs)) for peer in self._there())

    def give(self, jobs: deque[Job], now_s: float) -> None:
        """Give jobs to the workers that have the fewest."""
        while jobs:
            there = self._there() or self._reception.room.seated()
            peer = min(there, key=lambda w: (len(w.jobs), w.client.public))
            job = jobs.popleft()
            self._jobs.give(job.job, peer.client.public.encode(), now_s)
            if not self._reception.send(peer.identity, peer.give(job)):
                # He may come back for it; until then he is given nothing else.
                self._doubted.add(peer.client.public)

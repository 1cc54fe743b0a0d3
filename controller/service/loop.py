"""The service's socket loop: one ROUTER, frames in and out, time. What they mean: ``desk``.

What has come is taken off the socket without waiting, up to a batch, and handled together. So the
batch adapts itself: one request that comes alone goes straight through, and under load the costs of
the allocator's call and of the journal are shared.
"""

import time
from collections.abc import Callable
from functools import partial

import zmq
import zmq.backend

from controller.security.gate import Gate
from controller.security.keyring import KeyFolder, Keyring
from controller.security.keys import KeyPair
from controller.security.limits import Limits
from controller.security.sockets import bound
from controller.service.desk import Desk, Reply
from controller.service.metrics import Metrics
from controller.service.workers import Workers
from quantum.errors import RequestError, WireError
from quantum.logs import logs, note
from quantum.requests import MAX_ASK_BYTES, Closed, Open, decode_ask, encode_request

__all__ = ["Loop"]

# Plain numbers: looking a name up and joining flags costs as much as sending a frame.
_MORE, _EVENTS = int(zmq.RCVMORE), int(zmq.EVENTS)
_HAS, _NOW, _FIRST_NOW = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.SNDMORE | zmq.NOBLOCK)

#: Frames that are handled together at most.
BATCH = 256
#: Frames in each direction that wait for one connection.
QUEUE = 256
#: A frame tells whose it is only when it is received with care, which takes longer. That is done
#: from the moment somebody wants to open a session until nobody has for so long.
_CARE_S = 1.0
#: The loop looks up so often when nothing comes, and lets time go on so often when frames do.
_LOOK_MS, _LOOK_S = 50, 0.05
#: While frames come, everything else is looked after so often.
_CHORES_S = 0.02
#: The log is told so often what was done.
_SUM_S = 60.0


class Loop:
    """Owns the socket of a service; :meth:`run` until somebody wants it to end."""

    def __init__(
        self,
        desk: Desk,
        address: str,
        keys: KeyPair,
        admitted: Keyring | KeyFolder,
        *,
        clock: Callable[[], float] = time.monotonic,
        workers_at: str = "",
        backend: str = "",
    ) -> None:
        self.desk, self._clock = desk, clock
        self.workers: Workers | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._gate = Gate(self._context, admitted)
        terms = desk.terms
        limits = Limits(MAX_ASK_BYTES, QUEUE, terms.rate_hz, float(terms.burst), terms.credits)
        try:
            self._socket, self.address = bound(
                self._context, zmq.ROUTER, address, keys, self._gate, limits
            )
            if desk.work is not None:
                self.workers = Workers(
                    self._context,
                    self._gate,
                    workers_at,
                    keys,
                    backend=backend,
                    patience_s=desk.work.terms.patience_s,
                    before=desk.work.job,
                )
                self._poller = zmq.Poller()
                for socket in (self._socket, self.workers.socket):
                    self._poller.register(socket, zmq.POLLIN)
        except BaseException:
            self._gate.close()
            self._context.destroy(linger=0)
            raise
        # Without what pyzmq does for other kinds of sockets, which takes longer than sending.
        self._put = partial(zmq.backend.Socket.send, self._socket)
        self._socket.rcvtimeo = _LOOK_MS
        self._timeout_ms = _LOOK_MS
        self._care_until_s = self._looked_s = 0.0
        self._busy = False

    def run(
        self,
        over: Callable[[], bool],
        *,
        tell: Callable[[str], None] = lambda _: None,
        drain_s: float = 5.0,
        metrics: Metrics | None = None,
    ) -> None:
        """Serve until ``over()``; then answer those who wait, for ``drain_s`` at most.

        ``tell`` is given lines that people should read: keys that are gone, a journal that is full.
        """
        told, until_s = "", 0.0
        self.desk.tells = logs("debug")
        summed_s = self._clock()
        look_s = summed_s
        while True:
            now_s = self._step()
            if self._busy and now_s < look_s:
                continue
            look_s = now_s + _CHORES_S
            for line in self._gate.news():
                tell(line)
            trouble = self.desk.keeping.broken or self.desk.keeping.trouble
            if trouble != told:
                tell(f"journal: {trouble}" if trouble else "journal: written again")
                told = trouble
            if metrics is not None and metrics.due():
                ready = not self.desk.draining and not self.desk.keeping.broken
                work = self.desk.work
                metrics.show(
                    self.desk.counts(),
                    ready=ready and (work is None or not work.why_not()),
                    work=None if work is None else work.counts(),
                    measured=self.desk.stock.told(),
                )
            if not self.desk.draining and over():
                self.desk.draining, until_s = True, now_s + drain_s
                note("draining", waiting=self.desk.waiting, drain_s=drain_s)
            if now_s - summed_s >= _SUM_S:
                summed_s = now_s
                note("counts", **self.desk.counts()._asdict())
            if self.desk.draining and (now_s >= until_s or not self._unfinished()):
                return

    def _unfinished(self) -> bool:
        """Tell whether somebody waits for an answer, or has pairs that workers are busy with."""
        work = self.desk.work
        return self.desk.waiting > 0 or (work is not None and work.unfinished)

    def _step(self) -> float:
        """Handle what has come, or wait a little; let time go on. Returns the time."""
        desk, now_s = self.desk, self._clock()
        wait_ms = 0
        if not desk.behind(now_s):
            wait_ms = min(_LOOK_MS, 1 + int(desk.pace.next_slot_s(now_s) * 1e3))
        if self.workers is not None:
            # Whoever speaks first is heard; then nobody is waited for.
            self._poller.poll(wait_ms)
            wait_ms = 0
            self._meet_workers(self.workers, self._clock())
        careful = now_s < self._care_until_s
        messages, opens = self._carefully(wait_ms) if careful else self._quickly(wait_ms)
        now_s = self._clock()
        self._busy = bool(messages)
        if messages:
            desk.sessions.ring = self._gate.ring
            replies = desk.hear(messages, now_s)
            if desk.strangers:
                desk.strangers = False
                self._care_until_s = now_s + _CARE_S
            self._send(replies)
        if opens:
            self._care_until_s = now_s + _CARE_S
            self._send(opens)
        if desk.behind(now_s) or now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            self._send(desk.turn(now_s))
        if self.workers is not None and desk.work is not None:
            self.workers.give(desk.work.ready, now_s)
        return now_s

    def _meet_workers(self, workers: Workers, now_s: float) -> None:
        """Hear what came of jobs, tell it, and let the next ones leave."""
        work = self.desk.work
        assert work is not None
        answers = workers.hear(now_s)
        work.room, work.workers = workers.room, workers.count
        if answers:
            self._send(self.desk.settle(answers, now_s))
            workers.give(work.ready, now_s)
            work.room = workers.room

    def _first(self, wait_ms: int) -> bytes | None:
        """Return the name of the connection that the next frame is from, if one comes in time."""
        if wait_ms and wait_ms != self._timeout_ms:
            self._socket.rcvtimeo = self._timeout_ms = wait_ms
        try:
            return self._socket.recv(0 if wait_ms else zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _quickly(self, wait_ms: int) -> tuple[list[Reply], list[Reply]]:
        """Take what has come off the socket, without looking at who sent it."""
        socket, messages = self._socket, list[Reply]()
        peer = self._first(wait_ms)
        if peer is None:
            return messages, []
        receive, get = socket.recv, socket.get
        try:
            while True:
                body = receive()
                if get(_MORE):
                    self._skip()
                else:
                    messages.append((peer, body))
                    # To be told that nothing more has come costs less than to try in vain.
                    if len(messages) == 1 and not int(get(_EVENTS)) & _HAS:
                        break
                if len(messages) >= BATCH:
                    break
                peer = receive(_NOW)
        except zmq.Again:
            pass
        return messages, []

    def _carefully(self, wait_ms: int) -> tuple[list[Reply], list[Reply]]:
        """Take what has come; answer those who open a session, by the keys of their connections."""
        socket, messages, answers = self._socket, list[Reply](), list[Reply]()
        peer = self._first(wait_ms)
        while peer is not None:
            frame = socket.recv(copy=False)
            if socket.rcvmore:
                self._skip()
            else:
                opened = self._opened(frame)
                if opened is None:
                    messages.append((peer, frame.bytes))
                else:
                    answers.append((peer, opened))
            if len(messages) + len(answers) >= BATCH:
                break
            try:
                peer = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
        return messages, answers

    def _skip(self) -> None:
        """Drop the rest of a message: ours have one frame."""
        while self._socket.get(_MORE):
            self._socket.recv()

    def _opened(self, frame: zmq.Frame) -> bytes | None:
        """Return the answer to who opens a session, None for any other frame."""
        try:
            message = decode_ask(frame.bytes)
        except WireError:
            return None
        if not isinstance(message, Open):
            return None
        try:
            client = self._gate.who(frame)
        except RequestError as wrong:
            note("session refused", level="debug", code=wrong.code.name, detail=wrong.detail)
            return encode_request(Closed(wrong.code, wrong.detail))
        self.desk.sessions.ring = self._gate.ring
        note("session asked for", level="debug", client=client.name, role=client.role)
        return self.desk.open(client, message, self._clock())

    def _send(self, replies: list[Reply]) -> None:
        send = self._put
        for peer, frame in replies:
            try:
                # Whoever does not read must not keep the others waiting: he asks again.
                send(peer, _FIRST_NOW)
                send(frame, _NOW)
            except zmq.ZMQError as wrong:
                if wrong.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise

    def close(self) -> None:
        """Close the socket; what was sent has half a second to leave. Safe to call twice."""
        if not self._context.closed:
            self._gate.close()
            self._context.destroy(linger=500)

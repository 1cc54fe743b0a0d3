"""The supervisor's sockets: commands and their answers, the emergency stop, and nothing decided.

Two loops in two threads. The command loop never waits for an instrument: it also notices leases
that run out, and speaks with the guardian. The stop loop waits for nothing but stops.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable

import zmq

from backends.supervisor.allow_list import DOMAIN
from backends.supervisor.desk import Desk, Start
from backends.supervisor.keys import KeyPair
from backends.supervisor.messages import (
    MAX_BYTES,
    NO_RID,
    Estop,
    Refused,
    Reply,
    Request,
    decode_request,
    encode,
)
from quantum.errors import Code, WireError
from quantum.rack_safety import Role

__all__ = ["CommandLoop", "StopLoop", "bound", "user_of"]

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

_POLL_MS = 15
#: Whose handshake does not end so soon is dropped, and comes again.
_HANDSHAKE_MS = 2_000


def bound(context: Context, pair: KeyPair) -> tuple[Socket, str]:
    """Bind a ROUTER with CURVE to a free port of the loopback interface."""
    socket: Socket = context.socket(zmq.ROUTER)
    socket.linger, socket.maxmsgsize = 200, MAX_BYTES
    socket.sndhwm = socket.rcvhwm = 256
    socket.handshake_ivl = _HANDSHAKE_MS
    socket.curve_server = True
    socket.curve_secretkey = pair.secret.encode()
    socket.curve_publickey = pair.public.encode()
    socket.zap_domain = DOMAIN.encode()
    # Without this, nobody is asked for his key once the thread that knows the keys has died.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    return socket, f"tcp://127.0.0.1:{port}"


def user_of(frame: zmq.Frame) -> str:
    """Return the public key with which a frame's sender came through the handshake."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""


def _receive(socket: Socket) -> tuple[bytes, str, Request | WireError]:
    identity, *frames = socket.recv_multipart(copy=False)
    if len(frames) != 1:
        return identity.bytes, "", WireError(f"a message has one frame, got {len(frames)}")
    try:
        return identity.bytes, user_of(frames[0]), decode_request(frames[0].bytes)
    except WireError as wrong:
        return identity.bytes, "", wrong


def _send(socket: Socket, identity: bytes, reply: Reply) -> None:
    # Who does not read must not keep the others waiting.
    with contextlib.suppress(zmq.Again, zmq.ZMQError):
        socket.send_multipart([identity, encode(reply)], zmq.DONTWAIT)


class CommandLoop:
    """Reads commands, asks the desk, hands out what is to be done, and sends the answers.

    ``start`` is given what is to be carried out, ``tick`` is called in every round, and
    ``answered`` sees each answer that the desk gave at once, before it is sent.
    """

    def __init__(
        self,
        context: Context,
        pair: KeyPair,
        desk: Desk,
        *,
        start: Callable[[Start], None],
        tick: Callable[[float], None],
        answered: Callable[[Request, Reply], Reply],
    ) -> None:
        self._socket, self.address = bound(context, pair)
        self._desk, self._start, self._tick, self._answered = desk, start, tick, answered
        self._done: deque[tuple[str, Reply] | str] = deque()
        self._identities: dict[tuple[str, bytes], bytes] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake_read, zmq.POLLIN)

    def answer(self, who: str, reply: Reply) -> None:
        """Give the answer to something that was carried out; from any thread."""
        self._done.append((who, reply))
        self._wake()

    def tell_tripped(self, why: str) -> None:
        """Say that the rack was tripped; from any thread."""
        self._done.append(why)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b".")

    def step(self) -> None:
        """One round: what has arrived, what is done, what is due."""
        ready = dict(self._poller.poll(_POLL_MS))
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        while self._done:
            self._settle(self._done.popleft())
        for _ in range(64):
            if not self._socket.poll(0):
                break
            self._hear()
        self._tick(time.monotonic())

    def _settle(self, done: tuple[str, Reply] | str) -> None:
        if isinstance(done, str):
            self.refuse(self._desk.latch(done))
        elif self._desk.finish(*done):
            self._reply(*done)

    def refuse(self, answers: list[tuple[str, Refused]]) -> None:
        """Send refusals of what was being carried out."""
        for who, reply in answers:
            self._reply(who, reply)

    def _reply(self, who: str, reply: Reply) -> None:
        identity = self._identities.pop((who, reply.rid), None)
        if identity is not None:
            _send(self._socket, identity, reply)

    def _hear(self) -> None:
        identity, who, message = _receive(self._socket)
        if isinstance(message, WireError):
            _send(self._socket, identity, Refused(NO_RID, Code.CREATE, str(message)))
            return
        out = self._desk.decide(who, message, time.monotonic())
        rid = getattr(message, "rid", None)
        if isinstance(out, Start):
            self._identities[who, out.message.rid] = identity
            self._start(out)
        elif out is not None:
            _send(self._socket, identity, self._answered(message, out))
        elif rid is not None:
            # Asked again while it is being done: the answer goes to who asked last.
            self._identities[who, rid] = identity

    def close(self) -> None:
        """Close the socket and the pipe."""
        self._socket.close()
        os.close(self._wake_read)
        os.close(self._wake_write)


class StopLoop(threading.Thread):
    """The emergency stop: its own socket, its own thread, one thing to do.

    ``stop`` is called with the request and the moment of its arrival. Whoever the rack knows may
    stop it, whatever his role.
    """

    def __init__(
        self,
        context: Context,
        pair: KeyPair,
        roles: dict[str, Role],
        stop: Callable[[str, Estop, float], Reply],
    ) -> None:
        super().__init__(name="estop", daemon=True)
        self._socket, self.address = bound(context, pair)
        self._roles, self._halt = roles, stop
        self._over = threading.Event()
        self.beat_s = time.monotonic()

    def run(self) -> None:
        """Serve until :meth:`close`."""
        while not self._over.is_set():
            self.beat_s = time.monotonic()
            if not self._socket.poll(100):
                continue
            identity, who, message = _receive(self._socket)
            heard_s = time.monotonic()
            if isinstance(message, WireError):
                _send(self._socket, identity, Refused(NO_RID, Code.CREATE, str(message)))
            elif not isinstance(message, Estop):
                detail = "this socket hears emergency stops only"
                rid = getattr(message, "rid", NO_RID)
                _send(self._socket, identity, Refused(rid, Code.CREATE, detail))
            elif who not in self._roles:
                detail = "this key has no role here"
                _send(self._socket, identity, Refused(message.rid, Code.REJECTED, detail))
            else:
                _send(self._socket, identity, self._halt(who, message, heard_s))
        self._socket.close()

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(1.0)

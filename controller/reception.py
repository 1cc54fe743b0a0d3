"""What is said at one ROUTER of a broker: who said it, may he, how often, and is it a message."""

import time
from collections.abc import Callable

import zmq

from controller.security import Gate, Limits
from controller.security.greeting import welcome_to
from controller.sessions import Peer, Room
from quantum.egp import PROBE, Brief, Hello, Message, Refuse
from quantum.errors import Code, RequestError, WireError
from quantum.logs import note
from quantum.roles import Role, allows
from quantum.wire import decode, encode

__all__ = ["Reception"]

Socket = zmq.Socket[bytes]


class Reception:
    """A guarded ROUTER for keys of one role; what its peers say is given to ``handle``."""

    def __init__(self, socket: Socket, gate: Gate, role: Role, limits: Limits) -> None:
        self.socket, self.role, self.limits = socket, role, limits
        self.room = Room(limits)
        self.gate = gate

    def hear(self, handle: Callable[[bytes, Peer, Message], None]) -> None:
        """Take one message. What ``handle`` refuses by raising is told to whoever said it."""
        identity, *frames = self.socket.recv_multipart(copy=False)
        now_s = time.monotonic()
        try:
            client = self.gate.who(frames[-1] if frames else identity)
            if not allows(client.role, self.role):
                raise RequestError(
                    Code.REJECTED,
                    f"key {client.name} has role {client.role}; "
                    f"this socket is for role {self.role}",
                )
            peer = self.room.peer(client, now_s)
            wait_s = peer.busy(now_s)
            if wait_s > 0.0:
                self.put_off(identity.bytes, peer, wait_s, now_s)
                return
            if len(frames) != 1:
                raise WireError(f"a message has one frame, got {len(frames)}")
            handle(identity.bytes, peer, decode(frames[0].buffer))
        except WireError as wrong:
            note("refused", level="debug", role=self.role, why=str(wrong))
            self.send(identity.bytes, Refuse(Code.CREATE, str(wrong)))
        except RequestError as wrong:
            note("refused", level="debug", role=self.role, why=wrong.detail)
            self.send(identity.bytes, Refuse(wrong.code, wrong.detail))

    def put_off(self, identity: bytes, peer: Peer, wait_s: float, now_s: float) -> None:
        """Ask a peer to say less, once in the time that he is to wait."""
        if peer.to_be_told(wait_s, now_s):
            why = f"BUSY: at most {peer.rate.rate_hz:g} messages a second unasked for"
            self.send(identity, Refuse(Code.REJECTED, why, wait_s))

    def only_asks(self, identity: bytes, hello: Hello, brief: Brief | None = None) -> bool:
        """Welcome who only wants to know whether he would be let in; he takes nobody's seat.

        ``brief`` is what he asks for beside.
        """
        if PROBE not in hello.features:
            return False
        self._welcome(identity, 0, hello)
        if brief is not None:
            self.send(identity, brief)
        return True

    def seat(self, identity: bytes, peer: Peer, hello: Hello) -> bool:
        """Welcome a peer, and give it again what was under way on a connection that it lost.

        Tells whether it has its seat now.
        """
        now_s = time.monotonic()
        if peer.seated:
            # Coming again is no answer to anything, and costs us more than other messages.
            wait_s = peer.rate.take(now_s)
            if wait_s > 0.0:
                self.put_off(identity, peer, wait_s, now_s)
                return False
        note("seated", process=peer.client.name, role=peer.client.role, again=peer.seated)
        peer.identity, peer.features = identity, hello.features
        self._welcome(identity, max(peer.group, 0), hello)
        for message in peer.under_way():
            self.send(identity, message)
        return True

    def _welcome(self, identity: bytes, group: int, hello: Hello) -> None:
        self.send(identity, welcome_to(hello, self.limits, group, time.time()))

    def send(self, identity: bytes, message: Message) -> bool:
        """Send a message; False where nobody is there to take it, or who is does not read."""
        try:
            self.socket.send_multipart([identity, encode(message)], zmq.DONTWAIT)
        except zmq.ZMQError as wrong:
            if wrong.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return False
        return True

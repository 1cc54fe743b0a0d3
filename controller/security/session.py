"""A client's session on a socket: greets, is welcomed or told why not, greets again when cut."""

import contextlib
import time
from collections.abc import Iterator

import zmq
from zmq.utils.monitor import recv_monitor_message

from controller.security.sockets import connect, redial
from quantum.egp import Hello, Message, Welcome
from quantum.errors import InputError
from quantum.joining import Joining, Patience
from quantum.wire import decode, encode

__all__ = ["Session", "join"]

Socket = zmq.Socket[bytes]
#: How often a client that hears nothing looks at the clock.
_TICK_MS = 100


class Session:
    """Drives :class:`quantum.joining.Joining` with a DEALER that is not connected yet."""

    def __init__(self, socket: Socket, joining: Joining) -> None:
        self.socket, self.joining = socket, joining
        self._monitor = socket.get_monitor_socket()
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            connect(socket, joining.address)
        except InputError:
            self.close()
            raise

    def step(self, patience_ms: int = _TICK_MS) -> Message | None:
        """Wait for the next message, but not for long; None where there is none.

        Raises :class:`InputError` where this client is not welcome, :class:`WireError` for bytes
        that are no message.
        """
        ready = dict(self._poller.poll(patience_ms))
        joining, now_s = self.joining, time.monotonic()
        if self._monitor in ready:
            self._watch(now_s)
        if joining.redials(now_s):
            redial(self.socket, joining.address)
        message = decode(self.socket.recv()) if self.socket in ready else None
        if message is not None:
            joining.hear(message, now_s, time.time())
        else:
            joining.wait(now_s)
        # Who hears something is not silent, so the message comes first.
        hello = joining.greets(now_s, time.time())
        if hello is not None:
            self.send(encode(hello))
        return message

    def _watch(self, now_s: float) -> None:
        while self._monitor.poll(0):
            seen = recv_monitor_message(self._monitor)
            self.joining.event(zmq.Event(seen["event"]).name or "", int(seen["value"]), now_s)

    def messages(self) -> Iterator[Message | None]:
        """Return message after message, and None now and then where there is none."""
        while True:
            yield self.step()

    def send(self, frame: bytes) -> bool:
        """Send a frame; False where nobody takes it within the socket's ``sndtimeo``."""
        with contextlib.suppress(zmq.Again):
            self.socket.send(frame)
            return True
        return False

    def close(self) -> None:
        """Close the socket and its monitor; safe to call twice."""
        if not self.socket.closed:
            self.socket.disable_monitor()
        self._monitor.close()
        self.socket.close()


def join(socket: Socket, hello: Hello, address: str, patience: Patience | None = None) -> Session:
    """Open a session within about a second, or raise :class:`InputError` that says why not.

    The socket is closed then.
    """
    socket.sndtimeo, socket.immediate, socket.linger = 1_000, True, 0
    joining = Joining(hello, address, now_s=time.monotonic(), patience=patience)
    session = Session(socket, joining)
    try:
        while not isinstance(session.step(), Welcome):
            pass
    except BaseException:
        session.close()
        raise
    return session

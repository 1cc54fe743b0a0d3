"""Whom a supervisor's sockets let in: a thread that answers ZAP (RFC 27), and is looked after.

While it is dead nobody comes in, as the sockets enforce their domain; so an emergency stop of
somebody who is not connected yet would not be heard either. :meth:`AllowList.look` opens the list
again, and gives up where that does not help.
"""

import contextlib
import threading

import zmq
from zmq.utils import z85

from quantum.errors import DpemError

__all__ = ["DOMAIN", "AllowList"]

#: A socket's ZAP domain has to be this very name.
DOMAIN = "dpem-supervisor"

_ENDPOINT = "inproc://zeromq.zap.01"
_LOOK_MS = 200
#: A thread that dies over and over is not started again and again.
_DEATHS = 3

Socket = zmq.Socket[bytes]


class AllowList:
    """Admits public keys (z85) to the sockets of a context until it is closed."""

    def __init__(self, context: zmq.Context[Socket], allowed: set[str]) -> None:
        self._context, self._allowed = context, {key.encode() for key in allowed}
        self._over = threading.Event()
        self._deaths, self._why = 0, ""
        self._open()

    def _open(self) -> None:
        socket: Socket = self._context.socket(zmq.REP)
        socket.linger = 0
        socket.bind(_ENDPOINT)
        self._thread = threading.Thread(
            target=self._serve, args=(socket,), name="allow list", daemon=True
        )
        self._thread.start()

    def _serve(self, socket: Socket) -> None:
        try:
            while not self._over.is_set():
                if socket.poll(_LOOK_MS):
                    socket.send_multipart(self._answer(socket.recv_multipart()))
        except Exception as wrong:  # noqa: BLE001 - whatever it was, the supervisor is told
            self._why = f"{type(wrong).__name__}: {wrong}"
        finally:
            # close() alone gives the name back later, and the next thread would not get it.
            with contextlib.suppress(zmq.ZMQError):
                socket.unbind(_ENDPOINT)
            socket.close()

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        number = frames[1] if len(frames) > 1 else b""
        if len(frames) == 7 and frames[0] == b"1.0" and frames[5] == b"CURVE":
            public = z85.encode(frames[6])
            if frames[2] == DOMAIN.encode() and public in self._allowed:
                return [b"1.0", number, b"200", b"OK", public, b""]
        return [b"1.0", number, b"400", b"key unknown", b"", b""]

    def look(self) -> str:
        """Open the list again where its thread has died, and return what is to be noted.

        Raises :class:`DpemError` where it died again and again.
        """
        if self._thread.is_alive() or self._over.is_set():
            return ""
        if self._deaths >= _DEATHS:
            raise DpemError(f"nobody is let in any more: the allow list died often: {self._why}")
        self._deaths += 1
        self._open()
        return f"the allow list was opened again: {self._why}"

    def close(self) -> None:
        """End the thread; nobody new comes in afterwards. Safe to call twice."""
        self._over.set()
        self._thread.join(5.0)

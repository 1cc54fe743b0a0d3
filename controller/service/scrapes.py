"""Short questions by HTTP, and one page for all of them: whoever is slow keeps nobody waiting.

One thread looks after all connections. Each has so long for its question and as long for its
answer; where too many are open, the one that has said nothing whole for longest is dropped.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

from quantum.errors import InputError

__all__ = ["Scrapes"]

#: Whoever does not finish his question, or does not read his answer, is dropped after so long.
PATIENCE_S = 1.0
_LONGEST_HEAD = 16 * 1024
#: Connections at once: a monitor has one for a moment.
_MOST = 64
_LOOK_S = 0.2


class _Line:
    """A connection: what it has asked so far, and what it has not been told yet."""

    __slots__ = ("answer", "head", "number", "socket", "until_s")

    def __init__(self, line: socket.socket, until_s: float) -> None:
        self.socket, self.number, self.until_s = line, line.fileno(), until_s
        self.head, self.answer = b"", b""


class Scrapes:
    """Serves ``page()`` at ``http://HOST:PORT/NAME`` until it is closed.

    Raises :class:`InputError` where it cannot listen; a host of IPv6 stands in brackets.
    """

    def __init__(self, where: str, name: str, page: Callable[[], bytes]) -> None:
        host, colon, port = where.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise InputError(f"{name} must be HOST:PORT, got {where!r}")
        self._name, self._page = name, page
        try:
            self._listener = _listening(host, int(port))
        except OSError as wrong:
            why = wrong.strerror or str(wrong)
            raise InputError(f"{name}: cannot listen on {where}: {why}") from wrong
        self._listener.setblocking(False)
        self.address = f"http://{host}:{self._listener.getsockname()[1]}/{name}"
        self._lines: dict[int, _Line] = {}
        """In the order in which they came."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(_LOOK_S):
                line = self._lines.get(key.fd)
                if line is None:
                    self._accept()
                    continue
                try:
                    over = self._tell(line) if line.answer else self._hear(line)
                except BlockingIOError:
                    continue
                except OSError:
                    over = True
                if over:
                    self._drop(line)
            now_s = time.monotonic()
            for line in [line for line in self._lines.values() if line.until_s <= now_s]:
                self._drop(line)

    def _accept(self) -> None:
        # Somebody who has gone already, or no file for him: go on.
        with contextlib.suppress(OSError):
            fresh, _ = self._listener.accept()
            fresh.setblocking(False)
            if len(self._lines) >= _MOST:
                self._drop(next(iter(self._lines.values())))
            self._lines[fresh.fileno()] = _Line(fresh, time.monotonic() + PATIENCE_S)
            self._selector.register(fresh, selectors.EVENT_READ)

    def _hear(self, line: _Line) -> bool:
        """Take what has come of a question; tell whether the connection is over."""
        data = line.socket.recv(4096)
        line.head += data
        if not data or len(line.head) > _LONGEST_HEAD:
            return True
        if b"\r\n\r\n" in line.head:
            line.answer = self._answer(line.head)
            line.until_s = time.monotonic() + PATIENCE_S
            self._selector.modify(line.socket, selectors.EVENT_WRITE)
        return False

    def _tell(self, line: _Line) -> bool:
        """Send what can be sent of an answer; tell whether that was all."""
        line.answer = line.answer[line.socket.send(line.answer) :]
        return not line.answer

    def _drop(self, line: _Line) -> None:
        del self._lines[line.number]
        self._selector.unregister(line.socket)
        line.socket.close()

    def _answer(self, head: bytes) -> bytes:
        name = self._name.encode()
        found = head.startswith((b"GET /%s " % name, b"GET /%s?" % name))
        body = self._page() if found else b"the page is /%s\n" % name
        return (
            (b"HTTP/1.1 200 OK\r\n" if found else b"HTTP/1.1 404 Not Found\r\n")
            + b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n"
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )

    def close(self) -> None:
        """End the thread and close the port."""
        self._over.set()
        self._thread.join()
        for line in list(self._lines.values()):
            self._drop(line)
        self._selector.close()
        self._listener.close()


def _listening(host: str, port: int) -> socket.socket:
    if host.startswith("[") and host.endswith("]"):
        return socket.create_server((host[1:-1], port), family=socket.AF_INET6)
    return socket.create_server((host, port))

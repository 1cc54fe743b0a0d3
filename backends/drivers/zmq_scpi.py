"""Ask an instrument that speaks text over a ZeroMQ REP socket.

Two traps of REQ: a connect to nobody hangs without a word, so the TCP port is probed first; and
after a request without answer the socket can never send again, so it is thrown away and made anew.
"""

import re
import socket
import threading
import time
from types import TracebackType
from typing import Protocol, Self

import zmq

from quantum.errors import DeviceError, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["Asks", "Requester", "parse_address"]

_ADDRESS = re.compile(r"tcp://(?P<host>[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})\Z")
_MAX_BYTES = 1024 * 1024
_SHOWN = 60
#: How often a thread that waits looks whether another one closes the connection.
_LOOK_MS = 50


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of ``tcp://HOST:PORT``, or raise :class:`InputError`.

    >>> parse_address("tcp://127.0.0.1:5555")
    ('127.0.0.1', 5555)
    """
    parts = _ADDRESS.match(address)
    if parts is None or not 0 < int(parts["port"]) < 65536:
        raise InputError(f"instrument address must be tcp://HOST:PORT, got {address!r}")
    return parts["host"].strip("[]"), int(parts["port"])


class Asks(Protocol):
    """Whatever asks questions over a wire: a :class:`Requester`, or a recording of one."""

    address: str

    def ask(self, text: str) -> str:
        """Send one frame and return the one frame that answers it, stripped."""

    def close(self) -> None:
        """Release the connection; safe to call twice."""


class Requester:
    """One connection; not for use by two threads.

    ``timeout_s`` bounds every wait: for the port and for each answer.
    """

    def __init__(self, address: str, *, timeout_s: float) -> None:
        if not 0.0 < timeout_s <= 3600.0:
            raise InputError(f"timeout_s must be > 0 and at most 3600 seconds, got {timeout_s}")
        self.address = address
        self.timeout_s = timeout_s
        self._peer = parse_address(address)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._asking = threading.Lock()
        self._closing = False
        try:
            self._connect()
        except DeviceError:
            self.close()
            raise

    def ask(self, text: str) -> str:
        """Send one frame and return the one frame that answers it, stripped."""
        with self._asking:
            return self._ask(text)

    def _ask(self, text: str) -> str:
        if self._context is None:
            raise DeviceError(f"{self.address}: the connection is closed")
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        self._socket.send_string(text)
        if not self._answered():
            self._drop()
            raise DeviceTimeout(
                f"{self.address}: no answer to {_short(text)} within {self.timeout_s:g} s"
            )
        frames = self._socket.recv_multipart()
        if len(frames) != 1:
            raise DeviceProtocol(
                f"{self.address}: {len(frames)} frames answered {_short(text)}, one is allowed"
            )
        try:
            return frames[0].decode("utf-8").strip()
        except UnicodeDecodeError as wrong:
            raise DeviceProtocol(
                f"{self.address}: the answer to {_short(text)} is not UTF-8 text"
            ) from wrong

    def close(self) -> None:
        """Close the connection; safe to call twice, and while another thread waits in ask()."""
        self._closing = True
        with self._asking:
            self._drop()
            if self._context is not None:
                self._context.term()
                self._context = None

    def _answered(self) -> bool:
        """Wait for an answer; a socket of ZeroMQ must not be closed meanwhile, so look often."""
        assert self._socket is not None
        until = time.monotonic() + max(1e-3, self.timeout_s)
        while True:
            left_s = until - time.monotonic()
            if self._socket.poll(max(1, min(_LOOK_MS, round(left_s * 1e3)))):
                return True
            if self._closing:
                self._drop()
                raise DeviceError(f"{self.address}: the connection was closed")
            if left_s <= 0.0:
                return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(self) -> None:
        assert self._context is not None
        try:
            socket.create_connection(self._peer, timeout=self.timeout_s).close()
        except TimeoutError as wrong:
            raise DeviceTimeout(
                f"{self.address}: no connection within {self.timeout_s:g} s"
            ) from wrong
        except OSError as wrong:
            raise DeviceError(f"{self.address}: {wrong.strerror or wrong}") from wrong
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_BYTES)
        self._socket.connect(self.address)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")

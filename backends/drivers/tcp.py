"""A TCP connection to an instrument, as a :class:`backends.drivers.streams.Stream`.

Nothing here reads without a bound or waits without an end. A peer that vanished without a word (a
pulled cable, a stopped machine) is found by TCP keepalive while we are idle, and by the timeouts of
the driver while we wait for an answer.
"""

import contextlib
import math
import select
import socket
from types import TracebackType
from typing import Self

from backends.drivers.zmq_scpi import parse_address
from quantum.errors import DeviceError, DeviceTimeout, InputError

__all__ = ["TcpStream"]

#: Most that one receive returns: what a driver keeps of it is bounded by its framing.
_CHUNK_BYTES = 64 * 1024

#: Keepalive: a dead peer is found within idle + interval * probes = 20 s.
_KEEPALIVE_IDLE_S = 5
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3


class TcpStream:
    """An open connection to ``tcp://HOST:PORT``; not for use by two threads.

    ``timeout_s`` bounds the connecting and each sending. Raises :class:`DeviceTimeout` where nobody
    answers in time and :class:`DeviceError` where the connection is refused.
    """

    def __init__(self, address: str, *, timeout_s: float) -> None:
        if not 0.0 < timeout_s <= 3600.0:
            raise InputError(f"timeout_s must be > 0 and at most 3600 seconds, got {timeout_s}")
        self.address = address
        self._timeout_s = timeout_s
        peer = parse_address(address)
        try:
            made = socket.create_connection(peer, timeout=timeout_s)
        except TimeoutError as wrong:
            raise DeviceTimeout(f"{address}: no connection within {timeout_s:g} s") from wrong
        except OSError as wrong:
            raise DeviceError(f"{address}: {wrong.strerror or wrong}") from wrong
        self._socket: socket.socket | None = made
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        ):
            # Not every system has all three.
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, data: bytes) -> None:
        """Send all bytes, or raise :class:`DeviceError`; a peer that reads nothing is a timeout."""
        connection = self._open()
        connection.settimeout(self._timeout_s)
        try:
            connection.sendall(data)
        except TimeoutError as wrong:
            raise DeviceTimeout(
                f"{self.address}: {len(data)} bytes were not taken within {self._timeout_s:g} s"
            ) from wrong
        except OSError as wrong:
            raise DeviceError(f"{self.address}: {wrong.strerror or wrong}") from wrong

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least one byte and at most 64 KiB.

        A timeout of 0 looks without waiting.
        """
        connection = self._open()
        try:
            # Not select(): it knows no descriptor above 1023.
            waiting = select.poll()
            waiting.register(connection, select.POLLIN)
            ready = waiting.poll(math.ceil(max(0.0, timeout_s) * 1e3))
            data = connection.recv(_CHUNK_BYTES) if ready else None
        except (OSError, ValueError) as wrong:
            # ValueError: another thread has closed the connection just now.
            said = getattr(wrong, "strerror", None) or "the connection is closed"
            raise DeviceError(f"{self.address}: {said}") from wrong
        if data is None:
            raise DeviceTimeout(f"{self.address}: no answer within {timeout_s:g} s")
        if not data:
            raise DeviceError(f"{self.address}: the instrument closed the connection")
        return data

    def close(self) -> None:
        """Close the connection; safe to call twice, and while another thread waits in receive()."""
        connection, self._socket = self._socket, None
        if connection is not None:
            # Closing alone would not wake a thread that waits for bytes.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                connection.close()

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise DeviceError(f"{self.address}: the connection is closed")
        return self._socket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

"""One connection to a streaming instrument: bytes in, bytes out, faults between, bounds on both.

What carries the bytes is a :class:`Carrier`: a TCP socket here, the master side of a pty for serial
instruments.
"""

import contextlib
import heapq
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from firmware_stubs.stream_faults import StreamFaults, damage_stream

__all__ = ["Carrier", "Connection", "SocketCarrier", "StreamDevice", "StreamFactory"]

_READ_BYTES = 64 * 1024
#: A client that reads so slowly that more than this waits for it is dropped.
_OUT_BYTES = 1024 * 1024
_KERNEL_BYTES = 256 * 1024
#: How much of a request is kept for the `match` of a fault.
_SEEN_BYTES = 4096


class StreamDevice(Protocol):
    """An instrument, or one connection to it, without its socket.

    It may also have ``due_s(now_s) -> float | None``, the time of its next unsolicited bytes, and a
    boolean ``ended`` that asks for the end of the connection.
    """

    clients: int

    def opened(self, now_s: float) -> bytes:
        """Greet a new connection."""

    def received(self, data: bytes, now_s: float) -> bytes:
        """Take any piece of the stream and return what is to be answered now."""

    def due(self, now_s: float) -> bytes:
        """Return unsolicited bytes."""

    def closed(self, now_s: float) -> None:
        """The connection is gone."""

    def power_cycle(self, now_s: float) -> None:
        """Return to the settings of power-on."""

    def state(self) -> dict[str, Any]:
        """Return the settings, for the control socket."""


@runtime_checkable
class StreamFactory(Protocol):
    """An instrument that talks to several clients at once, each by a device of its own."""

    clients: int

    def connection(self) -> StreamDevice:
        """Make the device of a new connection."""

    def power_cycle(self, now_s: float) -> None:
        """Return to the settings of power-on."""

    def state(self) -> dict[str, Any]:
        """Return the settings, for the control socket."""


class Carrier(Protocol):
    """A descriptor that does not block."""

    def fileno(self) -> int:
        """Return the descriptor to poll."""

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived; None where nothing has, empty bytes at the end."""

    def write(self, data: bytes) -> int:
        """Send what can be sent now and return how much that was."""

    def close(self) -> None:
        """Close in good order."""

    def reset(self) -> None:
        """Close at once, and let the peer know that something broke."""


class SocketCarrier:
    """A TCP connection."""

    def __init__(self, made: socket.socket) -> None:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What the kernel keeps for a client that does not read is bounded too.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        self._socket = made

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived; a reset is an end like any other."""
        try:
            return self._socket.recv(limit)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def write(self, data: bytes) -> int:
        """Send what the kernel takes; OSError where the peer is gone."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Close in good order."""
        self._socket.close()

    def reset(self) -> None:
        """Close with RST: SO_LINGER of zero seconds."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class Connection:
    """Moves bytes between a carrier and a device; ``open`` is False once it is over."""

    def __init__(
        self,
        carrier: Carrier,
        device: StreamDevice,
        faults: StreamFaults,
        line: int,
        now_s: float,
    ) -> None:
        self.carrier = carrier
        self.device = device
        self.open = True
        self._faults = faults
        self._line = line
        self._out = bytearray()
        self._late: list[tuple[float, int, bytes, str]] = []
        self._serial = 0
        self._request = b""
        self._end = ""
        self._leave(device.opened(now_s), now_s)

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes wait for the peer."""
        return bool(self._out)

    def readable(self, now_s: float) -> None:
        """Read once, let the device act, and send what it answers."""
        data = self.carrier.read(_READ_BYTES)
        if data is None:
            return
        if not data:
            self.end(now_s)
            return
        self._request = (self._request + data)[-_SEEN_BYTES:]
        answer = self.device.received(data, now_s)
        if answer:
            self._leave(answer, now_s)
            self._request = b""
        if getattr(self.device, "ended", False):
            self._end = self._end or "close"
            self.flush(now_s)

    def due(self, now_s: float) -> None:
        """Send unsolicited bytes and those that were held back until now."""
        own = self.device.due(now_s)
        if own:
            self._leave(own, now_s, request=b"")
        while self._late and self._late[0][0] <= now_s and self.open:
            _, _, data, end = heapq.heappop(self._late)
            self._out += data
            self._end = self._end or end
        self.flush(now_s)

    def next_s(self, now_s: float) -> float | None:
        """Return when something is due."""
        times = [self._late[0][0]] if self._late else []
        ask: Callable[[float], float | None] | None = getattr(self.device, "due_s", None)
        when = ask(now_s) if ask is not None else None
        return min([*times, when] if when is not None else times, default=None)

    def flush(self, now_s: float) -> None:
        """Send what the peer takes; end where it is gone, too slow, or where a fault says so."""
        if not self.open:
            return
        try:
            while self._out:
                sent = self.carrier.write(bytes(self._out[:_READ_BYTES]))
                if not sent:
                    break
                del self._out[:sent]
        except OSError:
            self.end(now_s)
            return
        if len(self._out) > _OUT_BYTES:
            self.end(now_s, reset=True)
        elif self._end and not self._out and not self._late:
            self.end(now_s, reset=self._end == "reset")

    def end(self, now_s: float, *, reset: bool = False) -> None:
        """Close the connection; safe to call twice."""
        if not self.open:
            return
        self.open = False
        self.device.closed(now_s)
        if reset:
            self.carrier.reset()
        else:
            self.carrier.close()

    def _leave(self, output: bytes, now_s: float, request: bytes | None = None) -> None:
        """Let output leave as the faults in force allow; order is kept among what is held back."""
        seen = self._request if request is None else request
        fault = self._faults.take(seen, output, self._line) if output else None
        for piece in damage_stream(output, fault):
            if piece.after_s > 0.0:
                self._serial += 1
                at_s = now_s + piece.after_s
                heapq.heappush(self._late, (at_s, self._serial, piece.data, piece.end))
            else:
                self._out += piece.data
                self._end = self._end or piece.end
        if self.open:
            self.flush(now_s)

"""A connection that is dropped after any failure, and opened anew by the next use.

An answer that comes late would be taken for the answer to the next question. So after a timeout or
an error in the middle of an exchange the stream is closed, and whatever was on its way with it. The
driver learns of a new connection by :attr:`Connection.opened`, a number that grows: then the
instrument may have restarted, and its state must be proved again.
"""

import time
from collections.abc import Callable

from backends.drivers.opening import open_stream
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["Connection"]


class Connection:
    """Frames of bytes that end in a separator, over a stream; not for use by two threads.

    ``timeout_s`` bounds the opening, each sending and each answer. A frame longer than
    ``limit_bytes`` is a :class:`DeviceProtocol`: a peer that never ends a line cannot eat memory. A
    ``stream`` that is given is used once and never replaced, because nobody said by what.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        separator: bytes = b"\n",
        limit_bytes: int = 64 * 1024,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0.0 < timeout_s <= 3600.0:
            raise InputError(f"timeout_s must be > 0 and at most 3600 seconds, got {timeout_s}")
        self.address = address
        self.timeout_s = timeout_s
        self.opened = 0
        self._separator = separator
        self._limit_bytes = limit_bytes
        self._given = stream
        self._stream: Stream | None = None
        self._clock = clock
        self._buffer = bytearray()
        self._closed = False

    def ensure(self) -> None:
        """Open the stream where it is not open."""
        self._refuse_closed()
        if self._stream is not None:
            return
        if self._given is not None and self.opened:
            raise DeviceError(f"{self.address}: the stream that was given is broken")
        self._stream = self._given or open_stream(self.address, self.timeout_s)
        self._buffer.clear()
        self.opened += 1
        self._refuse_closed()

    def _refuse_closed(self) -> None:
        """Raise where the connection was closed, perhaps by another thread just now."""
        if self._closed:
            self.drop()
            raise DeviceError(f"{self.address}: the connection is closed")

    def renew(self) -> None:
        """Open the stream where it is not open, or where the peer has closed it while it was idle.

        To be called before an exchange, when nothing is on its way.
        """
        self.ensure()
        assert self._stream is not None
        try:
            self._buffer += self._stream.receive(0.0)
        except DeviceTimeout:
            return
        except DeviceError:
            self.drop()
            self.ensure()

    @property
    def is_open(self) -> bool:
        """Whether a stream is open now."""
        return self._stream is not None

    def say(self, data: bytes) -> None:
        """Send bytes; a failure drops the connection."""
        self.ensure()
        assert self._stream is not None
        try:
            self._stream.send(data)
        except DeviceError:
            self.drop()
            raise

    def frame(self, deadline_s: float | None = None) -> bytes:
        """Return the next frame without its separator, by a deadline of the clock.

        Without a deadline it waits for ``timeout_s``. A failure drops the connection.
        """
        self.ensure()
        stream = self._stream
        assert stream is not None
        if deadline_s is None:
            deadline_s = self._clock() + self.timeout_s
        searched = 0
        try:
            while True:
                place = self._buffer.find(self._separator, searched)
                if place >= 0 and place <= self._limit_bytes:
                    found = bytes(self._buffer[:place])
                    del self._buffer[: place + len(self._separator)]
                    return found
                if len(self._buffer) > self._limit_bytes:
                    raise DeviceProtocol(
                        f"{self.address}: an answer does not end within {self._limit_bytes} bytes"
                    )
                searched = max(0, len(self._buffer) - len(self._separator) + 1)
                left = deadline_s - self._clock()
                # Also when it is late: what has arrived counts.
                self._buffer += stream.receive(max(0.0, left))
        except DeviceTimeout:
            half = f"; {len(self._buffer)} bytes of one came" if self._buffer else ""
            self.drop()
            raise DeviceTimeout(
                f"{self.address}: no whole answer within {self.timeout_s:g} s{half}"
            ) from None
        except DeviceError:
            self.drop()
            raise

    def waiting(self) -> list[bytes]:
        """Return the whole frames that have arrived, without waiting; half ones stay."""
        self.ensure()
        assert self._stream is not None
        frames: list[bytes] = []
        try:
            while True:
                *whole, rest = bytes(self._buffer).split(self._separator)
                frames += whole
                self._buffer[:] = rest
                if len(rest) > self._limit_bytes:
                    raise DeviceProtocol(
                        f"{self.address}: an answer does not end within {self._limit_bytes} bytes"
                    )
                if sum(map(len, frames)) > 16 * self._limit_bytes:
                    raise DeviceProtocol(f"{self.address}: the instrument does not stop sending")
                self._buffer += self._stream.receive(0.0)
        except DeviceTimeout:
            return frames
        except DeviceError:
            self.drop()
            raise

    def unfinished(self) -> bool:
        """Say whether part of a frame has arrived, and not its end."""
        return bool(self._buffer)

    def some(self, deadline_s: float) -> bytes:
        """Return bytes as they come, for drivers with a framing of their own.

        Raises :class:`DeviceTimeout`, and keeps the connection, where none come by the deadline.
        """
        self.ensure()
        assert self._stream is not None
        try:
            return self._stream.receive(max(0.0, deadline_s - self._clock()))
        except DeviceTimeout:
            raise
        except DeviceError:
            self.drop()
            raise

    def drop(self) -> None:
        """Throw the stream away with all that is on its way; the next use opens a new one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._buffer.clear()

    def close(self) -> None:
        """Close for good; safe to call twice, and while another thread waits for bytes."""
        # First: the thread that is woken must find it closed, and open nothing anew.
        self._closed = True
        self.drop()
        if self._given is not None:
            self._given.close()

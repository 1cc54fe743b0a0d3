"""A stream of bytes to an instrument, whatever carries it.

Drivers of byte-oriented instruments take a :class:`Stream`, never a socket: so the same driver
speaks over TCP, over a serial line, over a recording, and over a stream that a test cuts into
pieces.
"""

from typing import Protocol

__all__ = ["Stream"]


class Stream(Protocol):
    """An open connection."""

    address: str

    def send(self, data: bytes) -> None:
        """Send all bytes, or raise :class:`quantum.errors.DeviceError`."""

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least one byte.

        Raises :class:`quantum.errors.DeviceTimeout` where nothing arrives in time, and
        :class:`quantum.errors.DeviceError` where the other end is gone.
        """

    def close(self) -> None:
        """Release the connection; safe to call twice."""

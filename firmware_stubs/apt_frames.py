"""Messages of the APT protocol as the controller sees them: cut out of a stream, and made.

Header: ``u16 id, u8 p1, u8 p2, u8 destination, u8 source``; with data ``u16 id, u16 length,
u8 destination | 0x80, u8 source``. All little endian. Host is 0x01, a USB unit 0x50.
"""

import struct
from collections.abc import Iterator

__all__ = ["HOST", "UNIT", "Frames", "long_message", "short_message"]

HOST, UNIT = 0x01, 0x50

#: Data bytes of the messages that a host sends with data.
_LENGTHS = {0x0413: 14, 0x0440: 14, 0x0448: 6, 0x0453: 6}
#: Messages without data that a host sends.
_SHORT = frozenset(
    (0x0005, 0x0011, 0x0012, 0x0210, 0x0211, 0x0223, 0x0411, 0x0414, 0x0429, 0x0441, 0x0443, 0x0465)
) | {0x0490}


class Frames:
    """Cuts a stream into messages, however it arrives; steps over bytes that begin none.

    >>> frames = Frames()
    >>> list(frames.feed(bytes.fromhex("05 00 00 00")))
    []
    >>> list(frames.feed(bytes.fromhex("50 01")))
    [(5, 0, 0, b'')]
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (id, first parameter, second parameter, data) of every complete message."""
        self._buffer += data
        while len(self._buffer) >= 6:
            ident, length, destination, source = struct.unpack_from("<HHBB", self._buffer)
            if source != HOST or destination & 0x7F != UNIT:
                self._buffer = self._buffer[1:]
            elif destination & 0x80:
                if _LENGTHS.get(ident) != length:
                    self._buffer = self._buffer[1:]
                    continue
                if len(self._buffer) < 6 + length:
                    return
                body, self._buffer = self._buffer[6 : 6 + length], self._buffer[6 + length :]
                yield ident, 0, 0, body
            else:
                first, second, self._buffer = self._buffer[2], self._buffer[3], self._buffer[6:]
                if ident in _SHORT:
                    yield ident, first, second, b""


def short_message(ident: int, first: int, second: int) -> bytes:
    """Make a message without data, from the unit to the host."""
    return struct.pack("<HBBBB", ident, first, second, HOST, UNIT)


def long_message(ident: int, body: bytes) -> bytes:
    """Make a message with data, from the unit to the host."""
    return struct.pack("<HHBB", ident, len(body), HOST | 0x80, UNIT) + body

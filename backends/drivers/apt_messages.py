"""Messages of the Thorlabs APT protocol, as the host makes them and finds them in a stream.

Source: Thorlabs, *Host-Controller Communications Protocol* (issues 3-37). Header of six bytes,
little endian: ``u16 id, u8 p1, u8 p2, u8 destination, u8 source``; a message with data has
``u16 id, u16 length, u8 destination | 0x80, u8 source`` and then the data. There is no check sum:
a lost byte is noticed because what follows is no header that a unit could send.
"""

import struct
from typing import NamedTuple

__all__ = ["Message", "Messages", "Status", "command", "command_with_data", "parse_status"]

_HOST, _UNIT = 0x01, 0x50

#: Data bytes of what a unit sends to the host.
_DATA_BYTES = {
    0x0006: 84,
    0x0081: 68,
    0x0412: 6,
    0x0415: 14,
    0x042A: 6,
    0x0442: 14,
    0x0464: 14,
    0x0466: 14,
    0x0491: 14,
}
_SHORT = frozenset((0x0002, 0x0080, 0x0212, 0x0444))


class Message(NamedTuple):
    """A message of the unit: parameters are 0 where there is data."""

    ident: int
    first: int
    second: int
    data: bytes


class Status(NamedTuple):
    """What a unit says of an axis."""

    channel: int
    counts: int
    bits: int


class Messages:
    """Cuts the unit's stream into messages, the same whatever pieces it arrives in.

    ``skipped`` counts the bytes that began no message: after a lost byte the rest of its message
    is stepped over, and the next header is found.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self.skipped = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take a piece of the stream and return the messages that are now complete.

        >>> messages = Messages()
        >>> messages.feed(bytes.fromhex("44 04 01 00 01"))
        []
        >>> messages.feed(bytes.fromhex("50"))
        [Message(ident=1092, first=1, second=0, data=b'')]
        """
        buffer, place, found = self._buffer + data, 0, []
        while len(buffer) - place >= 6:
            ident, length, destination, source = struct.unpack_from("<HHBB", buffer, place)
            if source != _UNIT or not _known(ident, length, destination):
                place += 1
                self.skipped += 1
            elif destination == _HOST:
                found.append(Message(ident, buffer[place + 2], buffer[place + 3], b""))
                place += 6
            else:
                end = place + 6 + length
                if len(buffer) < end:
                    break
                found.append(Message(ident, 0, 0, buffer[place + 6 : end]))
                place = end
        self._buffer = buffer[place:]
        return found

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._buffer)

    def forget(self) -> None:
        """Throw half a message away."""
        self._buffer = b""


def _known(ident: int, length: int, destination: int) -> bool:
    if destination == _HOST:
        return ident in _SHORT
    return destination == _HOST | 0x80 and _DATA_BYTES.get(ident) == length


def command(ident: int, first: int = 0, second: int = 0) -> bytes:
    """Make a message without data.

    >>> command(0x0443, 1).hex(" ")
    '43 04 01 00 50 01'
    """
    return struct.pack("<HBBBB", ident, first, second, _UNIT, _HOST)


def command_with_data(ident: int, data: bytes) -> bytes:
    """Make a message with data.

    >>> command_with_data(0x0453, struct.pack("<Hi", 1, 1000)).hex(" ")
    '53 04 06 00 d0 01 01 00 e8 03 00 00'
    """
    return struct.pack("<HHBB", ident, len(data), _UNIT | 0x80, _HOST) + data


def parse_status(data: bytes) -> Status:
    """Read MOVE_COMPLETED, MOVE_STOPPED or a status update: 14 bytes."""
    channel, counts, _, _, bits = struct.unpack("<HiHHI", data)
    return Status(channel, counts, bits)

"""The record of a run that is still being written: bytes in, verified events out. No files."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from quantum.errors import RecordError
from quantum.record.canonical import EVENTS, GENESIS, json_object, line_bytes, link

__all__ = ["Chain", "Line", "Place"]

#: No event of a run comes near this; a file without line ends is no record.
_MOST_BYTES = 64 * 1024 * 1024
_REST = len(line_bytes(GENESIS, b"{}")) - len(b"}\n")


class Place(NamedTuple):
    """A place between two lines of a record: how to read on from there."""

    offset: int = 0
    line: int = 0
    last: str = GENESIS


class Line(NamedTuple):
    """An event and the place behind it."""

    event: dict[str, Any]
    after: Place


class Chain:
    """Follows the hash chain from a place on.

    A last line without its end waits for the rest: a writer is in the middle of it, or was killed
    there. After an error nothing more comes.
    """

    def __init__(self, at: Place = Place()) -> None:  # noqa: B008 - a constant tuple
        self.at = at
        self._rest = b""

    @property
    def read_from(self) -> int:
        """Offset in the file of the next byte to feed."""
        return self.at.offset + len(self._rest)

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take the next bytes of the file; yields the lines that they complete, one by one.

        Raises :class:`RecordError` at the first line that does not continue the chain, after the
        lines before it.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            yield self._take(line + b"\n")
        if len(self._rest) > _MOST_BYTES:
            raise RecordError(f"{EVENTS} line {self.at.line + 1}: longer than any event")

    def _take(self, line: bytes) -> Line:
        offset, number, last = self.at
        number += 1
        rest = b"{" + line[_REST:-1]
        own = link(last, rest)
        if line != line_bytes(own, rest):
            raise RecordError(f"{EVENTS} line {number}: does not continue the hash chain")
        event = json_object(rest, f"{EVENTS} line {number}")
        self.at = Place(offset + len(line), number, own)
        return Line(event, self.at)

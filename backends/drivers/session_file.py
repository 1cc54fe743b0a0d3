"""The file of a recorded session: one JSON object a line, each chained to the one before.

Line 0 says the format. Every other line is an event: what a driver asked of the world (a stream
opened, bytes sent or received, a question, the time, a pause) and what came of it. Bytes are
written as text of the characters 0 to 255, so what is ASCII can be read. ``h`` is the BLAKE2b
digest of the digest before and of the line without it: a line that was changed, moved or taken out
is found. The last line, ``end``, holds the number of events; a file without it was cut off.
"""

import hashlib
import os
from pathlib import Path
from typing import IO, Any

import msgspec

from quantum.errors import InputError, RecordError

__all__ = ["Event", "SessionWriter", "bytes_of", "read_session", "text_of"]

_FORMAT = "dpem-session"
_VERSION = 1
_MOST_BYTES = 4 * 1024**3


class Event(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line. ``channel`` is the instrument; ``at_s`` counts from the begin of the session."""

    n: int
    kind: str
    """instrument, open, send, receive, close, ask, clock, sleep or end."""
    channel: str = ""
    at_s: float = 0.0
    where: str = ""
    """The address."""
    data: str = ""
    """What was sent."""
    answer: str | None = None
    """What came."""
    value: float | None = None
    error: str = ""
    """The class of the error that came instead, and what it said."""
    said: str = ""


def text_of(data: bytes) -> str:
    """Write bytes as text of the characters 0 to 255."""
    return data.decode("latin-1")


def bytes_of(text: str) -> bytes:
    """Read them back, or raise :class:`RecordError`."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as wrong:
        raise RecordError(f"recorded bytes hold the character {text[wrong.start]!r}") from wrong


def _digest(before: str, line: bytes) -> str:
    return hashlib.blake2b(before.encode() + line, digest_size=16).hexdigest()


class SessionWriter:
    """Appends events to a new file; every line is with the system before the call returns."""

    def __init__(self, path: Path, made: str) -> None:
        try:
            self._file: IO[bytes] | None = path.open("xb")
        except FileExistsError as wrong:
            raise InputError(f"{path} exists; a recording never overwrites one") from wrong
        except OSError as wrong:
            raise InputError(f"cannot write {path}: {wrong.strerror}") from wrong
        self.path = path
        self.count = 0
        self._last = ""
        self._line({"format": _FORMAT, "v": _VERSION, "made": made})

    def write(self, event: Event) -> None:
        """Append one event."""
        self._line(msgspec.to_builtins(event))
        self.count += 1

    def close(self, at_s: float) -> None:
        """Write the last line and close; safe to call twice."""
        if self._file is not None:
            self.write(Event(self.count, "end", at_s=at_s, value=float(self.count)))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _line(self, fields: dict[str, Any]) -> None:
        if self._file is None:
            raise RecordError(f"{self.path}: the recording is closed")
        body = msgspec.json.encode(fields)
        self._last = _digest(self._last, body)
        try:
            self._file.write(body[:-1] + b',"h":"' + self._last.encode() + b'"}\n')
            self._file.flush()
        except OSError as wrong:
            # Without a record nothing may go on as if there were one.
            raise RecordError(f"cannot write {self.path}: {wrong.strerror}") from wrong


def read_session(path: Path) -> tuple[list[Event], bool]:
    """Return the events of a file, and whether it was closed in good order.

    Raises :class:`InputError` where it cannot be read and :class:`RecordError`, with the number of
    the line, where it is not what was written.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} is larger than {_MOST_BYTES} bytes")
        lines = path.read_bytes().split(b"\n")
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    torn = bool(lines[-1])
    events: list[Event] = []
    last, finished = "", False
    for number, line in enumerate(lines[:-1], start=1):
        body, _, tail = line.rpartition(b',"h":"')
        body += b"}"
        last = _digest(last, body)
        if finished or tail != last.encode() + b'"}':
            raise RecordError(f"{path}, line {number}: not the line that was recorded")
        if number == 1:
            _check_head(path, body)
            continue
        event = _event(path, number, body)
        finished = event.kind == "end"
        if finished and event.value != len(events):
            raise RecordError(f"{path}, line {number}: {event.value} events were written")
        if not finished:
            events.append(event)
    if len(lines) < 2:
        raise RecordError(f"{path} is no recorded session")
    return events, finished and not torn


def _check_head(path: Path, body: bytes) -> None:
    head = msgspec.json.decode(body)
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise RecordError(f"{path} is no recorded session")
    if head.get("v") != _VERSION:
        raise RecordError(f"{path} has version {head.get('v')}; {_VERSION} is known")


def _event(path: Path, number: int, body: bytes) -> Event:
    try:
        return msgspec.json.decode(body, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise RecordError(f"{path}, line {number}: {wrong}") from wrong

"""The audit log of a rack: append-only lines of JSON, each with the hash of the one before it.

A line holds both clocks, what was asked, by whom and under which lease, and what came of it. The
chain shows that a line was changed, taken out or put in; cutting off the end shows only against a
head that somebody kept, and nothing here proves who wrote a line.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from quantum.errors import InputError, RecordError

__all__ = ["AuditLog", "Verdict", "digest", "open_log", "verify"]

_START = "0" * 64
_LONGEST = 1024 * 1024


class Verdict(NamedTuple):
    """A log that holds: how many lines, and the hash of the last one."""

    lines: int
    head: str


class _Line(msgspec.Struct, frozen=True):
    n: int
    previous: str


def digest(value: object) -> str:
    """Return a short hash of an answer, as lines name it.

    >>> digest((1, 2))
    'cf4dabed2ce0'
    """
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


class AuditLog:
    """Appends lines; an ``OSError`` means that the line is not in the log."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._clock, self._utc = clock, utc
        self._number, self.head = 0, _START
        if path.exists():
            self._number, self.head = _tail(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._torn = False

    def append(self, event: str, *, sync: bool = False, **fields: Any) -> None:
        """Add a line, written before this returns; with ``sync`` it is on the disk."""
        if self._torn:
            raise OSError(f"{self.path} ends with half a line")
        line = {
            "n": self._number,
            "previous": self.head,
            "utc_s": round(self._utc(), 6),
            "monotonic_s": round(self._clock(), 6),
            "event": event,
            **fields,
        }
        body = msgspec.json.encode(line)
        written = os.write(self._file, body + b"\n")
        if written != len(body) + 1:
            # A full disk takes what fits: no further line may be glued to this half.
            self._torn = True
            raise OSError(f"{self.path} took {written} of {len(body) + 1} bytes")
        if sync:
            os.fsync(self._file)
        self._number += 1
        self.head = hashlib.sha256(body).hexdigest()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_log(path: Path) -> AuditLog:
    """Open a log, or raise :class:`InputError` where that cannot be."""
    try:
        return AuditLog(path)
    except OSError as wrong:
        raise InputError(f"cannot open the audit log {path}: {wrong.strerror}") from wrong


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(_LONGEST):
            yield line


def _tail(path: Path) -> tuple[int, str]:
    """Return how the next line begins; a last line that was not finished is cut off.

    Its writer died, or the disk was full. The rest is not verified: that may take long.
    """
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 2 * _LONGEST)
        file.seek(start)
        lines = file.read().split(b"\n")
        torn = lines.pop()
        if torn:
            file.truncate(size - len(torn))
    if not lines:
        return 0, _START
    try:
        last = msgspec.json.decode(lines[-1], type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise RecordError(f"{path}: the last line is not JSON: {wrong}") from wrong
    return last.n + 1, hashlib.sha256(lines[-1]).hexdigest()


def verify(path: Path) -> Verdict:
    """Check the chain of a log; :class:`RecordError` names the first line that is wrong."""
    number, head = 0, _START
    try:
        for line in _lines(path):
            where = f"{path}: line {number + 1}"
            if not line.endswith(b"\n"):
                raise RecordError(f"{where} is not finished")
            body = line[:-1]
            try:
                row = msgspec.json.decode(body, type=_Line)
            except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
                raise RecordError(f"{where} is not JSON: {wrong}") from wrong
            if row.n != number:
                raise RecordError(f"{where} has number {row.n}, expected {number}")
            if row.previous != head:
                raise RecordError(f"{where} does not follow the line before it")
            number, head = number + 1, hashlib.sha256(body).hexdigest()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    return Verdict(number, head)

"""Reads a journal: its rows in their order, the hash chain checked; writes nothing."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from controller.service.entries import Entry
from controller.service.entries import decoder as entries_decoder
from quantum.errors import InputError, RecordError

__all__ = ["FORMAT", "START", "chain", "decode", "kept", "read", "trimmed"]

FORMAT = "dpem-journal/1"
START = bytes(32)


def read(path: Path, decoder: Any = entries_decoder) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Walk a journal: the number and the entries of each row, the chain checked.

    ``decoder`` reads the entries of a row, those of a service by default.
    Raises :class:`RecordError` naming the first row that is wrong. Reads a journal in use, too.
    """
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
        with contextlib.closing(db):
            tables = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
            wanted = "SELECT value FROM meta WHERE key='format'"
            found = db.execute(wanted).fetchone() if tables else None
            if found is None or found[0] != FORMAT:
                raise InputError(f"{path} is no journal of a service")
            number, _ = trimmed(path, db)
            if number:
                yield number, tuple(kept(path, db))
            for n, body in chain(path, db):
                yield n, tuple(decode(path, n, body, decoder))
    except (sqlite3.Error, UnicodeDecodeError) as wrong:
        raise InputError(f"cannot read {path}: {wrong}") from wrong


def chain(path: Path, db: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    """Walk the rows: number and body; :class:`RecordError` names the first that is wrong."""
    number, head = trimmed(path, db)
    # Looked at first: a journal in use gets longer meanwhile.
    last, last_head = _noted(path, db, "last")
    # Whoever changed a row may have changed its type.
    rows = "SELECT n, CAST(hash AS BLOB), CAST(body AS BLOB) FROM batch ORDER BY n"
    for n, hash_, body in db.execute(rows):
        if n != number + 1:
            raise RecordError(f"{path}: row {n} follows row {number}")
        head = hashlib.sha256(head + (body or b"")).digest()
        if hash_ != head:
            raise RecordError(f"{path}: row {n} does not follow the row before it")
        if n == last and hash_ != last_head:
            raise RecordError(f"{path}: row {n} is another one than the journal noted")
        number = n
        yield n, body
    if number < last:
        raise RecordError(f"{path}: row {number + 1} is gone, the journal ended with row {last}")


def decode(path: Path, number: int, body: bytes, decoder: Any) -> tuple[Any, ...]:
    """Return the entries of a row."""
    try:
        return decoder.decode(body)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise RecordError(f"{path}: row {number} cannot be read: {wrong}") from wrong


def trimmed(path: Path, db: sqlite3.Connection) -> tuple[int, bytes]:
    """Return the last row that was taken away from the beginning: its number and its hash."""
    return _noted(path, db, "trimmed")


def _noted(path: Path, db: sqlite3.Connection, what: str) -> tuple[int, bytes]:
    """Return number and hash of a row that is noted beside the chain; the start of one if none."""
    found = dict(db.execute("SELECT key, value FROM meta WHERE key LIKE ?", (f"{what}_%",)))
    number, head = found.get(f"{what}_n", 0), found.get(f"{what}_hash", START)
    if not isinstance(number, int) or not isinstance(head, bytes):
        raise RecordError(f"{path}: what is noted of row {what} beside the chain cannot be read")
    return number, head


def kept(path: Path, db: sqlite3.Connection) -> Iterator[Entry]:
    """Return what is known of rows that were taken away."""
    found = db.execute("SELECT value FROM meta WHERE key = 'kept'").fetchone()
    if found is not None:
        try:
            yield from entries_decoder.decode(found[0])
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as wrong:
            raise RecordError(
                f"{path}: what is kept of rows that are gone cannot be read: {wrong}"
            ) from wrong

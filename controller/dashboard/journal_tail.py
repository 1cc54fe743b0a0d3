"""A service's journal as it grows: new rows in order, the hash chain checked, nobody kept waiting.

Every look is a connection of its own that only reads, and takes a bounded number of rows, so that
the service's own work on the file waits for no page.
"""

import contextlib
import hashlib
import sqlite3
from pathlib import Path

import msgspec

from controller.service.chain import FORMAT, START
from controller.service.entries import Entry
from quantum.errors import RecordError

__all__ = ["JournalTail"]

_MOST_ROWS = 2000
_PATIENCE_S = 1.0
_decoder: msgspec.msgpack.Decoder[tuple[Entry, ...]] = msgspec.msgpack.Decoder(tuple[Entry, ...])


class JournalTail:
    """Reads on in a journal; ``number`` is the last row that was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.restarted = False
        """Whether the last look began anew: another file, or rows went before they were read."""
        self._head = START
        self._file: tuple[int, int] | None = None

    def look(self) -> tuple[list[Entry], bool]:
        """Return the entries of new rows, and whether more may be there at once.

        Raises :class:`RecordError` naming the row that is wrong, or why the file cannot be read.
        """
        self.restarted = False
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return [], False
        except OSError as wrong:
            raise RecordError(f"{self.path.name} cannot be read: {wrong.strerror}") from wrong
        if self._file != (found.st_dev, found.st_ino):
            self.restarted = self._file is not None
            self._file = (found.st_dev, found.st_ino)
            self.number, self._head = 0, START
        try:
            where = f"{self.path.resolve().as_uri()}?mode=ro"
            db = sqlite3.connect(where, uri=True, timeout=_PATIENCE_S, isolation_level=None)
            with contextlib.closing(db):
                return self._rows(db)
        except sqlite3.OperationalError as wrong:
            # A service that begins has not made its tables yet, or is just busy.
            if "no such table" in str(wrong) or "locked" in str(wrong) or "busy" in str(wrong):
                return [], False
            raise RecordError(f"{self.path.name} cannot be read: {wrong}") from wrong
        except sqlite3.Error as wrong:
            raise RecordError(f"{self.path.name} cannot be read: {wrong}") from wrong

    def _rows(self, db: sqlite3.Connection) -> tuple[list[Entry], bool]:
        # One transaction, so that what was trimmed and what is left belong together.
        db.execute("BEGIN")
        told = dict(db.execute("SELECT key, value FROM meta").fetchall())
        if told.get("format") != FORMAT:
            if not told:
                return [], False
            raise RecordError(f"{self.path.name} is no journal of a service")
        entries: list[Entry] = []
        trimmed = int(told.get("trimmed_n", 0))
        if trimmed > self.number:
            self.restarted = self.restarted or self.number > 0
            self.number, self._head = trimmed, bytes(told["trimmed_hash"])
            entries += self._decode(trimmed, bytes(told.get("kept", b"\x90")))
        rows = db.execute(
            "SELECT n, CAST(hash AS BLOB), CAST(body AS BLOB) FROM batch WHERE n > ? "
            "ORDER BY n LIMIT ?",
            (self.number, _MOST_ROWS),
        ).fetchall()
        for n, hash_, body in rows:
            head = hashlib.sha256(self._head + body).digest()
            if n != self.number + 1 or hash_ != head:
                raise RecordError(f"{self.path.name}: row {n} does not follow the row before it")
            entries += self._decode(n, body)
            self.number, self._head = n, head
        return entries, len(rows) == _MOST_ROWS

    def _decode(self, number: int, body: bytes) -> tuple[Entry, ...]:
        try:
            return _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise RecordError(f"{self.path.name}: row {number} cannot be read: {wrong}") from wrong

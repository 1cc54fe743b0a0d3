"""The journal of a service: what was answered, on disk before the answer leaves.

An SQLite file in WAL mode. All that one turn of the loop answers is one row of the table ``batch``,
written by one statement that is a transaction of its own, so the cost of the disk is shared by
whoever came together (group commit). Rows are a hash chain: each holds SHA-256 of the hash before
it and its own body. ``synchronous`` is NORMAL, which survives a process that is killed at any
moment; a ``durable`` journal uses FULL, which survives a power cut.

The log is moved into the file by a thread; no answer waits for it. Once a second, and when it is
closed, a journal notes beside the chain what its last row is (:meth:`Journal.mark`).

A journal keeps a read of its own open. Without one SQLite takes and gives back the lock of a reader
for every statement, which is a quarter of what a short row costs. The log can be moved only up to
where the read began, so it begins anew every few rows. It also keeps the log from beginning anew
by itself, as it does while few rows come, so it is open only while many do: otherwise every journal
would need room for a long log.
"""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from controller.service.chain import FORMAT, chain, decode, kept, trimmed
from controller.service.entries import (
    Difference,
    Entry,
    Kept,
    Known,
    Started,
    encoder,
)
from controller.service.entries import decoder as entries_decoder
from controller.service.moving import Mover, move_rest
from quantum.errors import InputError, RecordError
from quantum.locks import hold

__all__ = ["Journal", "JournalFull"]

#: A log that was longer, because somebody read for long, is cut to so many bytes.
_LOG_BYTES = 256 * 1024 * 1024
#: Bytes of a page: a row alone writes one page or two, and the longest rows a few dozen.
_PAGE_BYTES = 2048
_INSERT = "INSERT INTO batch VALUES(?,?,?)"
#: The read that stays open begins anew after so many rows.
_READ_ROWS = 32
#: It does so while these rows came within so long; else there is none.
_READ_S = 0.016
_READ = "SELECT 1 FROM meta, (VALUES(1), (2))"
#: Rows that may go are taken away so many at a time, and for so long at a stretch.
_ROWS, _STRETCH_S = 64, 0.003


class JournalFull(Exception):
    """The journal could not be written: what was to be written is not in it."""


class Journal:
    """Appends batches of entries; one process at a time."""

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = False,
        keep_bytes: int = 1024 * 1024 * 1024,
        decoder: Any = entries_decoder,
    ) -> None:
        self.path, self.durable, self._keep_bytes = path, durable, keep_bytes
        self._decoder = decoder
        self._lock = _lock(path)
        try:
            self._db = _open(path)
            self._db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA journal_mode=WAL")
            # A thread does this.
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            self._db.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
            # Who is killed again and again never came to it.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS batch"
                "(n INTEGER PRIMARY KEY, hash BLOB NOT NULL, body BLOB NOT NULL)"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB)")
            self._db.execute("INSERT OR IGNORE INTO meta VALUES('format', ?)", (FORMAT,))
            last = self._db.execute("SELECT n, hash FROM batch ORDER BY n DESC LIMIT 1").fetchone()
            if last is None:
                last = trimmed(path, self._db)
            self.number, self.head = int(last[0]), bytes(last[1])
        except (sqlite3.Error, RecordError, TypeError, ValueError) as wrong:
            os.close(self._lock)
            if isinstance(wrong, RecordError):
                raise
            raise InputError(f"cannot open the journal {path}: {wrong}") from wrong
        # Only who has written says where the end is: one that was cut short stays found.
        self._marked = self.number
        self._started = Started(0, "", 0, 0.0, 0.0)
        self._stop = 0
        self._mover = Mover(path)
        self._read = self._db.cursor()
        self._read_s = time.monotonic()

    def append(self, entries: list[Any]) -> int:
        """Write entries as one transaction and return its number.

        Raises :class:`JournalFull` where that cannot be; then none of them is in the journal.
        """
        if self._mover.nearly:
            self._mover.nearly = False
            self._let_go()
            move_rest(self._db)
        body = encoder.encode(entries)
        head = hashlib.sha256(self.head + body).digest()
        # SQLite's module takes arrays as they are, and looks first whether bytes are to be adapted.
        row = self.number + 1, bytearray(head), bytearray(body)
        try:
            self._insert(row)
        except sqlite3.Error as wrong:
            raise JournalFull(f"{self.path}: {wrong}") from wrong
        self.number, self.head = self.number + 1, head
        if self.number % _READ_ROWS == 0:
            self._read_anew()
        return self.number

    def _insert(self, row: tuple[int, bytearray, bytearray]) -> None:
        try:
            self._db.execute(_INSERT, row)
        except sqlite3.Error as wrong:
            # Nobody writes in whose view of the file is older than what somebody else has written
            # there, and a full disk may have room again once the log begins anew.
            self._let_go()
            if getattr(wrong, "sqlite_errorcode", 0) != sqlite3.SQLITE_BUSY_SNAPSHOT:
                raise
            self._db.execute(_INSERT, row)

    def _let_go(self) -> None:
        """End the read that is open, until there is another one."""
        self._read.close()
        self._read = self._db.cursor()

    def _read_anew(self) -> None:
        """Begin the read anew while many rows come, keep none open while few do."""
        then_s, self._read_s = self._read_s, time.monotonic()
        if self._read_s - then_s > _READ_S:
            self._let_go()
        else:
            with contextlib.suppress(sqlite3.Error):
                self._read.execute(_READ)

    def begin(self, started: Started, lost: Iterable[Entry] = ()) -> None:
        """Note that a service starts, and what was lost with the one before it."""
        self.append([started, *lost])
        self._started = started

    def entries(self) -> Iterator[Entry]:
        """Return what was needed when the journal was last tidied, and all since."""
        found = self._db.execute("SELECT value FROM meta WHERE key='needed'").fetchone()
        first = int(found[0]) if found else 0
        yield from kept(self.path, self._db)
        for number, body in self._db.execute(
            "SELECT n, body FROM batch WHERE n >= ? ORDER BY n", (first,)
        ):
            yield from decode(self.path, number, body, self._decoder)

    def all_entries(self) -> Iterator[Entry]:
        """Return every entry that is there, the chain checked: nobody goes on from a changed one.

        Raises :class:`RecordError` naming the first row that is wrong.
        """
        yield from kept(self.path, self._db)
        try:
            for number, body in chain(self.path, self._db):
                yield from decode(self.path, number, body, self._decoder)
        except sqlite3.Error as wrong:
            raise InputError(f"cannot read {self.path}: {wrong}") from wrong

    def mark(self) -> None:
        """Note which row is the last, so that rows that are gone from the end are missed."""
        if self._marked == self.number:
            return
        with contextlib.suppress(sqlite3.Error):
            with _transaction(self._db):
                _note(self._db, last_n=self.number, last_hash=self.head)
            self._marked = self.number

    def tidy(
        self,
        needed: int,
        clients: tuple[Known, ...],
        sequence: int,
        job: int = 0,
        changed: tuple[int, Difference] = (0, Difference()),
    ) -> None:
        """Note that batches before ``needed`` hold nothing that a retry could ask for.

        Where the file is too long the oldest of them may go (:meth:`trim`). ``clients`` are all
        that have a number, ``sequence`` is that of the last pair and ``job`` that of the last job,
        ``changed`` how often and how the network was changed.
        """
        with contextlib.suppress(sqlite3.Error):
            kept = encoder.encode((Kept(self._started, sequence, clients, job, *changed),))
            with _transaction(self._db):
                _note(self._db, needed=needed, kept=kept)
            pages = self._db.execute("PRAGMA page_count").fetchone()[0]
            free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
            size = self._db.execute("PRAGMA page_size").fetchone()[0]
            if (pages - free) * size > self._keep_bytes:
                lowest = self._db.execute("SELECT min(n) FROM batch").fetchone()[0]
                self._stop = min(needed, lowest + (self.number - lowest) // 4)

    def trim(self) -> None:
        """Take away some of the oldest rows of a file that is too long: a quarter, bit by bit.

        Nobody waits for long; call it again and again.
        """
        if not self._stop:
            return
        until_s = time.perf_counter() + _STRETCH_S
        try:
            while time.perf_counter() < until_s:
                lowest = self._db.execute("SELECT min(n) FROM batch").fetchone()[0]
                stop = min(self._stop, lowest + _ROWS)
                if stop <= lowest:
                    self._stop = 0
                    return
                self._take_away(stop)
        except sqlite3.Error:
            # A full disk: when there is room, tidying asks for it again.
            self._stop = 0

    def _take_away(self, stop: int) -> None:
        """Take away the rows before ``stop``, and note the hash that the chain begins from."""
        found = self._db.execute("SELECT hash FROM batch WHERE n = ?", (stop - 1,)).fetchone()
        with _transaction(self._db):
            _note(self._db, trimmed_n=stop - 1, trimmed_hash=found[0])
            self._db.execute("DELETE FROM batch WHERE n < ?", (stop,))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._lock < 0:
            return
        self._mover.close()
        self._read.close()
        self.mark()
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._db.close()
        os.close(self._lock)
        self._lock = -1


def _open(path: Path) -> sqlite3.Connection:
    made = not path.exists()
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    if made:
        path.chmod(0o600)
    return db


def _lock(path: Path) -> int:
    """Keep other processes off the journal for as long as this one lives."""
    try:
        handle = hold(Path(f"{path}.lock"))
    except OSError as wrong:
        raise InputError(f"cannot open the journal {path}: {wrong.strerror}") from wrong
    if handle is None:
        raise InputError(f"the journal {path} is in use by another service")
    return handle


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done within, or take it back: also where the commit itself fails."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        yield


def _note(db: sqlite3.Connection, **values: int | bytes) -> None:
    """Write what is known beside the chain."""
    db.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", values.items())

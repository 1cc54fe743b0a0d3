"""The journal of a service: what was answered, on disk before the answer leaves.

An SQLite file in WAL mode. All that one turn of the loop answers is one row of the table ``batch``,
written by one statement that is a transaction of its own, so the cost of the disk is shared by
whoever came together (group commit). Rows are a hash chain: each holds SHA-256 of the hash before
it and its own body. ``synchronous`` is NORMAL, which survives a process that is killed at any
moment; a ``durable`` journal uses FULL, which survives a power cut.

The log is moved into the file by a thread; no answer waits for it.
"""

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from quantum.errors import InputError, RecordError
from quantum.locks import hold

__all__ = [
    "FORMAT",
    "START",
    "Answered",
    "Entry",
    "Expiry",
    "Journal",
    "JournalFull",
    "Kept",
    "Known",
    "Sent",
    "Settled",
    "Started",
    "read",
]

FORMAT = "dpem-journal/1"
START = bytes(32)
#: The thread looks so often whether the log should be moved.
_MOVE_S = 2.0
#: A log of so many bytes is moved by whoever writes next, while everybody waits.
_LONGEST_LOG = 256 * 1024 * 1024


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of what stands in the body of a row."""


class Started(Record, frozen=True, tag="start"):
    """The service began: for the ``epoch``-th time on this journal, on which network.

    ``now_s`` is its clock, on which deadlines are; it begins anew when the machine does. With
    ``workers`` pairs are executed after they were granted, else at once.
    """

    epoch: int
    network: str
    seed: int
    utc_s: float
    now_s: float
    workers: bool = False


class Known(Record, frozen=True, tag="known"):
    """From here on a client goes by a number."""

    client: int
    public: str
    name: str


class Answered(Record, frozen=True, tag="answer"):
    """A request and its answer, as they were and are on the wire.

    Given at ``now_s`` of the service's clock, and remembered for ``keep_s`` from then on.
    """

    client: int
    ask: bytes
    answer: bytes
    keep_s: float
    now_s: float


class Sent(Record, frozen=True, tag="sent"):
    """A job leaves for a worker: these granted pairs, and tests. No job leaves twice."""

    job: int
    pairs: tuple[int, ...]


class Expiry(Record, frozen=True, tag="expired"):
    """Pairs that were granted to a client do not exist; ``said`` is the frame that tells it."""

    client: int
    said: bytes


class Settled(Record, frozen=True, tag="settled"):
    """A job was answered, or given up: its pairs that have not expired by now were executed."""

    job: int


class Kept(Record, frozen=True, tag="kept"):
    """What has to be known of rows that are gone: last start, last pair and job, who is who."""

    started: Started
    sequence: int
    clients: tuple[Known, ...]
    job: int = 0


Entry = Started | Known | Answered | Sent | Expiry | Settled | Kept

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[tuple[Entry, ...]] = msgspec.msgpack.Decoder(tuple[Entry, ...])


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
        decoder: Any = _decoder,
    ) -> None:
        self.path, self.durable, self._keep_bytes = path, durable, keep_bytes
        self._decoder = decoder
        self._lock = _lock(path)
        try:
            self._db = _open(path)
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA journal_mode=WAL")
            # The thread does this.
            self._db.execute("PRAGMA wal_autocheckpoint=0")
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
                last = _trimmed(self._db)
        except sqlite3.Error as wrong:
            os.close(self._lock)
            raise InputError(f"cannot open the journal {path}: {wrong}") from wrong
        self.number, self.head = int(last[0]), bytes(last[1])
        self._started = Started(0, "", 0, 0.0, 0.0)
        self._over = threading.Event()
        self._mover = threading.Thread(target=self._move, name="journal", daemon=True)
        self._mover.start()

    def append(self, entries: list[Any]) -> int:
        """Write entries as one transaction and return its number.

        Raises :class:`JournalFull` where that cannot be; then none of them is in the journal.
        """
        body = _encoder.encode(entries)
        head = hashlib.sha256(self.head + body).digest()
        try:
            self._db.execute("INSERT INTO batch VALUES(?,?,?)", (self.number + 1, head, body))
        except sqlite3.Error as wrong:
            raise JournalFull(f"{self.path}: {wrong}") from wrong
        self.number, self.head = self.number + 1, head
        return self.number

    def begin(self, started: Started, lost: Iterable[Entry] = ()) -> None:
        """Note that a service starts, and what was lost with the one before it."""
        self.append([started, *lost])
        self._started = started

    def entries(self) -> Iterator[Entry]:
        """Return what was needed when the journal was last tidied, and all since."""
        found = self._db.execute("SELECT value FROM meta WHERE key='needed'").fetchone()
        first = int(found[0]) if found else 0
        yield from _kept(self._db)
        for number, body in self._db.execute(
            "SELECT n, body FROM batch WHERE n >= ? ORDER BY n", (first,)
        ):
            yield from _decode(self.path, number, body, self._decoder)

    def all_entries(self) -> Iterator[Entry]:
        """Return every entry that is there."""
        yield from _kept(self._db)
        for number, body in self._db.execute("SELECT n, body FROM batch ORDER BY n"):
            yield from _decode(self.path, number, body, self._decoder)

    def tidy(self, needed: int, clients: tuple[Known, ...], sequence: int, job: int = 0) -> None:
        """Note that batches before ``needed`` hold nothing that a retry could ask for.

        Where the file is too long the oldest of them go. ``clients`` are all that have a number,
        ``sequence`` is that of the last pair and ``job`` that of the last job.
        """
        with contextlib.suppress(sqlite3.Error):
            kept = _encoder.encode((Kept(self._started, sequence, clients, job),))
            with _transaction(self._db):
                for key, value in (("needed", needed), ("kept", kept)):
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))
            pages = self._db.execute("PRAGMA page_count").fetchone()[0]
            free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
            size = self._db.execute("PRAGMA page_size").fetchone()[0]
            if (pages - free) * size > self._keep_bytes:
                self._trim(needed)
        log = Path(f"{self.path}-wal")
        with contextlib.suppress(sqlite3.Error, OSError):
            if log.stat().st_size > _LONGEST_LOG:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _trim(self, needed: int) -> None:
        """Take away a quarter of the rows, or as many as are not needed."""
        lowest = self._db.execute("SELECT min(n) FROM batch").fetchone()[0]
        stop = min(needed, lowest + (self.number - lowest) // 4)
        found = self._db.execute("SELECT hash FROM batch WHERE n = ?", (stop - 1,)).fetchone()
        if stop <= lowest or found is None:
            return
        with _transaction(self._db):
            for key, value in (("trimmed_n", stop - 1), ("trimmed_hash", found[0])):
                self._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))
            self._db.execute("DELETE FROM batch WHERE n < ?", (stop,))

    def _move(self) -> None:
        """Move the log into the file again and again, on a connection of its own."""
        with contextlib.suppress(sqlite3.Error):
            db = sqlite3.connect(self.path, isolation_level=None, timeout=0.0)
            while not self._over.wait(_MOVE_S):
                # A full disk, or somebody who reads: the next time will do.
                with contextlib.suppress(sqlite3.Error):
                    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            db.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._lock < 0:
            return
        self._over.set()
        self._mover.join(5.0)
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._db.close()
        os.close(self._lock)
        self._lock = -1


def read(path: Path, decoder: Any = _decoder) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Walk a journal: the number and the entries of each row, the chain checked.

    ``decoder`` reads the entries of a row, those of a service by default.
    Raises :class:`RecordError` naming the first row that is wrong. Reads a journal in use, too.
    """
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
        with contextlib.closing(db):
            found = db.execute("SELECT value FROM meta WHERE key='format'").fetchone()
            if found is None or found[0] != FORMAT:
                raise InputError(f"{path} is no journal of a service")
            number, head = _trimmed(db)
            if number:
                yield number, tuple(_kept(db))
            # Whoever changed a row may have changed its type.
            rows = "SELECT n, CAST(hash AS BLOB), CAST(body AS BLOB) FROM batch ORDER BY n"
            for n, hash_, body in db.execute(rows):
                if n != number + 1:
                    raise RecordError(f"{path}: row {n} follows row {number}")
                head = hashlib.sha256(head + body).digest()
                if hash_ != head:
                    raise RecordError(f"{path}: row {n} does not follow the row before it")
                number = n
                yield n, tuple(_decode(path, n, body, decoder))
    except sqlite3.Error as wrong:
        raise InputError(f"cannot read {path}: {wrong}") from wrong


def _decode(path: Path, number: int, body: bytes, decoder: Any) -> tuple[Any, ...]:
    try:
        return decoder.decode(body)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise RecordError(f"{path}: row {number} cannot be read: {wrong}") from wrong


def _trimmed(db: sqlite3.Connection) -> tuple[int, bytes]:
    found = dict(db.execute("SELECT key, value FROM meta WHERE key LIKE 'trimmed%'").fetchall())
    return int(found.get("trimmed_n", 0)), bytes(found.get("trimmed_hash", START))


def _kept(db: sqlite3.Connection) -> Iterator[Entry]:
    found = db.execute("SELECT value FROM meta WHERE key = 'kept'").fetchone()
    if found is not None:
        yield from _decoder.decode(found[0])


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
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")

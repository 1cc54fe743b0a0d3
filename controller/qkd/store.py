"""The keys of one key management entity (KME), in SQLite: what is there, and who got what.

Material is the bits that two nodes agreed on, in blocks that both number alike. One of them hands
out keys from a block, the other follows: so two entities never cut the same bits in two ways. A
key is handed to its master once and to each of its slaves once, and is erased when all have it.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from quantum.errors import InputError

__all__ = ["Cut", "KeyStore", "NoKeys"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS material (
    peer TEXT NOT NULL, block INTEGER NOT NULL, mine INTEGER NOT NULL,
    bits BLOB NOT NULL, used INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (peer, block));
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, peer TEXT NOT NULL, block INTEGER NOT NULL, start INTEGER NOT NULL,
    master TEXT NOT NULL, bits BLOB);
CREATE TABLE IF NOT EXISTS slaves (
    id TEXT NOT NULL, slave TEXT NOT NULL, given INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (id, slave));
CREATE TABLE IF NOT EXISTS answers (
    who TEXT NOT NULL, token TEXT NOT NULL, question BLOB NOT NULL, answer BLOB NOT NULL,
    until_s REAL NOT NULL, PRIMARY KEY (who, token));
"""


class NoKeys(Exception):
    """There is not as much material as was asked for."""


class Cut(NamedTuple):
    """A key that one side cut out of a block: what the other needs to find the same bits.

    ``block`` and ``start`` (bytes from its begin); ``size_bytes`` of the key.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f\-]{36}$")]
    block: Annotated[int, msgspec.Meta(ge=0)]
    start: Annotated[int, msgspec.Meta(ge=0)]
    size_bytes: Annotated[int, msgspec.Meta(ge=1)]


class KeyStore:
    """One file; several threads may use it in turn. Written through before anything is told."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        try:
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # Erased keys are overwritten; a write-ahead log would go on holding them.
            self._base.execute("PRAGMA journal_mode=TRUNCATE")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute("PRAGMA secure_delete=ON")
            self._base.executescript(_SCHEMA)
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as wrong:
            raise InputError(f"cannot use key store {path}: {wrong}") from wrong

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Do several things or none of them."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def put(self, peer: str, block: int, bits: bytes, *, mine: bool) -> None:
        """Keep a block agreed with ``peer``; ``mine``: this side hands out its keys.

        A block that is there already is refused, so that no bits are handed out twice.
        """
        try:
            self._base.execute(
                "INSERT INTO material (peer, block, mine, bits) VALUES (?, ?, ?, ?)",
                (peer, block, int(mine), bits),
            )
        except sqlite3.IntegrityError as wrong:
            raise InputError(f"the store has block {block} with {peer} already") from wrong

    def next_block(self, peer: str) -> int:
        """Return the number that no block with ``peer`` had yet."""
        (last,) = self._base.execute(
            "SELECT COALESCE(MAX(block), -1) FROM material WHERE peer = ?", (peer,)
        ).fetchone()
        return int(last) + 1

    def stored_bytes(self, peer: str) -> int:
        """Return how many bytes of keys this side can still hand out with ``peer``."""
        (size,) = self._base.execute(
            "SELECT COALESCE(SUM(length(bits) - used), 0) FROM material WHERE peer = ? AND mine",
            (peer,),
        ).fetchone()
        return int(size)

    def cut(self, peer: str, ids: list[str], size_bytes: int) -> list[Cut]:
        """Cut one key for each id, all or none of them; :class:`NoKeys` where there is too little.

        What does not fill a key at the end of a block is left alone. Call inside :meth:`whole`.
        """
        rows = self._base.execute(
            "SELECT block, used, length(bits) FROM material "
            "WHERE peer = ? AND mine AND length(bits) - used >= ? ORDER BY block",
            (peer, size_bytes),
        ).fetchall()
        cuts: list[Cut] = []
        for block, used, size in rows:
            while size - used >= size_bytes and len(cuts) < len(ids):
                cuts.append(Cut(ids[len(cuts)], block, used, size_bytes))
                used += size_bytes
            self._use(peer, block, used)
        if len(cuts) < len(ids):
            raise NoKeys
        return cuts

    def follow(self, peer: str, cut: Cut) -> None:
        """Mark bits that the other side cut; InputError where they are not there or not its own."""
        row = self._base.execute(
            "SELECT used, length(bits), mine FROM material WHERE peer = ? AND block = ?",
            (peer, cut.block),
        ).fetchone()
        if row is None or row[2] or cut.start < row[0] or cut.start + cut.size_bytes > row[1]:
            raise InputError(f"key {cut.id}: block {cut.block} with {peer} has no such bits")
        self._use(peer, cut.block, cut.start + cut.size_bytes)

    def _use(self, peer: str, block: int, used: int) -> None:
        self._base.execute(
            "UPDATE material SET used = ? WHERE peer = ? AND block = ?", (used, peer, block)
        )

    def assign(self, peer: str, cut: Cut, master: str, slaves: tuple[str, ...]) -> None:
        """Turn cut bits into a key of a master and its slaves; the material forgets them."""
        (bits,) = self._base.execute(
            "SELECT bits FROM material WHERE peer = ? AND block = ?", (peer, cut.block)
        ).fetchone()
        stop = cut.start + cut.size_bytes
        self._base.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)",
            (cut.id, peer, cut.block, cut.start, master, bits[cut.start : stop]),
        )
        self._base.executemany(
            "INSERT INTO slaves (id, slave) VALUES (?, ?)", [(cut.id, who) for who in slaves]
        )
        erased = bits[: cut.start] + bytes(cut.size_bytes) + bits[stop:]
        self._base.execute(
            "UPDATE material SET bits = ? WHERE peer = ? AND block = ?", (erased, peer, cut.block)
        )

    def known(self, key: str) -> bool:
        """Tell whether a key of this id was ever assigned here."""
        return self._base.execute("SELECT 1 FROM keys WHERE id = ?", (key,)).fetchone() is not None

    def take(self, key: str, master: str, slave: str) -> bytes | None:
        """Hand a key to a slave, once; None where it is not this slave's to have, or gone.

        The bits are erased when every slave on this side has them. Call inside :meth:`whole`.
        """
        row = self._base.execute(
            "SELECT keys.bits FROM keys JOIN slaves ON slaves.id = keys.id "
            "WHERE keys.id = ? AND keys.master = ? AND slaves.slave = ? AND NOT slaves.given",
            (key, master, slave),
        ).fetchone()
        if row is None or row[0] is None:
            return None
        self._base.execute("UPDATE slaves SET given = 1 WHERE id = ? AND slave = ?", (key, slave))
        self._erase(key)
        return bytes(row[0])

    def give_master(self, key: str) -> bytes:
        """Hand a key to its master; on this side it is erased unless slaves of it are here too."""
        (bits,) = self._base.execute("SELECT bits FROM keys WHERE id = ?", (key,)).fetchone()
        self._erase(key)
        return bytes(bits)

    def _erase(self, key: str) -> None:
        self._base.execute(
            "UPDATE keys SET bits = NULL WHERE id = ? AND NOT EXISTS "
            "(SELECT 1 FROM slaves WHERE slaves.id = keys.id AND NOT given)",
            (key,),
        )

    def answered(self, who: str, token: str, question: bytes) -> bytes | None:
        """Return what was answered to the same question with the same token a short while ago.

        :class:`InputError` where the token came with another question.
        """
        self.forget()
        row = self._base.execute(
            "SELECT question, answer FROM answers WHERE who = ? AND token = ?", (who, token)
        ).fetchone()
        if row is None:
            return None
        if bytes(row[0]) != question:
            raise InputError("this Idempotency-Key came with another request before")
        return bytes(row[1])

    def remember(
        self, who: str, token: str, question: bytes, answer: bytes, lasts_s: float
    ) -> None:
        """Keep an answer for whoever asks again because it was lost on the way."""
        self._base.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
            (who, token, question, answer, self._clock() + lasts_s),
        )

    def forget(self) -> None:
        """Erase answers that were kept long enough: they hold keys."""
        self._base.execute("DELETE FROM answers WHERE until_s < ?", (self._clock(),))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._base.close()

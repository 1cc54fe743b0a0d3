"""Moving a journal's log into its file while the journal is written.

SQLite begins its log anew only when all of it is in the file at the moment of the next write. A
journal that is written all the time never comes to that by itself: what a thread has moved is not
the end any more when it is done. So the thread moves nearly all of it, again and again, and says
so; the writer then moves the few pages that are left, in a moment, and the log begins anew.
"""

import contextlib
import sqlite3
import threading
from pathlib import Path

__all__ = ["Mover", "move_rest"]

#: The thread looks so often whether the log should be moved.
_MOVE_S = 2.0
#: Pages of a log that is worth beginning anew, and the part of it that a writer moves himself, but
#: never more than so many: answers wait for it.
_LONG, _FEW, _MOST = 32768, 1 / 16, 8192
#: Whoever writes faster than this many passes can move is asked again later. Each pass moves what
#: came during the one before, so they become shorter and shorter.
_PASSES = 30


class Mover:
    """A thread that moves the log of the journal at ``path``, on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._over = threading.Event()
        self.nearly = False
        """Whether few pages are left of a long log; whoever moves them says that it is not."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            db = sqlite3.connect(self._path, isolation_level=None, timeout=0.0)
            while not self._over.wait(_MOVE_S):
                # A full disk, or somebody who reads: the next time will do.
                with contextlib.suppress(sqlite3.Error):
                    self._move(db)
            db.close()

    def _move(self, db: sqlite3.Connection) -> None:
        moved = 0
        for _ in range(_PASSES):
            _, pages, now = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # Pages that came while the pass before this one was under way. Those that could not be
            # moved somebody reads: the writer himself only the newest few.
            left, held, moved = pages - moved, pages - now, now
            few = min(_FEW * pages, _MOST)
            if left <= few or held > few:
                break
        self.nearly = pages >= _LONG and left <= few and held <= few

    def close(self) -> None:
        """End the thread; safe to call twice."""
        self._over.set()
        self._thread.join(5.0)


def move_rest(db: sqlite3.Connection) -> None:
    """Move what the thread has left: the next write begins the log anew, unless somebody reads."""
    with contextlib.suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

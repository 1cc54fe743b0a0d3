"""The journal's housekeeping: its log, and rows that go when it is too long."""

import contextlib
import math
import shutil
import sqlite3
from pathlib import Path

import pytest
from service_stage import ask, desk_on, session_of, settled

from controller.service import journal as journals
from controller.service import moving
from controller.service.chain import read
from controller.service.checking import check
from controller.service.entries import Known, Started
from controller.service.journal import Journal, JournalFull
from controller.service.terms import Terms
from quantum.errors import RecordError

TERMS = Terms(load_hz=20.0)


def test_the_log_of_a_service_that_was_killed_is_moved_when_the_next_one_starts(journal, tmp_path):
    for epoch in range(1, 200):
        journal.append([Started(epoch, "net", 0, 0.0, 0.0)])
    # What a killed process leaves: the files as they are, and no lock.
    for end in ("", "-wal"):
        shutil.copy(f"{journal.path}{end}", f"{tmp_path / 'left.db'}{end}")
    log = tmp_path / "left.db-wal"
    assert log.stat().st_size > 100_000
    again = Journal(tmp_path / "left.db")
    assert log.stat().st_size == 0 and again.number == journal.number
    assert [entry.epoch for entry in again.all_entries()] == list(range(1, 200))
    again.close()


def test_the_log_begins_anew_though_the_journal_is_written_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(moving, "_LONG", 64)
    monkeypatch.setattr(journals, "_READ_S", math.inf)
    journal = Journal(tmp_path / "journal.db")
    mover, log = journal._mover, Path(f"{journal.path}-wal")
    mover.close()

    def write(rows):
        for _ in range(rows):
            journal.append([Started(1, "n" * 400, 0, 0.0, 0.0)])

    db = sqlite3.connect(journal.path, isolation_level=None)
    sizes = []
    for _ in range(4):
        write(1000)
        mover._move(db)
        assert mover.nearly
        # What comes before the writer looks again is left to him.
        mover.nearly = False
        write(10)
        mover.nearly = True
        write(1)
        assert not mover.nearly
        sizes.append(log.stat().st_size)
    assert max(sizes) < 1.2 * sizes[0], sizes
    db.close()
    journal.close()
    assert len(list(read(journal.path))) == 4 * 1011


@pytest.mark.parametrize("many", [True, False])
def test_a_log_may_begin_anew_while_few_rows_come(journal, monkeypatch, many):
    monkeypatch.setattr(journals, "_READ_S", math.inf if many else -1.0)
    for _ in range(64):
        journal.append([Started(1, "net", 0, 0.0, 0.0)])
    with contextlib.closing(sqlite3.connect(journal.path, timeout=0.0)) as other:
        busy, pages, moved = other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    assert (busy, pages) == (int(many), moved)


def test_who_writes_beside_the_chain_keeps_nobody_out(journal, monkeypatch):
    monkeypatch.setattr(journals, "_READ_S", math.inf)
    # Programs that copy databases as they grow do so.
    other = sqlite3.connect(journal.path, isolation_level=None)
    for number in range(70):
        journal.append([Started(1, "net", 0, 0.0, 0.0)])
        other.execute(f"CREATE TABLE beside_{number}(x)")
    other.close()
    journal.close()
    assert len(list(read(journal.path))) == 70
    # Which row is the last is noted all the same.
    with contextlib.closing(sqlite3.connect(journal.path, isolation_level=None)) as db:
        db.execute("DELETE FROM batch WHERE n = 70")
    with pytest.raises(RecordError, match="row 70 is gone"):
        list(read(journal.path))


def test_a_journal_that_could_not_be_written_reads_nothing_on(journal, monkeypatch):
    monkeypatch.setattr(journals, "_READ_S", math.inf)
    for _ in range(64):
        journal.append([Started(1, "net", 0, 0.0, 0.0)])
    other = sqlite3.connect(journal.path, isolation_level=None, timeout=0.0)
    journal._db.execute("PRAGMA busy_timeout=0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalFull):
        journal.append([Started(1, "net", 0, 0.0, 0.0)])
    other.execute("ROLLBACK")
    # All of the log can be moved, and the next row begins it anew: it takes no room on the disk.
    busy, pages, moved = other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    assert (busy, pages) == (0, moved)
    other.close()
    assert journal.append([Started(1, "net", 0, 0.0, 0.0)]) == 65


def test_rows_go_bit_by_bit_and_the_chain_holds_in_between(tmp_path):
    journal = Journal(tmp_path / "journal.db", keep_bytes=20_000)
    journal.begin(Started(1, "net", 0, 0.0, 0.0))
    for _ in range(2_000):
        journal.append([Known(1, "k" * 40, "ada")])
    journal.tidy(journal.number, (Known(1, "k" * 40, "ada"),), 7)
    left = [len(list(read(journal.path)))]
    while left[-1] != (left[-2] if len(left) > 1 else 0):
        journal.trim()
        left.append(len(list(read(journal.path))))
    # A quarter; what has to be known of it is read in its place.
    assert left[0] == 2_001 and left[-1] == 2_001 - 500 + 1
    journal.close()


def test_a_journal_that_is_too_long_forgets_its_beginning(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path, keep_bytes=20_000)
    desk = desk_on(journal, Terms(load_hz=20.0, most_s=1.0, grace_s=0.0, remembered=10_000))
    session, now_s = session_of(desk), 0.0
    for number in range(400):
        now_s += 0.1
        frame = ask(session, number, deadline_s=now_s + 0.5)
        settled(desk, [*desk.hear([(b"x", frame)], now_s), *desk.turn(now_s)], now_s)
    journal.close()
    proof = check(path)
    assert proof.rows >= 400 and proof.answers < 400
    again = Journal(path, keep_bytes=20_000)
    assert again.number == proof.rows
    desk_on(again, TERMS)
    again.close()

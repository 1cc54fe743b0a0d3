"""What pages of services and comparisons are made of: journals and folders as they grow."""

import json
import math
import re
import socket
import sqlite3
import threading
from dataclasses import replace

import pytest
import service_stage as stage
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sheets import facts, played, playing

from controller.commands.dashboard import command
from controller.commands.report import command as report
from controller.dashboard.comparison_sheet import Progress, comparison_sheet, contrasts_of, left_s
from controller.dashboard.comparison_watch import ComparisonWatch
from controller.dashboard.journal_tail import JournalTail
from controller.dashboard.service_sheet import Standing, service_sheet
from controller.dashboard.service_story import ServiceStory
from controller.dashboard.service_watch import ServiceWatch, read_gauges
from controller.service.config import ServiceConfig
from controller.service.entries import Known, Started
from controller.service.journal import Journal
from controller.service.terms import Terms
from quantum.errors import InputError, RecordError

TERMS = Terms(load_hz=20.0, rate_hz=1e6, burst=100_000)


def told(tail, story):
    more = True
    while more:
        entries, more = tail.look()
        story.take(entries)
    return story


# A service's journal.


def test_a_journal_tells_what_its_service_counted(journal):
    desk = stage.desk_on(journal, TERMS)
    tail, story = JournalTail(journal.path), ServiceStory()
    ada, bob = (stage.session_of(desk, who) for who in (stage.ADA, stage.BOB))
    told(tail, story)
    assert story.started is not None
    assert story.answered == 0
    for number in range(12):
        session = ada if number % 3 else bob
        wish = {"pairs": 1 + number % 2, "minimum_fidelity": 0.999 if number % 4 == 3 else 0.6}
        stage.settled(desk, desk.hear([(b"x", stage.ask(session, number, **wish))], 0.1))
        told(tail, story)
    counts = desk.counts()
    assert counts.denied > 0
    assert (story.granted, story.pairs) == (counts.granted, counts.pairs)
    assert sum(story.blocked.values()) == counts.denied + counts.timed_out
    assert {sums.name: sums.requests for sums in story.clients.values()} == {"ada": 8, "bob": 4}
    assert sum(sums.requests for sums in story.by_pair.values()) == story.answered == 12
    assert len(story.latest) == 12
    # In pieces or at once: the same.
    again = told(JournalTail(journal.path), ServiceStory())
    assert again.series.columns == story.series.columns
    assert replace(again, series=story.series) == story
    sheet = service_sheet(story, Standing("running", "Running", "a", "j", "m", "n", now_s=2.0))
    assert {tile.name: tile.value for tile in sheet.tiles}["granted"] == str(counts.granted)
    assert {tile.name: tile.value for tile in sheet.tiles}["waiting"] == "–"
    (requests, *_) = sheet.charts
    seconds = requests.lines["granted"]
    assert sum(rate for _, rate in seconds) == pytest.approx(counts.granted)


def test_a_row_that_was_changed_is_named_and_what_came_before_it_stays(journal):
    desk = stage.desk_on(journal, TERMS)
    session = stage.session_of(desk)
    for number in range(4):
        stage.settled(desk, desk.hear([(b"x", stage.ask(session, number))], 0.1))
    watch = ServiceWatch(ServiceConfig(journal=str(journal.path), keys=str(journal.path.parent)))
    while watch.step():
        pass
    before = watch.sheet()
    assert before.state == "running"
    stage.settled(desk, desk.hear([(b"x", stage.ask(session, 9))], 0.1))
    last = journal.number
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE batch SET body = x'91' WHERE n = ?", (last,))
    db.close()
    watch.step()
    after = watch.sheet()
    assert after.state == "damaged"
    assert f"row {last} does not follow" in after.word
    assert after.tiles[0] == before.tiles[0]


def test_another_journal_in_its_place_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "journal.db"
    tail, story = JournalTail(path), ServiceStory()
    assert tail.look() == ([], False)
    for epoch in (1, 2):
        kept = Journal(path)
        kept.begin(Started(epoch, "line-4", 0, 0.0, 0.0))
        kept.close()
        told(tail, story)
        assert tail.restarted == (epoch == 2)
        assert story.started.epoch == epoch
        for each in tmp_path.iterdir():
            each.rename(tmp_path / f"old-{epoch}-{each.name}")


def test_a_journal_that_was_trimmed_is_read_from_what_is_left(tmp_path):
    kept = Journal(tmp_path / "journal.db", keep_bytes=1)
    kept.begin(Started(1, "line-4", 0, 5.0, 0.0))
    for _ in range(20):
        kept.append([Known(0, "k" * 40, "ada")])
    kept.tidy(15, (Known(0, "k" * 40, "ada"),), 0)
    story = told(JournalTail(kept.path), ServiceStory())
    kept.close()
    assert story.started is not None
    assert story.started.utc_s == 5.0
    assert [sums.name for sums in story.clients.values()] == ["ada"]


def test_what_is_no_journal_is_said(tmp_path):
    (tmp_path / "text.db").write_text("no database, and long enough to be looked at" * 50)
    with pytest.raises(RecordError, match=r"text\.db cannot be read"):
        JournalTail(tmp_path / "text.db").look()
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB)")
        db.execute("INSERT INTO meta VALUES('format', 'something/9')")
    db.close()
    with pytest.raises(RecordError, match="is no journal of a service"):
        JournalTail(tmp_path / "other.db").look()


@pytest.mark.parametrize("answer", [b"", b"nonsense", b"HTTP/1.1 200 OK\r\n\r\n<html>",
                                    b"HTTP/1.1 404 Not Found\r\n\r\n",
                                    b"HTTP/1.1 200 OK\r\n\r\ndpem_granted_total x\n"])  # fmt: skip
def test_metrics_that_are_none_are_said_and_harm_nothing(tmp_path, answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with listener.accept()[0] as line:
                line.recv(4096)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        config = ServiceConfig(journal=str(tmp_path / "journal.db"), metrics=where)
        watch = ServiceWatch(config)
        watch.step()
        thread.join()
        rows = dict(watch.sheet().tables[-1].rows)
        assert "no answer: " in rows["metrics"]
        assert "\n" not in rows["metrics"]


def test_where_metrics_are_is_checked(tmp_path):
    with pytest.raises(InputError, match="metrics must be HOST:PORT, got 'nowhere'"):
        ServiceWatch(ServiceConfig(journal=str(tmp_path / "j.db")), "nowhere")
    with pytest.raises(OSError, match="refused"):
        read_gauges("http://127.0.0.1:1/metrics")


# A comparison's folder.


def stepped(watch):
    while watch.step():
        pass
    return watch.sheet()


def test_a_torn_line_waits_for_its_end(tmp_path):
    what = facts()
    with playing(tmp_path / "c", what) as folder:
        folder.add(played(what, 0))
        folder.add(played(what, 1))
        whole = (tmp_path / "c" / "units.jsonl").read_bytes()
    (tmp_path / "c" / "units.jsonl").write_bytes(whole[:-30])
    watch = ComparisonWatch(tmp_path / "c")
    assert stepped(watch).tiles[0].value == "1 of 6"
    with (tmp_path / "c" / "units.jsonl").open("ab") as file:
        file.write(whole[-30:])
    assert stepped(watch).tiles[0].value == "2 of 6"
    # Played anew, in the same place.
    (tmp_path / "c" / "units.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    assert stepped(watch).tiles[0].value == "1 of 6"
    (tmp_path / "c" / "units.jsonl").unlink()
    assert stepped(watch).tiles[0].value == "0 of 6"


def test_a_folder_of_something_else_is_one_line(tmp_path):
    (tmp_path / "comparison.json").write_text('{"cells": 3}')
    with pytest.raises(InputError, match="is no comparison of this version") as wrong:
        ComparisonWatch(tmp_path)
    assert "\n" not in str(wrong.value)


def test_a_unit_without_an_allocator_is_damage(tmp_path):
    what, other = facts(1, 1), facts(1, 1)
    del other.allocators["on-demand"]
    with playing(tmp_path / "c", what) as folder:
        folder.add(played(other, 0))
    watch = ComparisonWatch(tmp_path / "c")
    sheet = stepped(watch)
    assert sheet.state == "damaged"
    assert "unit 1 says nothing of on-demand" in sheet.word


@settings(max_examples=30, deadline=None)
@given(done=st.integers(0, 9), skipped=st.sets(st.integers(0, 8)))
def test_whatever_is_there_can_be_shown(done, skipped):
    what = facts(3, 3)
    units = [played(what, k, note="nothing" if k in skipped else None) for k in range(done)]
    contrasts = contrasts_of(what, units)
    sheet = comparison_sheet(what, units, contrasts, Progress("running", "Playing", "c"))
    tiles = {tile.name: tile.value for tile in sheet.tiles}
    assert tiles["units"] == f"{done} of 9"
    assert tiles["skipped"] == str(len(skipped & set(range(done))))
    shown = [row for row in sheet.intervals.rows if row.low is not None]
    assert all(row.low <= row.best <= row.high for row in shown)
    if len(contrasts):
        # Rivals are ten and twenty points below, in every unit.
        assert [row.label for row in sheet.intervals.rows] == ["mean-rate", "on-demand"]
        assert [row.best for row in sheet.intervals.rows] == pytest.approx([10.0, 20.0])
    assert sum(int(row[1].split(" of ")[0]) for row in sheet.tables[2].rows) == done


def test_the_time_left_is_by_the_pace_since_it_was_watched():
    of = Progress("running", "", "", there=4, arrived=((2.0, 5), (8.0, 8)), watched_s=10.0)
    assert left_s(20, of) == 10.0 / 4 * 12
    assert left_s(8, of) is None
    assert left_s(20, of._replace(arrived=())) is None
    assert left_s(20, of._replace(state="broken off")) is None
    assert math.isfinite(left_s(20, of) or 0.0)


def refused(*words):
    with pytest.raises(InputError) as wrong:
        command([str(word) for word in words], standalone_mode=False)
    return str(wrong.value)


def test_words_that_mean_nothing_together_are_refused(tmp_path):
    assert "give one of them" in refused("--run", "--service")
    assert "leave out x" in refused("--service", "x")
    assert "--metrics is for a service" in refused(tmp_path, "--metrics", "127.0.0.1:1")
    assert "cannot read" in refused(tmp_path / "none.toml")


def test_a_report_is_one_page_of_what_is_there(tmp_path):
    what = facts(1, 6)
    with playing(tmp_path / "c", what) as folder:
        assert "no unit that was played" in refused_report(tmp_path / "c")
        for number in range(4):
            folder.add(played(what, number))
        done = CliRunner().invoke(report, [str(tmp_path / "c"), "--json", "-"])
    said = json.loads(done.stdout)
    page = (tmp_path / "c.html").read_text()
    assert said["page"] == str(tmp_path / "c.html")
    assert "only 4 of 6 units so far" in page
    assert "mean-rate" in page
    # Nothing is loaded from elsewhere.
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "inside" in refused_report(tmp_path / "c", "--out", tmp_path / "c" / "page.html")


def refused_report(*words):
    with pytest.raises(InputError) as wrong:
        report([str(word) for word in words], standalone_mode=False)
    return str(wrong.value)

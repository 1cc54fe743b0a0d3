"""Changes of a service's network: restarts, plans, what a journal proves, and all at any moment."""

import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from changes_stage import NEW, STATE, TERMS, change, stored, survey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from service_stage import (
    BOB,
    SETTING,
    alter,
    ask,
    desk_on,
    said,
    session_of,
    settled,
    stage,
)

from controller.dashboard.service_sheet import Standing as Shown
from controller.dashboard.service_sheet import service_sheet
from controller.dashboard.service_story import ServiceStory
from controller.service.checking import check
from controller.service.entries import Answered, Changed, Started
from controller.service.journal import Journal
from controller.service.planning import Planned, Planner, order_for, rule_on
from controller.service.standing import Standing
from controller.service.terms import Terms
from quantum.alterations import (
    Altered,
    Fail,
    NewLink,
    Part,
    Return,
)
from quantum.errors import Code, RecordError
from quantum.requests import (
    Granted,
    decode_answer,
)

NEW_TO_N0 = msgspec.structs.replace(NEW, links=NEW.links[1:])


@pytest.fixture
def desk(journal):
    return desk_on(journal, TERMS)


def test_a_service_that_is_started_again_stands_as_it_was(desk, journal):
    op = session_of(desk, BOB)
    change(desk, op, 1, NEW, Fail("n0", "n1"))
    change(desk, op, 2, Part("n3"))
    change(desk, op, 3, msgspec.structs.replace(NEW, name="n3", links=NEW.links[1:]))
    before = survey(desk, op)
    again = desk_on(journal, TERMS, now_s=1.0)
    after = survey(again, session_of(again, BOB, now_s=1.0))
    assert after.nodes == before.nodes and after.links == before.links
    assert after.change == 3 and after.planned
    assert again.counts()[-5:] == (3, 5, 4, 1, 1)
    fresh = ask(session_of(again, now_s=1.0), 5, "n3", "n0", deadline_s=30.0)
    [granted] = said(settled(again, again.hear([(b"x", fresh)], 1.0), 1.0))
    assert isinstance(granted, Granted)
    assert check(journal.path).changes == 3


def test_a_service_killed_between_the_journal_and_the_change_has_made_it(desk, journal):
    op = session_of(desk, BOB)
    frame = alter(op, 1, Part("n3"))

    class Killed(BaseException):
        """In the place of a signal that nobody catches."""

    def killed(*_, **__):
        raise Killed

    desk.stock.change = killed
    with pytest.raises(Killed):
        desk.hear([(b"x", frame)], 0.0)
    again = desk_on(journal, TERMS, now_s=1.0)
    assert again.counts().nodes == 3
    done, _ = change(again, session_of(again, BOB, now_s=1.0), 1, Part("n3"), now_s=1.0)
    assert isinstance(done, Altered) and again.counts().changes == 1


def test_rows_that_go_leave_what_stands(tmp_path):
    journal = Journal(tmp_path / "journal.db", keep_bytes=1)
    desk = desk_on(journal, Terms(load_hz=20.0, most_s=1.0, grace_s=0.0, burst=10_000))
    mine, op = session_of(desk), session_of(desk, BOB)
    change(desk, op, 1, NEW, Fail("n0", "n1"))
    now_s = 0.0
    for number in range(2, 60):
        now_s += 0.25
        frame = ask(mine, number, "n1", "n3", deadline_s=now_s + 0.9)
        settled(desk, [*desk.hear([(b"x", frame)], now_s), *desk.turn(now_s)], now_s)
        if number == 40:
            change(desk, op, 1000, Part("new"), now_s=now_s)
    kept = check(journal.path)
    rows = journal._db.execute("SELECT min(n) FROM batch").fetchone()[0]
    assert rows > 3 and kept.changes == 2
    again = desk_on(journal, TERMS, now_s=now_s)
    shown = survey(again, session_of(again, BOB, now_s=now_s))
    assert (shown.change, len(shown.nodes), [link.up for link in shown.links]) == (
        2,
        4,
        [False, True, True],
    )
    change(again, session_of(again, BOB, now_s=now_s), 1001, Part("n0"), now_s=now_s)
    journal.close()
    assert check(tmp_path / "journal.db").changes == 3


# Plans.


def test_a_plan_made_beside_the_service_is_that_of_a_start(desk, journal):
    op = session_of(desk, BOB)
    change(desk, op, 1, NEW, Fail("n0", "n1"))
    held = desk.stock.rule.targets.copy()
    altering = desk.altering
    altering.load_hz = 20.0
    assert not altering.planned and not survey(desk, op).planned
    # As before until then; on new links the mean.
    before = stage()[2].targets
    assert held.tolist() == [before[0], before.mean(), *before[1:], before.mean()]
    planner = Planner()
    planner.ask(altering.order(SETTING))
    while (found := planner.look()) is None:
        time.sleep(0.01)
    planner.close()
    assert isinstance(found, Planned) and found.change == 1
    altering.plan(7, found.targets)
    assert not altering.planned
    altering.plan(*found)
    assert altering.planned and survey(desk, op).planned
    again = desk_on(journal, TERMS, now_s=1.0)
    assert np.array_equal(desk.stock.rule.targets, again.stock.rule.targets)
    ends = list(stored(desk))
    targets = dict(zip(ends, found.targets.tolist(), strict=True))
    assert targets["n0", "n1"] == 0.0 and min(targets[e] for e in ends[1:]) > 0.0


def test_a_plan_that_fails_is_told_in_a_line():
    base = stage()[0].network
    planner = Planner()
    setting = msgspec.structs.replace(SETTING, allocator="nobody")
    planner.ask(order_for(3, setting, 20.0, base, np.ones(3, dtype=bool)))
    while (found := planner.look()) is None:
        time.sleep(0.01)
    assert isinstance(found, str) and "\n" not in found
    assert "change 3" in found and "allocator 'nobody'" in found
    assert planner.look() is None and planner.change == 3
    planner.close()


def test_a_service_without_room_for_a_planner_goes_on(tmp_path, monkeypatch):
    base = stage()[0].network
    planner = Planner()
    for name, value in (
        ("tempfile.tempdir", str(tmp_path / "gone")),
        ("sys.executable", str(tmp_path / "gone")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, value)
            planner.ask(order_for(3, SETTING, 20.0, base, np.ones(3, dtype=bool)))
        assert planner.look().endswith("no process for it: No such file or directory")
        assert planner.look() is None and planner.change == 3
    planner.close()


def test_demand_of_a_file_is_planned_for_those_who_are_there(tmp_path):
    from controller.service.building import scenario_for

    path = tmp_path / "asked.csv"
    path.write_text(
        "timestamp_s,source,destination,fidelity\n0.1,n0,n3,0.7\n0.2,n2,n1,0.7\n0.3,n2,n0,0.7\n"
    )
    setting = msgspec.structs.replace(SETTING, demand=str(path), load_hz=None)
    scenario = scenario_for(setting)
    gone = Standing(scenario.network).after([Part("n3")])
    network = gone.network()
    load_hz = scenario.trace.load_hz
    rule_ = rule_on(setting, scenario, network, gone.up(network), load_hz=load_hz)
    assert rule_.targets.shape == (2,) and rule_.targets.min() > 0.0
    # Nobody is left who asks.
    none = gone.after([Part("n0"), Part("n1")])
    network = none.network()
    rule_ = rule_on(setting, scenario, network, none.up(network), load_hz=load_hz)
    assert rule_.targets.shape == (0,)


# What is proved of it.


def forged(path, entries, journal):
    """Write a journal of entries whose chain holds, and return what is wrong with it."""
    other = Journal(path)
    for entry in entries:
        other.append([entry])
    other.close()
    with pytest.raises(RecordError) as wrong:
        check(path)
    return str(wrong.value)


def test_journals_that_cannot_be_are_found(desk, journal, tmp_path):
    mine, op = session_of(desk), session_of(desk, BOB)
    settled(desk, desk.hear([(b"x", ask(mine, 1, "n0", "n3"))], 0.0))
    change(desk, op, 2, Part("n3"))
    change(desk, op, 3, NEW_TO_N0)
    desk_on(journal, TERMS, now_s=1.0)
    entries = list(journal.all_entries())
    changes = [k for k, entry in enumerate(entries) if isinstance(entry, Changed)]
    answered = next(entry for entry in entries if isinstance(entry, Answered))
    start = entries[-1]
    assert isinstance(start, Started) and start.changes == 2
    without = entries[: changes[0]] + entries[changes[0] + 1 :]
    assert "change 2 of the network follows change 0" in forged(tmp_path / "1", without, journal)
    late = [*entries[:-1], msgspec.structs.replace(start, changes=1)]
    assert "starts after 1 changes of its network, 2 were made" in forged(
        tmp_path / "2", late, journal
    )
    moved = [e for e in entries if e is not answered]
    moved.insert(-1, msgspec.structs.replace(answered, now_s=0.5))
    assert "node n3 has left the network" in forged(tmp_path / "3", moved, journal)
    twice = [*entries[:-1], entries[changes[1]], start]
    assert "answered twice" in forged(tmp_path / "4", twice, journal)
    other = msgspec.structs.replace(entries[changes[0]], ask=answered.ask)
    wrong = [*entries[: changes[0]], other]
    assert "no answer to a change" in forged(tmp_path / "5", wrong, journal)


def test_the_live_page_shows_changes(desk, journal):
    op = session_of(desk, BOB)
    change(desk, op, 1, NEW, Fail("n0", "n1"))
    story = ServiceStory()
    story.take(journal.all_entries())
    shown = Shown("running", "", "tcp://x", "j", "", "line-4", gauges={"nodes": 5.0})
    sheet = service_sheet(story, shown)
    [table] = [table for table in sheet.tables if table.name == "network"]
    assert table.rows == [["1", "0.0 s", "bob", "join new, fail n0 - n1", "5", "5", "1"]]
    assert ["nodes", "5"] in sheet.tables[-1].rows


class Networks(RuleBasedStateMachine):
    """Operators change the network, applications ask, and the service is killed, at any moment."""

    names = st.sampled_from(["n0", "n1", "n2", "n3", "x", "y"])

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.now_s, self.number = 100.0, 0
        self.there = {f"n{k}" for k in range(4)}
        self.up = {frozenset((f"n{k}", f"n{k + 1}")): True for k in range(3)}
        self.changes, self.answers, self.pairs = 0, {}, set()

    @initialize()
    def start(self):
        self.journal = Journal(self.path)
        self.desk = desk_on(self.journal, TERMS, now_s=self.now_s)
        self.mine = session_of(self.desk, now_s=self.now_s)
        self.op = session_of(self.desk, BOB, now_s=self.now_s)

    def take(self, frames):
        for _, frame in frames:
            answer = decode_answer(frame)
            if isinstance(answer, Granted):
                assert {p.source for p in answer.pairs} <= self.there
                assert {p.destination for p in answer.pairs} <= self.there
                numbers = {p.sequence for p in answer.pairs}
                assert not numbers & self.pairs
                self.pairs |= numbers
            if isinstance(answer, Altered | Granted):
                assert self.answers.setdefault(answer.rid, frame) == frame

    def alter(self, makes_sense, *steps):
        self.number += 1
        frame = alter(self.op, self.number, *steps)
        out = self.desk.hear([(b"op", frame)], self.now_s)
        assert isinstance(decode_answer(out[0][1]), Altered) == makes_sense
        assert self.desk.hear([(b"op", frame)], self.now_s)[0][1] == out[0][1]
        self.changes += makes_sense
        return out

    @rule(name=names, to=st.sets(names, max_size=3))
    def a_node_joins(self, name, to):
        links = tuple(NewLink(end, 1.0, STATE) for end in sorted(to))
        sound = name not in self.there and to <= self.there
        out = self.alter(sound, msgspec.structs.replace(NEW, name=name, links=links))
        if sound:
            self.there.add(name)
            self.up |= {frozenset((name, end)): True for end in to}
        self.take(out)

    @rule(name=names)
    def a_node_leaves(self, name):
        sound = name in self.there and len(self.there) > 1
        out = self.alter(sound, Part(name))
        if sound:
            self.there.remove(name)
            self.up = {ends: up for ends, up in self.up.items() if name not in ends}
        for answer in said(out[1:]):
            assert isinstance(answer, Granted) or answer.code is Code.NORES
        self.take(out)
        assert all({w.ask.source, w.ask.destination} <= self.there for w in self.waiting())

    @rule(name=names)
    def another_node_takes_the_place_of_one(self, name):
        sound = name in self.there
        out = self.alter(sound, Part(name), msgspec.structs.replace(NEW, name=name, links=()))
        if sound:
            self.up = {ends: up for ends, up in self.up.items() if name not in ends}
            assert all(name not in {w.ask.source, w.ask.destination} for w in self.waiting())
        self.take(out)

    @rule(a=names, b=names)
    def a_link_fails_or_returns(self, a, b):
        ends = frozenset((a, b))
        up = self.up.get(ends, True)
        out = self.alter(ends in self.up, (Fail if up else Return)(a, b))
        if ends in self.up:
            self.up[ends] = not up
        self.take(out)

    @rule(
        a=names,
        b=names,
        pairs=st.integers(1, 3),
        wait_s=st.sampled_from([0.1, 5.0]),
        operator=st.booleans(),
    )
    def somebody_asks(self, a, b, pairs, wait_s, operator):
        self.number += 1
        wish = {"pairs": pairs, "minimum_fidelity": 0.6, "deadline_s": self.now_s + wait_s}
        frame = ask(self.op if operator else self.mine, self.number, a, b, **wish)
        self.take(self.desk.hear([(b"x", frame)], self.now_s))

    @rule(seconds=st.sampled_from([0.0, 0.05, 1.0]))
    def time_goes_on(self, seconds):
        self.now_s += seconds
        self.take(self.desk.turn(self.now_s))

    @rule()
    def it_is_killed(self):
        self.journal.close()
        self.start()

    def waiting(self):
        return self.desk.rows.values()

    @invariant()
    def what_stands_is_what_was_made(self):
        if not hasattr(self, "desk"):
            return
        counts = self.desk.counts()
        assert (counts.changes, counts.nodes, counts.links) == (
            self.changes,
            len(self.there),
            len(self.up),
        )
        net, links = self.desk.stock.network, self.desk.stock.ledger.link
        assert set(net.nodes) == self.there
        for (a, b), is_open in zip(net.links.tolist(), links.open.tolist(), strict=True):
            assert self.up[frozenset((net.nodes[a], net.nodes[b]))] == bool(is_open)
        assert self.desk.stock.is_sound()
        live = int(self.desk.stock.ledger.now["live"][0])
        assert self.desk.waiting == live == 32 - self.desk.stock.room

    def teardown(self):
        if hasattr(self, "journal"):
            self.take(settled(self.desk, [], self.now_s))
            self.journal.close()
            proof = check(self.path, self.answers.values())
            assert (proof.changes, proof.pairs >= len(self.pairs)) == (self.changes, True)
        self.folder.cleanup()


TestNetworks = Networks.TestCase
TestNetworks.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)

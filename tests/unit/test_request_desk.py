"""The service as a state machine: requests, repeats, ends of deadlines, crashes."""

import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from service_stage import ADA, BOB, EVE, RING, ask, desk_on, enter, said, session_of, settled

from controller.security.keyring import Keyring
from controller.service.chain import read
from controller.service.checking import check
from controller.service.entries import Started
from controller.service.journal import Journal
from controller.service.terms import Terms
from quantum.errors import Code, DpemError, InputError, RecordError
from quantum.requests import (
    Again,
    Closed,
    Denied,
    Granted,
    Opened,
    decode_answer,
    decode_ask,
)
from quantum.seeding import generator

TERMS = Terms(load_hz=20.0, credits=4, remembered=64, most_pairs=4, grace_s=1.0)
NODES = st.sampled_from(["n0", "n1", "n2", "n3"])


def test_a_request_is_granted_and_repeated_byte_for_byte(journal):
    desk = desk_on(journal, TERMS)
    session = session_of(desk)
    frame = ask(session, 1, "n0", "n2", pairs=2)
    [(peer, first)] = settled(desk, desk.hear([(b"x", frame)], 0.0))
    granted = decode_answer(first)
    assert peer == b"x" and isinstance(granted, Granted)
    assert [(p.source, p.destination) for p in granted.pairs] == [("n0", "n2")] * 2
    assert all(p.predicted >= 0.7 for p in granted.pairs)
    assert all(k.low <= k.best <= k.high for k in granted.kinds)
    assert desk.hear([(b"y", frame), (b"x", frame)], 0.5) == [(b"y", first), (b"x", first)]
    assert desk.counts().granted == 1 and desk.stock.is_sound()


def test_repeats_attach_to_a_request_that_waits(journal):
    desk = desk_on(journal, TERMS)
    frame = ask(session_of(desk), 1, "n0", "n3")
    # Nothing is in stock yet.
    assert desk.hear([(b"x", frame), (b"y", frame), (b"x", frame)], 0.0) == []
    assert desk.waiting == 1
    out = settled(desk, [])
    assert sorted(peer for peer, _ in out) == [b"x", b"y"] and len({f for _, f in out}) == 1


def test_a_repeat_of_somebody_else_is_another_request(journal):
    desk = desk_on(journal, TERMS)
    mine, his = session_of(desk), session_of(desk, BOB)
    out = settled(desk, desk.hear([(b"x", ask(mine, 1)), (b"y", ask(his, 1))], 0.0))
    numbers = [p.sequence for a in said(out) for p in a.pairs]
    assert len(numbers) == 2 == len(set(numbers))


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"deadline_s": 0.0}, Code.NOTIME, "deadline"),
        ({"deadline_s": float("nan")}, Code.NOTIME, "deadline"),
        ({"deadline_s": 61.0}, Code.CREATE, "deadline_s"),
        ({"pairs": 0}, Code.CREATE, "pairs"),
        ({"pairs": 5}, Code.CREATE, "pairs"),
        ({"minimum_fidelity": 1.1}, Code.CREATE, "minimum_fidelity"),
        ({"minimum_fidelity": float("nan")}, Code.CREATE, "minimum_fidelity"),
        ({"minimum_fidelity": 1.0}, Code.NORES, "minimum_fidelity"),
        ({"b": "n9"}, Code.CREATE, "destination"),
        ({"b": "n0"}, Code.CREATE, "two nodes"),
    ],
)
def test_what_cannot_be_is_denied_at_once(journal, given, code, field):
    desk = desk_on(journal, TERMS)
    [answer] = said(desk.hear([(b"x", ask(session_of(desk), 1, **given))], 0.0))
    assert isinstance(answer, Denied) and answer.code is code and field in answer.detail
    assert answer.retry_s == 0.0 and desk.waiting == 0


def test_deadlines_end_requests_and_rows_are_used_again(journal):
    desk = desk_on(journal, Terms(load_hz=20.0, remembered=1000, rate_hz=1e6, burst=1000))
    session = session_of(desk)
    for number in range(200):
        # Three links, and time for one slot: many of them end without their pairs.
        frame = ask(session, number, "n0", "n3", deadline_s=0.03, pairs=1 + number % 2 * 3)
        out = said(settled(desk, desk.hear([(b"x", frame)], 0.0)))
        assert len(out) == 1 and isinstance(out[0], Granted | Denied)
    counts = desk.counts()
    assert counts.timed_out > 10 and counts.granted > 10 and desk.stock.is_sound()
    assert counts.timed_out + counts.granted == 200 and desk.stock.room == 32


def test_busy_where_too_many_wait(journal):
    desk = desk_on(journal, TERMS)
    session = session_of(desk)
    frames = [(b"x", ask(session, n, "n0", "n3", pairs=4)) for n in range(9)]
    # Sent one by one: those of a batch are counted when all of them were looked at.
    out = [reply for frame in frames for reply in desk.hear([frame], 0.0)]
    busy = [a for a in said(out) if isinstance(a, Denied)]
    assert len(busy) == 5 and all(a.code is Code.BUSY and a.retry_s > 0.0 for a in busy)
    # Nothing of them is remembered: later they are taken like new ones.
    settled(desk, [])
    assert isinstance(said(settled(desk, desk.hear([frames[8]], 0.0)))[0], Granted | Denied)


def test_busy_where_too_much_is_remembered_until_it_is_over(journal):
    desk = desk_on(journal, Terms(load_hz=20.0, remembered=2, grace_s=1.0))
    session = session_of(desk)
    for number in (1, 2):
        settled(desk, desk.hear([(b"x", ask(session, number))], 0.0))
    [answer] = said(desk.hear([(b"x", ask(session, 3))], 0.0))
    assert isinstance(answer, Denied) and answer.code is Code.BUSY
    desk.turn(3.5)
    assert len(desk.answers) == 0
    [out] = said(settled(desk, desk.hear([(b"x", ask(session, 3, deadline_s=4.5))], 3.5), 3.5))
    assert isinstance(out, Granted)


def test_a_flood_is_told_when_to_come_back(journal):
    desk = desk_on(journal, Terms(load_hz=20.0, rate_hz=10.0, burst=4))
    session = session_of(desk)  # which counts, too
    frame = ask(session, 1)
    out = said(settled(desk, desk.hear([(b"x", frame)] * 5, 0.0)))
    busy = [a for a in out if isinstance(a, Denied) and a.code is Code.BUSY]
    assert len(busy) == 2 and all(0.0 < a.retry_s <= 0.2 for a in busy)


def test_who_may_not_ask_is_told_why(journal):
    desk = desk_on(journal, TERMS)
    refused = enter(desk, EVE)
    assert isinstance(refused, Closed) and "role request" in refused.detail
    old = enter(desk, v=99)
    assert isinstance(old, Closed) and "version 99" in old.detail and old.code is Code.UNSUPP
    session = session_of(desk)
    assert said(desk.hear([(b"x", ask(b"nonsense", 1))], 0.0)) == [Again()]
    assert desk.strangers
    desk.sessions.ring = Keyring([c for c in RING.clients.values() if c.public != ADA])
    [gone] = said(desk.hear([(b"x", ask(session, 1))], 0.0))
    assert isinstance(gone, Closed) and gone.code is Code.REJECTED
    [bad] = said(desk.hear([(b"x", b"GET / HTTP/1.1")], 0.0))
    assert isinstance(bad, Closed) and "DPM1" in bad.detail


def test_sessions_are_bounded_and_the_newest_stay(journal):
    desk = desk_on(journal, Terms(load_hz=20.0, sessions=4))
    tokens = [session_of(desk) for _ in range(9)]
    assert len(desk.sessions) <= 4
    assert said(desk.hear([(b"x", ask(tokens[0], 1))], 0.0)) == [Again()]
    assert Again() not in said(settled(desk, desk.hear([(b"x", ask(tokens[-1], 1))], 0.0)))


def test_who_opens_many_sessions_takes_none_of_others(journal):
    desk = desk_on(journal, Terms(load_hz=20.0, sessions=8, rate_hz=1.0, burst=100))
    his = [session_of(desk, BOB) for _ in range(3)]
    for _ in range(50):
        session_of(desk)
    assert all(desk.sessions.find(token) is not None for token in his)
    # And he who has fewer than his share finds room among those of who has more.
    his.append(session_of(desk, BOB))
    assert all(desk.sessions.find(token) is not None for token in his) and len(desk.sessions) <= 8
    for _ in range(50):
        session_of(desk)
    busy = enter(desk)
    assert isinstance(busy, Closed) and busy.code is Code.BUSY
    assert isinstance(enter(desk, BOB), Opened)


def test_two_services_cannot_share_a_journal(journal):
    with pytest.raises(InputError, match="in use"):
        Journal(journal.path)


def spoil(path, sql, *values):
    with sqlite3.connect(path) as db:
        db.execute(sql, values)
    db.close()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE batch SET body = substr(body, 1, length(body) - 1) || x'07' WHERE n = 2", "row 2"),
        ("DELETE FROM batch WHERE n = 2", "row 3 follows row 1"),
        ("UPDATE batch SET hash = zeroblob(32) WHERE n = 3", "row 3"),
        ("DELETE FROM batch WHERE n = 4", "row 4 is gone, the journal ended with row 4"),
        ("DELETE FROM batch WHERE n > 1", "row 2 is gone, the journal ended with row 4"),
        ("DELETE FROM batch", "row 1 is gone"),
        ("UPDATE meta SET value = zeroblob(32) WHERE key = 'last_hash'", "row 4 is another one"),
        ("UPDATE meta SET value = 'x' WHERE key = 'last_n'", "cannot be read"),
    ],
)
def test_a_changed_journal_is_found(tmp_path, sql, why):
    path = tmp_path / "journal.db"
    journal = Journal(path)
    desk = desk_on(journal, TERMS)
    session = session_of(desk)
    for number in range(3):
        settled(desk, desk.hear([(b"x", ask(session, number))], 0.0))
    journal.close()
    assert check(path).granted == 3
    spoil(path, sql)
    with pytest.raises(RecordError, match=why):
        check(path)
    # And no service goes on from it.
    again = Journal(path)
    with pytest.raises(RecordError, match=why):
        desk_on(again, TERMS)
    again.close()
    with pytest.raises(RecordError, match=why):
        check(path)


def test_a_byte_of_a_journal_that_is_changed_is_found_or_stands_for_nothing(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path)
    desk = desk_on(journal, Terms(load_hz=20.0, most_s=1.0, grace_s=0.0))
    session = session_of(desk)
    for number in range(60):
        now_s = 0.1 * number
        frame = ask(session, number, deadline_s=now_s + 0.5)
        settled(desk, [*desk.hear([(b"x", frame)], now_s), *desk.turn(now_s)], now_s)
    journal.close()
    whole, rows, proof = path.read_bytes(), list(read(path)), check(path)
    draw, found = generator(6, "rot"), 0
    for at in draw.integers(0, len(whole), 500).tolist():
        path.write_bytes(
            whole[:at] + bytes([whole[at] ^ 1 << int(draw.integers(8))]) + whole[at + 1 :]
        )
        try:
            assert (list(read(path)), check(path)) == (rows, proof)
        except DpemError:
            found += 1
    assert found > 200
    # Cut short anywhere, it is none.
    for size in range(0, len(whole), 4096):
        path.write_bytes(whole[:size])
        with pytest.raises(DpemError):
            check(path)


@pytest.mark.parametrize("start_s", [None, 7.5, 2.0])
@pytest.mark.parametrize("late_s", [0.0, 0.9, 2.0])
def test_what_was_done_twice_is_found(tmp_path, start_s, late_s):
    """Asked at 7 s and remembered until 8.5 s: by a service started again, after a boot too."""
    journal = Journal(tmp_path / "journal.db")
    desk = desk_on(journal, Terms(load_hz=20.0, grace_s=0.5), now_s=7.0)
    wish = ask(session_of(desk, now_s=7.0), 1, deadline_s=8.0, minimum_fidelity=1.0)
    [(_, frame)] = settled(desk, desk.hear([(b"x", wish)], 7.0), 7.0)
    assert decode_answer(frame).code is Code.NORES
    answered = list(journal.all_entries())[-1]
    assert answered.now_s + answered.keep_s == 8.5
    if start_s is not None:
        journal.append([Started(2, "line-4", 0, 0.0, start_s)])
    # In another session: bytes differ, the request is the same.
    again = ask(b"another one!", 1, deadline_s=8.0, minimum_fidelity=1.0)
    now_s = late_s + (7.0 if start_s is None else start_s)
    journal.append([msgspec.structs.replace(answered, ask=again, now_s=now_s)])
    journal.close()
    # A boot at 2 s: what was to be remembered for 1.5 s then is.
    remembered = now_s < (3.5 if start_s == 2.0 else 8.5)
    if not remembered:
        assert check(journal.path).answers == 2
        return
    with pytest.raises(RecordError, match="answered twice"):
        check(journal.path)


def test_a_clock_that_goes_back_while_a_service_runs_is_found(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    desk = desk_on(journal, TERMS, now_s=7.0)
    settled(desk, desk.hear([(b"x", ask(session_of(desk, now_s=7.0), 1, deadline_s=8.0))], 7.0))
    answered = list(journal.all_entries())[-1]
    journal.append([msgspec.structs.replace(answered, now_s=6.0)])
    journal.close()
    with pytest.raises(RecordError, match="the clock went back"):
        check(journal.path)


def test_an_answer_that_is_not_in_the_journal_is_found(journal, tmp_path):
    desk = desk_on(journal, TERMS)
    session = session_of(desk)
    [(_, kept)] = settled(desk, desk.hear([(b"x", ask(session, 1))], 0.0))
    assert check(journal.path, [kept]).heard == 1
    other = Journal(tmp_path / "other.db")
    lonely = desk_on(other, TERMS)
    [(_, lost)] = settled(lonely, lonely.hear([(b"x", ask(session_of(lonely), 2))], 0.0))
    other.close()
    with pytest.raises(RecordError, match="not in it"):
        check(journal.path, [lost])


def test_a_service_that_ran_for_long_is_known_again(journal):
    desk = desk_on(journal, Terms(load_hz=20.0, most_s=1.0, grace_s=0.0))
    session = session_of(desk)
    last = b""
    for number in range(100):
        now_s = 0.1 * number
        last = ask(session, number, deadline_s=now_s + 0.5)
        settled(desk, [*desk.hear([(b"x", last)], now_s), *desk.turn(now_s)], now_s)
    [(_, kept)] = desk.hear([(b"x", last)], 9.9)
    again = desk_on(journal, TERMS, now_s=9.9)
    assert 0 < len(again.answers) < 60
    fresh = ask(session_of(again, now_s=9.9), 99, deadline_s=10.4)
    assert again.hear([(b"x", fresh)], 9.9) == [(b"x", kept)]
    assert check(journal.path).starts == 2


class Applications(RuleBasedStateMachine):
    """Applications ask, repeat and wait; the service is killed and started anew at any moment."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.now_s, self.number = 100.0, 0
        self.sent: dict[bytes, tuple[str, bytes, float]] = {}
        self.answers: dict[tuple[str, bytes], bytes] = {}
        self.frames: list[bytes] = []
        self.pairs: dict[int, bytes] = {}

    @initialize()
    def start(self):
        self.journal = Journal(self.path)
        self.desk = desk_on(self.journal, TERMS, now_s=self.now_s)
        self.session = {p: session_of(self.desk, p, now_s=self.now_s) for p in (ADA, BOB)}

    def take(self, frames):
        for peer, frame in frames:
            answer = decode_answer(frame)
            assert isinstance(answer, Granted | Denied), answer
            if isinstance(answer, Denied) and (
                answer.retry_s > 0.0 or answer.code in (Code.NOTIME, Code.CREATE)
            ):
                continue
            public = ADA if peer.startswith(b"a") else BOB
            # The same answer, whenever and however often it comes.
            assert self.answers.setdefault((public, answer.rid), frame) == frame
            self.frames.append(frame)
            for pair in answer.pairs:
                assert self.pairs.setdefault(pair.sequence, answer.rid) == answer.rid

    @rule(
        public=st.sampled_from([ADA, BOB]),
        a=NODES,
        b=NODES,
        pairs=st.integers(1, 4),
        fidelity=st.sampled_from([0.6, 0.8, 0.95]),
        wait_s=st.sampled_from([0.02, 0.2, 2.0]),
    )
    def asks(self, public, a, b, pairs, fidelity, wait_s):
        self.number += 1
        wish = {
            "pairs": pairs,
            "minimum_fidelity": fidelity,
            "deadline_s": self.now_s + wait_s,
        }
        frame = ask(self.session[public], self.number, a, b, **wish)
        self.sent[frame] = (public, decode_ask(frame).rid, self.now_s + wait_s)
        self.take(self.desk.hear([(public[:1].encode() + b"1", frame)], self.now_s))

    @rule(data=st.data(), times=st.integers(1, 3))
    def repeats(self, data, times):
        if self.sent:
            frame = data.draw(st.sampled_from(list(self.sent)))
            public, rid, until_s = self.sent[frame]
            old = decode_ask(frame)
            fresh = ask(
                self.session[public],
                int.from_bytes(rid, "big"),
                old.source,
                old.destination,
                pairs=old.pairs,
                minimum_fidelity=old.minimum_fidelity,
                deadline_s=until_s,
            )
            peer = public[:1].encode() + b"2"
            self.take(self.desk.hear([(peer, fresh)] * times, self.now_s))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 2.0]))
    def time_goes_on(self, seconds):
        self.now_s += seconds
        self.take(self.desk.turn(self.now_s))

    @rule(seconds=st.sampled_from([0.0, 0.3]))
    def is_killed(self, seconds):
        # Nothing is said or tidied; what is in the file is all there is.
        self.journal.close()
        self.now_s += seconds
        self.start()

    @rule()
    def everybody_is_answered(self):
        self.take(settled(self.desk, [], self.now_s))

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "desk"):
            assert self.desk.stock.is_sound()
            assert self.desk.stock.room + self.desk.waiting == 32

    def teardown(self):
        if hasattr(self, "journal"):
            self.take(settled(self.desk, [], self.now_s))
            self.journal.close()
            proof = check(self.path, self.frames)
            assert proof.pairs == len(self.pairs)
        self.folder.cleanup()


TestApplications = Applications.TestCase
TestApplications.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_opened_tells_the_terms(journal):
    opened = enter(desk_on(journal, TERMS), now_s=7.0)
    assert isinstance(opened, Opened)
    assert (opened.v, opened.now_s, opened.epoch, opened.most_pairs) == (1, 7.0, 1, 4)

"""Pairs that workers execute after they were granted: jobs, what comes back, and what expires."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from service_stage import ADA, BOB, RING, FullDisk, ask, desk_on, said, session_of, settled

from backends.analytic import AnalyticBackend
from backends.service import execute
from controller.service.checking import check
from controller.service.entries import Expiry, Known, Sent, Settled, Started
from controller.service.journal import Journal
from controller.service.terms import Terms, WorkTerms
from quantum.egp import Done, Failed, Fault
from quantum.errors import Code, RecordError
from quantum.requests import (
    EXPIRES,
    Closed,
    Denied,
    Expired,
    Granted,
    Open,
    Opened,
    decode_answer,
    encode_request,
)
from quantum.seeding import generator

TERMS = Terms(load_hz=20.0, credits=4, remembered=64, most_pairs=4, grace_s=1.0)
WORK = WorkTerms(patience_s=1.0, waiting=64)
NODES = st.sampled_from(["n0", "n1", "n2", "n3"])


def staffed(journal, terms=TERMS, *, room=4, work=WORK, now_s=0.0):
    desk = desk_on(journal, terms, work=work, now_s=now_s)
    desk.work.workers, desk.work.room = 1, room
    return desk


def granted(desk, session, number, pairs=1, *, now_s=0.0):
    """Ask, and return what was granted, and the jobs that have left since the last time."""
    frame = ask(session, number, pairs=pairs, deadline_s=now_s + 1.0)
    [answer] = said(settled(desk, desk.hear([(b"x", frame)], now_s), now_s))
    assert isinstance(answer, Granted)
    jobs = list(desk.work.ready)
    desk.work.ready.clear()
    return answer, jobs


def done(job):
    return execute(AnalyticBackend(), job, generator(1, "worker"))


def kept_at(job):
    """Return the place of the first task of a job that keeps its pair."""
    return next(n for n, task in enumerate(job.tasks) if task.basis < 0)


def test_what_is_granted_leaves_with_a_job_and_is_executed(journal, tmp_path):
    desk = staffed(journal)
    answer, jobs = granted(desk, session_of(desk), 1, 2)
    kept = sum(task.basis < 0 for job in jobs for task in job.tasks)
    assert kept == 2 == len(answer.pairs)
    assert desk.settle(map(done, jobs), 0.0) == []
    assert desk.work.counts().executed == 2 and not desk.work.unfinished
    proof = check(tmp_path / "journal.db")
    assert (proof.executed, proof.expired, proof.open) == (2, 0, 0)
    assert proof.jobs == len(jobs) >= 1


def test_workers_measure_what_the_closed_form_gives(tmp_path):
    """With the same seed, workers on the analytic backend find the very tests of the service."""
    tallies, terms = [], Terms(load_hz=20.0, remembered=1000)
    for name, work in (("inline", None), ("workers", WorkTerms(waiting=4096))):
        journal = Journal(tmp_path / name)
        desk = desk_on(journal, terms, work=work)
        if work:
            desk.work.workers, desk.work.room = 1, 1000
        session, now_s = session_of(desk), 0.0
        for number in range(240):
            now_s += 0.05
            desk.hear([(b"x", ask(session, number, "n0", "n2", deadline_s=now_s + 2.0))], now_s)
            settled(desk, desk.turn(now_s), now_s)
        if work:
            desk.settle(map(done, desk.work.ready), now_s)
        tallies.append(desk.stock.tally.copy())
        journal.close()
    assert tallies[0].sum() > 20 and (tallies[0][2] > 0).any()
    np.testing.assert_array_equal(*tallies)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda job: Failed(job.job, Code.OTHER, "it broke"), Code.OTHER),
        (lambda job: Done(job.job, (1,) * (len(job.tasks) + 1)), Code.OTHER),
        (
            lambda job: Done(job.job, done(job).passed, source_of_truth="real"),
            Code.OTHER,
        ),
    ],
)
def test_pairs_of_a_failed_job_expire_and_are_told_again(journal, tmp_path, spoil, code):
    desk = staffed(journal)
    session = session_of(desk)
    answer, jobs = granted(desk, session, 1, 2)
    [(peer, frame)] = desk.settle(map(spoil, jobs), 0.0)
    expired = decode_answer(frame)
    assert peer == b"x" and isinstance(expired, Expired)
    assert (expired.rid, expired.code) == (answer.rid, code)
    assert expired.pairs == tuple(pair.sequence for pair in answer.pairs)
    # Who asks again hears both; no test was counted.
    again = desk.hear([(b"y", ask(session, 1, pairs=2))], 0.5)
    assert again == [(b"y", encode_request(answer)), (b"y", frame)]
    assert desk.stock.tested == 0
    assert check(tmp_path / "journal.db", [frame for _, frame in again]).expired == 2


def test_a_fault_takes_only_its_own_pair(journal):
    desk = staffed(journal)
    answer, jobs = granted(desk, session_of(desk), 1, 2)
    [job] = [job for job in jobs if any(task.basis < 0 for task in job.tasks)]
    whole, place = done(job), kept_at(job)
    hurt = Done(job.job, whole.passed, faults=(Fault(place, Code.UNSUPP, "cannot"),))
    told = said(desk.settle([hurt], 0.0))
    assert [(e.pairs, e.code) for e in told] == [((answer.pairs[0].sequence,), Code.UNSUPP)]
    assert desk.work.counts().executed == 1


def test_news_go_where_the_session_speaks_now(journal):
    desk = staffed(journal)
    session = session_of(desk)
    _, jobs = granted(desk, session, 1)
    desk.hear([(b"elsewhere", ask(session, 2, deadline_s=-1.0))], 0.0)
    fail = [Failed(job.job, Code.OTHER, "it broke") for job in jobs]
    assert [peer for peer, _ in desk.settle(fail, 0.0)] == [b"elsewhere"]


def test_what_nobody_takes_in_time_expires(journal):
    desk = staffed(journal, room=0)
    answer, jobs = granted(desk, session_of(desk), 1)
    assert jobs == [] and desk.turn(0.9) == []
    [expired] = said(desk.turn(1.1))
    assert isinstance(expired, Expired) and expired.code is Code.EXPIRE
    assert expired.pairs == (answer.pairs[0].sequence,) and "no worker took it" in expired.detail


def test_without_workers_or_with_too_many_pairs_in_line_nothing_is_taken_in(journal):
    desk = staffed(journal, work=WorkTerms(patience_s=60.0, waiting=1), room=0)
    session = session_of(desk)
    granted(desk, session, 1)
    for workers, why in ((1, "wait for a worker"), (0, "no worker is there")):
        desk.work.workers = workers
        [denied] = said(desk.hear([(b"x", ask(session, 2))], 0.0))
        assert isinstance(denied, Denied) and denied.code is Code.BUSY
        assert denied.retry_s > 0.0 and why in denied.detail


def test_a_client_that_cannot_hear_of_it_is_told_what_to_do(journal):
    desk = staffed(journal)
    closed = decode_answer(desk.open(RING.clients[ADA], Open(1), 0.0))
    assert isinstance(closed, Closed) and closed.code is Code.UNSUPP
    assert "update dpem at the client" in closed.detail
    opened = decode_answer(desk.open(RING.clients[ADA], Open(1, features=(EXPIRES,)), 0.0))
    assert isinstance(opened, Opened) and EXPIRES in opened.features


@pytest.mark.parametrize("workers", [True, False])
def test_what_was_under_way_when_a_service_was_killed_expires_once(journal, tmp_path, workers):
    desk = staffed(journal)
    first, jobs = granted(desk, session_of(desk), 1, 2)
    desk.work.room = 0
    second, none = granted(desk, session_of(desk), 2)
    assert jobs and not none
    # Killed: one pair is with a worker, the other one was not taken. Then killed once more.
    for _ in range(2):
        desk = desk_on(journal, TERMS, work=WORK if workers else None)
    session = session_of(desk)
    for number, answer in ((1, first), (2, second)):
        pairs = tuple(pair.sequence for pair in answer.pairs)
        frames = desk.hear([(b"y", ask(session, number, pairs=len(pairs)))], 0.5)
        told = said(frames)
        assert told[0] == answer and [e.pairs for e in told[1:]] == [pairs]
    if workers:
        # Numbers go on: an answer to an old job cannot be taken for one to a new one.
        assert desk.work.job == max(job.job for job in jobs)
    proof = check(tmp_path / "journal.db")
    assert (proof.expired, proof.executed, proof.open, proof.starts) == (3, 0, 0, 3)


def test_a_full_disk_keeps_jobs_and_news_back(journal, tmp_path):
    disk = FullDisk(journal)
    desk = staffed(disk)
    session = session_of(desk)
    _, jobs = granted(desk, session, 1)
    disk.full = True
    fail = [Failed(job.job, Code.OTHER, "it broke") for job in jobs]
    assert desk.settle(fail, 0.0) == []
    desk.hear([(b"x", ask(session, 2))], 0.0)
    assert not desk.work.ready
    disk.full = False
    out = said([*desk.turn(1.5), *desk.turn(1.6)])
    assert [type(message) for message in out] == [Expired]
    proof = check(tmp_path / "journal.db")
    assert proof.expired == 1 == proof.granted


def test_a_service_that_goes_on_without_its_journal_goes_on(journal, tmp_path):
    disk = FullDisk(journal)
    terms = Terms(load_hz=20.0, most_pairs=4, grace_s=1.0, on_full="continue")
    desk = staffed(disk, terms)
    session = session_of(desk)
    disk.full = True
    _, jobs = granted(desk, session, 1)
    assert jobs
    disk.full = False
    fail = [Failed(job.job, Code.OTHER, "it broke") for job in jobs]
    assert [type(message) for message in said(desk.settle(fail, 0.0))] == [Expired]
    _, jobs = granted(desk, session, 2)
    desk.settle(map(done, jobs), 0.0)
    proof = check(tmp_path / "journal.db")
    assert (proof.expired, proof.executed, proof.open) == (0, 1, 0)


# ------------------------------------------------------------------------- what the checker finds


def _expiry(answer, *pairs, client=1):
    return Expiry(client, encode_request(Expired(answer.rid, pairs, Code.EXPIRE, "gone")))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (lambda a, j, p: [_expiry(a, p), _expiry(a, p)], "expires twice"),
        (lambda a, j, p: [_expiry(a, p + 1)], "was not granted, or was executed"),
        (lambda a, j, p: [Settled(j), _expiry(a, p)], "was not granted, or was executed"),
        (lambda a, j, p: [_expiry(a, p, client=2)], "for another request"),
        (lambda a, j, p: [Sent(j, ())], "leaves after job"),
        (lambda a, j, p: [Sent(j + 1, (p,))], "is in job"),
        (lambda a, j, p: [Sent(j + 1, (p + 1,))], "was not granted, or has ended"),
        (lambda a, j, p: [Settled(j + 1)], "was not under way"),
        (lambda a, j, p: [Settled(j), Settled(j)], "was not under way"),
        (lambda a, j, p: [Started(2, "line-4", 0, 0.0, 9.0, workers=True)], "does not expire"),
        (
            lambda a, j, p: [Started(2, "line-4", 0, 0.0, 9.0, workers=True), Settled(j)],
            "was not under way",
        ),
        (lambda a, j, p: [Expiry(1, encode_request(a))], "says something else"),
    ],
)
def test_a_journal_that_breaks_a_rule_is_found(journal, tmp_path, entries, why):
    desk = staffed(journal, room=1)
    answer, _ = granted(desk, session_of(desk), 1)
    assert check(tmp_path / "journal.db").open == 1
    journal.append([Known(2, BOB, "bob")])
    journal.append(entries(answer, desk.work.job, answer.pairs[0].sequence))
    with pytest.raises(RecordError, match=why):
        check(tmp_path / "journal.db")


# ---------------------------------------------------------------------------- whatever may happen


class Shop(RuleBasedStateMachine):
    """Applications ask, workers answer or fail or say nothing, the service is killed."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.now_s, self.number = 100.0, 0
        self.sent: dict[bytes, tuple] = {}
        self.frames: list[bytes] = []
        self.pairs: dict[int, bytes] = {}
        self.expired: dict[int, bytes] = {}
        self.executed: set[int] = set()
        self.jobs: dict[int, object] = {}
        self.left: set[int] = set()

    @initialize()
    def start(self):
        self.journal = Journal(self.path)
        self.desk = staffed(self.journal, now_s=self.now_s)
        self.session = {p: session_of(self.desk, p, now_s=self.now_s) for p in (ADA, BOB)}
        self.jobs.clear()

    def take(self, frames):
        for _, frame in frames:
            answer = decode_answer(frame)
            if isinstance(answer, Expired):
                for pair in answer.pairs:
                    # Told before, or new: but always in the same words, and after the grant.
                    assert self.expired.setdefault(pair, frame) == frame
                    assert self.pairs[pair] == answer.rid
            elif isinstance(answer, Granted):
                for pair in answer.pairs:
                    assert self.pairs.setdefault(pair.sequence, answer.rid) == answer.rid
            elif answer.retry_s > 0.0 or answer.code in (Code.NOTIME, Code.CREATE):
                continue
            self.frames.append(frame)
        for job in self.desk.work.ready:
            assert job.job not in self.left, "a job leaves twice"
            self.left.add(job.job)
            self.jobs[job.job] = job
        self.desk.work.ready.clear()

    @rule(
        public=st.sampled_from([ADA, BOB]),
        a=NODES,
        b=NODES,
        pairs=st.integers(1, 4),
        wait_s=st.sampled_from([0.02, 0.2, 2.0]),
    )
    def asks(self, public, a, b, pairs, wait_s):
        self.number += 1
        wish = {"pairs": pairs, "deadline_s": self.now_s + wait_s}
        self.sent[self.number] = (public, a, b, wish)
        self.say(self.number)

    @rule(data=st.data())
    def repeats(self, data):
        if self.sent:
            self.say(data.draw(st.sampled_from(list(self.sent))))

    def say(self, number):
        public, a, b, wish = self.sent[number]
        frame = ask(self.session[public], number, a, b, **wish)
        self.take(self.desk.hear([(public[:1].encode(), frame)], self.now_s))

    @rule(room=st.integers(0, 3))
    def workers_have_room(self, room):
        self.desk.work.room = room
        self.take(self.desk.turn(self.now_s))

    @rule(data=st.data(), how=st.sampled_from(["done", "done", "failed", "fault"]))
    def a_worker_answers(self, data, how):
        if not self.jobs:
            return
        job = self.jobs.pop(data.draw(st.sampled_from(list(self.jobs))))
        answer = done(job)
        if how == "failed":
            answer = Failed(job.job, Code.OTHER, "it broke")
        elif how == "fault":
            place = data.draw(st.integers(0, len(job.tasks) - 1))
            passed = [-1 if n == place else p for n, p in enumerate(answer.passed)]
            fault = Fault(place, Code.OTHER, "it broke")
            answer = Done(job.job, tuple(passed), faults=(fault,))
        self.take(self.desk.settle([answer], self.now_s))

    @rule(seconds=st.sampled_from([0.01, 0.5, 2.0]))
    def time_goes_on(self, seconds):
        self.now_s += seconds
        self.take(self.desk.turn(self.now_s))

    @rule(seconds=st.sampled_from([0.0, 0.3]))
    def is_killed(self, seconds):
        self.journal.close()
        self.now_s += seconds
        self.start()

    @invariant()
    def nothing_is_lost(self):
        if hasattr(self, "desk"):
            assert self.desk.stock.is_sound()
            assert len(self.desk.work._held) == sum(
                len(waiting.pairs) for waiting in self.desk.rows.values()
            )

    def teardown(self):
        if hasattr(self, "journal"):
            self.take(settled(self.desk, [], self.now_s))
            counts = self.desk.work.counts()
            self.journal.close()
            proof = check(self.path, self.frames)
            assert set(self.expired) <= set(self.pairs)
            assert proof.expired >= len(self.expired)
            assert proof.jobs == len(self.left)
            assert proof.executed >= counts.executed
            # Once more: then every pair that was granted has been executed, or has expired.
            self.start()
            self.journal.close()
            end = check(self.path)
            assert end.open == 0 and end.executed == proof.executed
            assert end.expired == proof.expired + proof.open
        self.folder.cleanup()


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)

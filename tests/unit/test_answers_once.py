"""Lost, late and double answers of a worker at a real broker: each pair is told once at most.

A pair of a photonic link is heralded by the coincidence of both its ends, and its job's answer is
all that is ever said of it. So an answer that is lost, late or doubled is a herald that is.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from guests import dealer, hear, ring_of

from backends.analytic import AnalyticBackend
from backends.service import execute
from controller.broker import Broker
from controller.dispatch import Dispatch
from controller.game import prepare
from controller.handed import Handed
from controller.live import live_rules
from controller.mind import Mind
from controller.security import new_keys
from controller.setting import Setting, scenario_of
from quantum.egp import VERSION, Bye, Done, Err, Failed, Hello, Job, Look, Ok, Refuse
from quantum.errors import Code, WireError
from quantum.seeding import generator
from quantum.wire import decode, encode

SETTING = Setting(
    topology="line-4",
    demand="poisson",
    load_hz=30.0,
    seconds=1.0,
    warmup_s=0.0,
    seed=3,
)
GAME = prepare(scenario_of(SETTING))
RULES = replace(live_rules(SETTING, GAME), learn=True, measured=True)
#: The job with whose answer something happens.
CHOSEN = 3


@dataclass
class Played:
    """What came of a run: its journal, what agents were told, and what the worker was told."""

    journal: list[dict] = field(default_factory=list)
    told: Counter = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    reward: float = 0.0
    tested: int = 0
    failed: int = 0
    again: int = 0
    given: dict[int, int] = field(default_factory=dict)


def agent(name, mind, group, address, server, keys, played):
    with dealer(address, server, keys) as socket:
        socket.send(encode(Hello(VERSION, "agent", name, group)))
        while not isinstance(message := hear(socket, 60_000), Bye | None):
            if isinstance(message, Look):
                for one in message.answers:
                    kind = one.code if isinstance(one, Err) else "ok"
                    played.told[kind] += 1
                    assert isinstance(one, Ok | Err)
                socket.send(encode(mind.speak(message)))


def worker(how, address, server, keys, played):
    """Serve honestly, but for the answer to the chosen job."""
    backend, rng = AnalyticBackend(), generator(1, "worker")
    kept, number = None, 0
    with dealer(address, server, keys) as socket:
        socket.send(encode(Hello(VERSION, "worker", "w")))
        while not isinstance(message := hear(socket, 60_000), Bye | None):
            if isinstance(message, Refuse):
                played.refused.append(message.detail)
            if not isinstance(message, Job):
                continue
            number += 1
            answer = execute(backend, message, rng)
            played.given[message.job] = len(message.tasks)
            if number == CHOSEN:
                kept = answer
                if how in ("lost", "late"):
                    continue
                if how == "failed first":
                    socket.send(encode(Failed(message.job, Code.OTHER, "no light")))
            socket.send(encode(answer))
            if how == "double" and number == CHOSEN:
                socket.send(encode(answer))
            # No slot comes so long after a job that has no answer and was not given up.
            late = how == "late" and kept and message.job >= kept.job + RULES.lag_slots
            if late or (how == "replayed" and number == CHOSEN + 1):
                socket.send(encode(kept))
                kept = None
                played.again += 1


@cache
def compile_kernels():
    """Play without sockets first: nobody at a socket waits as long as kernels take to compile."""
    dispatch = Dispatch(RULES, lambda _: None)
    minds = [Mind(GAME.world, RULES.rule, np.array(g), seed=3, learn=False) for g in RULES.groups]
    while not dispatch.finished:
        for group, look in enumerate(dispatch.open()):
            dispatch.hear(group, minds[group].speak(look))
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))


def play(how):
    compile_kernels()
    played = Played()
    server, *keys = (new_keys() for _ in range(4))
    broker = Broker(server, ring_of(keys), answer_s=3.0 if how in ("lost", "late") else 60.0)
    dispatch = Dispatch(RULES, played.journal.append)
    at = broker.endpoints
    threads = [
        threading.Thread(
            target=agent,
            args=(
                name,
                Mind(GAME.world, RULES.rule, np.array(group), seed=3, learn=False),
                group,
                at.agents,
                server,
                key,
                played,
            ),
        )
        for name, group, key in zip("ab", RULES.groups, keys[:2], strict=True)
    ]
    threads.append(threading.Thread(target=worker, args=(how, at.workers, server, keys[2], played)))
    for thread in threads:
        thread.start()
    try:
        broker.gather(dispatch, 1, timeout_s=60.0)
        broker.play(dispatch)
    finally:
        broker.close()
        for thread in threads:
            thread.join(30.0)
    results = dispatch.results
    played.reward, played.tested, played.failed = results.reward, results.tested, results.failed
    return played


@pytest.fixture(scope="module")
def honest():
    played = play("honest")
    assert played.reward > 0.0 and played.failed == 0 and played.told["ok"] > 0
    return played


def slots(played):
    return Counter(e["slot"] for e in played.journal if e["event"] in ("results", "failed"))


@pytest.mark.parametrize("how", ["double", "replayed"])
def test_a_second_answer_makes_no_second_pair(honest, how):
    played = play(how)
    assert len(played.refused) == 1 and "was not given to this worker" in played.refused[0]
    assert set(slots(played).values()) == {1}
    assert (played.reward, played.tested, played.told) == (
        honest.reward,
        honest.tested,
        honest.told,
    )


@pytest.mark.parametrize(
    ("how", "code"), [("failed first", Code.OTHER), ("lost", Code.EXPIRE), ("late", Code.EXPIRE)]
)
def test_a_pair_without_its_herald_is_an_error_and_stays_one(honest, how, code):
    played = play(how)
    gone = [e for e in played.journal if e["event"] == "failed"]
    assert [e["code"] for e in gone] == [str(code)]
    assert set(slots(played).values()) == {1}
    pairs = played.given[gone[0]["slot"]]
    assert played.failed == pairs > 0
    assert played.tested == honest.tested - pairs
    assert played.told[code] > 0 and played.told["ok"] + played.told[code] == honest.told["ok"]
    assert 0.0 < played.reward < honest.reward
    assert played.again == (how == "late")
    # A worker whose answer comes late is not sent away for it; one that contradicts itself is told.
    assert len(played.refused) == (how == "failed first")


def test_the_book_of_jobs():
    book = Handed(1.0)
    book.give(1, b"a", 0.0)
    book.give(2, b"b", 0.5)
    assert book.expects(Failed(1, Code.OTHER, ""), b"a")
    with pytest.raises(WireError, match="was not given to this worker"):
        book.expects(Failed(1, Code.OTHER, ""), b"b")
    assert book.late(1.0) == []
    assert book.late(1.2) == [(b"a", Failed(1, Code.EXPIRE, "no answer within 1 s"))]
    assert not book.expects(Failed(1, Code.OTHER, ""), b"a"), "too late"
    with pytest.raises(WireError):
        book.expects(Failed(1, Code.OTHER, ""), b"b")
    book.end(2)
    assert book.late(9.0) == []
    for job in range(10, 2000):
        book.give(job, b"a", 9.0)
    assert len(book.late(99.0)) == 1990
    with pytest.raises(WireError):
        book.expects(decode(encode(Done(10, (), ()))), b"a")

"""The broker's state machine against agents and workers that say anything they like."""

import math
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.setting import Setting, scenario_of
from quantum.egp import Create, Done, Err, Failed, Fault, Ok, Speak, Yield
from quantum.errors import Code, WireError
from quantum.ledger.places import is_sound
from quantum.ledger.state import DELIVERED
from quantum.wire import decode, encode

#: Two groups of two nodes on a line, with enough demand that something happens in every slot.
SETTING = Setting(
    topology="line-4",
    demand="poisson",
    seconds=2.0,
    warmup_s=0.0,
    load_hz=40.0,
    seed=3,
    round_s=0.2,
)


@cache
def setup(learn=False):
    setting = msgspec.structs.replace(SETTING, learn=learn)
    game = prepare(scenario_of(setting))
    return game, live_rules(setting, game)


def playing(learn=False):
    """Return the game, a dispatcher, its journal, and an honest mind for each group."""
    game, rules = setup(learn)
    journal = []
    minds = [
        Mind(game.world, rules.rule, np.array(group), seed=3, learn=learn) for group in rules.groups
    ]
    return game, Dispatch(rules, journal.append), journal, minds


def honest_slot(dispatch, minds, *, settle=True):
    looks = dispatch.open()
    for group, (mind, look) in enumerate(zip(minds, looks, strict=True)):
        dispatch.hear(group, mind.speak(look))
    job = dispatch.close()
    if job is not None and settle:
        dispatch.settle(dispatch.results.by_closed_form(job.job))
    return looks, job


def first_job(dispatch, minds):
    while True:
        _, job = honest_slot(dispatch, minds, settle=False)
        if job is not None:
            return job


# What a hostile agent may send: any message that the wire lets through.
anything = st.one_of(
    st.integers(-2, 5), st.integers(-(2**63), 2**63 - 1), st.integers(2**63, 2**64 - 1)
)
numbers = st.floats(width=64)
holds = st.builds(
    Create,
    create_id=anything,
    source=st.one_of(st.integers(-1, 4), anything),
    destination=st.one_of(st.integers(-1, 4), anything),
    pairs=st.integers(1, 2**63 - 1),
    minimum_fidelity=st.floats(0.0, 1.0),
    hold=st.sampled_from([True, True, True, False]),
    urgency=st.one_of(st.floats(-10, 200), numbers),
)
requests = st.builds(
    Create,
    create_id=st.integers(-1, 12),
    source=st.integers(0, 3),
    destination=st.integers(0, 3),
    pairs=st.just(4),
    minimum_fidelity=st.sampled_from([0.75, 0.85]),
)
giving = st.builds(
    Yield, node=st.one_of(st.integers(-1, 4), anything), position=anything, surplus=numbers
)
floats = st.lists(numbers, min_size=1, max_size=12).map(lambda x: np.array(x, "<f8").tobytes())
hostile = st.builds(
    Speak,
    slot=st.just(0),
    creates=st.lists(holds | requests, max_size=12).map(tuple),
    yields=st.lists(giving, max_size=4).map(tuple),
    forecast=st.one_of(st.just(b""), floats, st.binary(max_size=20)),
    updates_done=anything,
)


@given(st.lists(hostile, min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_hostile_agent_breaks_nothing(said):
    game, dispatch, journal, minds = playing()
    world, mine = game.world, set(dispatch.rules.groups[1])
    tests = 0
    for speak in said:
        looks = dispatch.open()
        drawn = dispatch.ledger.node.tokens.copy()
        minds_said = minds[0].speak(looks[0])
        dispatch.hear(0, minds_said)
        # As it comes from the wire.
        heard = decode(encode(msgspec.structs.replace(speak, slot=dispatch.slot)))
        dispatch.hear(1, heard)
        job = dispatch.close()
        slot = journal[-1]
        used = [node for node, *_ in slot["acts"]]
        assert all(used.count(node) <= drawn[node] for node in range(world.n))
        meant = {c.source for c in minds_said.creates} | {c.source for c in heard.creates} & mine
        assert set(used) <= meant
        for node, position, surplus in slot["yields"]:
            assert 0 <= position < world.node[node].degree
            assert math.isfinite(surplus)
        honest = {c.create_id for c in minds_said.creates}
        for number in set(slot["asked"]) - honest:
            assert int(world.cls[world.request[number].cls].a) in mine
        assert np.all(np.isfinite(dispatch.ledger.link.forecast))
        assert np.all(dispatch.ledger.link.forecast >= -1e-6)
        assert is_sound(world, dispatch.ledger)
        if job is not None:
            tests += sum(task.basis >= 0 for task in job.tasks)
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    dispatch.results.count(dispatch.slot)
    assert dispatch.results.tested == tests
    for look in dispatch.open():
        assert decode(encode(look)) == look


def test_only_its_own_open_slot_hears_a_group():
    _, dispatch, _, minds = playing()
    with pytest.raises(WireError, match="not open"):
        dispatch.hear(0, Speak(0))
    looks = dispatch.open()
    with pytest.raises(WireError, match="not open"):
        dispatch.hear(0, Speak(1))
    assert not dispatch.hear(0, minds[0].speak(looks[0]))
    with pytest.raises(WireError, match="not open"):
        dispatch.hear(0, Speak(0))
    assert not dispatch.all_spoken
    assert dispatch.hear(1, Speak(0))
    dispatch.close()
    # Slot 1 is the next, and not open yet: what comes now is no answer to what was seen.
    with pytest.raises(WireError, match="not open"):
        dispatch.hear(0, Speak(1))


def test_a_token_a_link_and_no_more():
    game, dispatch, journal, _ = playing()
    while True:
        dispatch.open()
        tokens = dispatch.ledger.node.tokens.copy()
        mine = [n for n in dispatch.rules.groups[0] if tokens[n] > 0]
        if mine:
            break
        for group in range(2):
            dispatch.hear(group, Speak(dispatch.slot))
        dispatch.close()
    node, other = mine[0], dispatch.rules.groups[1][-1]
    peer = int(game.world.inc_node[node, 0])
    good = Create(1, node, peer, hold=True, urgency=5.0)
    bad = [
        Create(2, other, other - 1, hold=True, urgency=5.0),
        Create(3, node, node, hold=True, urgency=5.0),
        Create(4, node, 99, hold=True, urgency=5.0),
        Create(5, node, -1, hold=True, urgency=5.0),
        Create(6, node, peer, hold=True, urgency=math.nan),
        Create(7, -1, peer, hold=True, urgency=5.0),
    ]
    many = [good] * (int(tokens[node]) + 3)
    dispatch.hear(0, Speak(dispatch.slot, tuple(bad + many)))
    dispatch.hear(1, Speak(dispatch.slot))
    dispatch.close()
    assert [act[0] for act in journal[-1]["acts"]] == [node] * int(tokens[node])
    answers = dispatch.open()[0].answers
    made = [a for a in answers if isinstance(a, Ok)]
    refused = [a for a in answers if isinstance(a, Err)]
    assert len(made) == tokens[node] and {a.create_id for a in made} == {1}
    assert [a.code for a in refused] == [Code.CREATE] * (len(bad) + 3)


def test_requests_that_nobody_made_are_refused():
    game, dispatch, journal, minds = playing()
    request = game.world.request[0]
    cls = game.world.cls[request.cls]
    group = next(g for g, nodes in enumerate(dispatch.rules.groups) if int(cls.a) in nodes)
    true = Create(
        0, int(cls.a), int(cls.b), pairs=int(request.pairs), minimum_fidelity=float(cls.fidelity)
    )
    change = msgspec.structs.replace
    lies = [
        change(true, pairs=true.pairs + 1),
        change(true, minimum_fidelity=0.5),
        change(true, create_id=10_000),
        change(true, create_id=-1),
        change(true, source=true.destination, destination=true.source),
    ]
    while dispatch.slot < request.told:
        honest_slot(dispatch, minds)
    for _ in range(3):
        dispatch.open()
        dispatch.hear(group, Speak(dispatch.slot, (*lies, true, true)))
        dispatch.hear(1 - group, Speak(dispatch.slot, (true,)))
        dispatch.close()
    asked = [number for event in journal for number in event.get("asked", [])]
    assert asked.count(0) == 1
    looks = dispatch.open()
    assert len(looks[group].answers) >= len(lies)
    assert [a.code for a in looks[1 - group].answers if a.create_id == 0] == [Code.CREATE]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: Done(d.job, d.passed[:-1], d.fidelity),
        lambda d: Done(d.job, (*d.passed, 1), d.fidelity),
        lambda d: Done(d.job, tuple(2 for _ in d.passed), d.fidelity),
        lambda d: Done(d.job, tuple(2**64 - 1 for _ in d.passed), d.fidelity),
        lambda d: Done(d.job, tuple(-1 if p >= 0 else 1 for p in d.passed), d.fidelity),
        lambda d: Done(d.job, d.passed, (*d.fidelity, 0.5)),
        lambda d: Done(d.job, d.passed, tuple(math.nan for _ in d.fidelity)),
        lambda d: Done(d.job, d.passed, tuple(7.0 for _ in d.fidelity)),
        lambda d: Done(d.job, d.passed, d.fidelity, "heaven"),
        lambda d: Done(d.job + 1, d.passed, d.fidelity),
        lambda d: Done(d.job, d.passed, d.fidelity, faults=(Fault(len(d.passed), Code.OTHER, ""),)),
        lambda d: Done(d.job, d.passed, d.fidelity, faults=(Fault(-1, Code.OTHER, ""),)),
        lambda d: Done(
            d.job,
            tuple(-1 for _ in d.passed),
            d.fidelity,
            faults=(Fault(0, Code.OTHER, ""), Fault(0, Code.OTHER, "")),
        ),
        lambda d: Failed(-5, Code.OTHER, ""),
    ],
)
def test_answers_that_do_not_fit_are_refused(spoil):
    _, dispatch, _, minds = playing()
    job = first_job(dispatch, minds)
    answer = dispatch.results.by_closed_form(job.job)
    with pytest.raises(WireError):
        dispatch.settle(spoil(answer))
    assert dispatch.waiting(all_jobs=True)
    dispatch.settle(answer)
    with pytest.raises(WireError, match="not open"):
        dispatch.settle(answer)
    dispatch.results.count(dispatch.slot)
    with pytest.raises(WireError, match="not open"):
        dispatch.settle(answer)


@pytest.mark.parametrize("fails", [False, True])
def test_what_failed_is_never_paid_nor_delivered(fails):
    _, dispatch, journal, minds = playing(learn=True)
    delivered = 0
    while not dispatch.finished:
        _, job = honest_slot(dispatch, minds, settle=False)
        if job is None:
            continue
        if fails:
            dispatch.settle(Failed(job.job, Code.OTHER, "no light"))
        else:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
        served = next(e["served"] for e in reversed(journal) if e["event"] == "slot")
        delivered += sum(row[0] == DELIVERED for row in served)
    dispatch.results.count(dispatch.slot)
    assert delivered > 0
    good = int(dispatch.ledger.request.good.sum())
    if fails:
        assert (
            good,
            dispatch.results.reward,
            dispatch.results.executed,
            dispatch.results.tested,
        ) == (0, 0.0, 0, 0)
        assert dispatch.results.failed > 0
        assert dispatch.results.pools.overall().shots == 0
    else:
        assert good > 0 and dispatch.results.reward > 0.0 and dispatch.results.failed == 0


def test_a_task_that_failed_leaves_the_others_of_its_job_alone():
    _, dispatch, journal, minds = playing(learn=True)
    pairs = gone = tested = 0
    while not dispatch.finished:
        _, job = honest_slot(dispatch, minds, settle=False)
        if job is None:
            continue
        done = dispatch.results.by_closed_form(job.job)
        faulty = range(1, len(done.passed), 2)
        passed = tuple(-1 if i in faulty else p for i, p in enumerate(done.passed))
        faults = tuple(Fault(i, Code.NORES, "no qubit") for i in faulty)
        dispatch.settle(msgspec.structs.replace(done, passed=passed, faults=faults))
        pairs, gone = pairs + len(passed), gone + len(faulty)
        tested += sum(p >= 0 for p in passed)
    dispatch.results.count(dispatch.slot)
    results = dispatch.results
    assert 0 < gone < pairs
    assert (results.failed, results.tested) == (gone, tested)
    told = [entry for entry in journal if entry.get("event") == "results" and "faults" in entry]
    assert told[0]["faults"][0] == [1, "NORES", "no qubit"]
    assert results.reward > 0.0 and results.executed > 0


def test_results_count_after_the_lag_however_early_they_come():
    def play(when):
        _, dispatch, journal, minds = playing(learn=True)
        late = []
        for _ in range(40):
            while dispatch.waiting():
                dispatch.settle(late.pop(0))
            _, job = honest_slot(dispatch, minds, settle=False)
            if job is not None:
                late.append(dispatch.results.by_closed_form(job.job))
            if when == "early":
                while late:
                    dispatch.settle(late.pop())
        return journal, dispatch.digest.hexdigest()

    assert play("early") == play("late")


def test_an_update_of_another_size_is_refused_when_it_comes():
    _, dispatch, _, _ = playing(learn=True)
    dispatch.open()
    with pytest.raises(WireError, match="update"):
        dispatch.hear(0, Speak(0, update=b"12345678"))
    assert not dispatch.hear(0, Speak(0))

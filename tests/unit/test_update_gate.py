"""The gate: what goes live was not worse on the run's own past, with other luck."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from controller.decide import FEATURES
from controller.dispatch import Dispatch
from controller.game import prepare
from controller.gate import MARGIN, judge, rehearsal
from controller.learning_round import Rounds
from controller.live import live_rules
from controller.mind import Mind
from controller.policy import Actor
from controller.policy_file import actor_of, heuristic_weights
from controller.setting import Setting, scenario_of

SETTING = Setting(
    topology="grid-3x4",
    demand="poisson",
    load_hz=60.0,
    seconds=6.0,
    warmup_s=0.0,
    seed=3,
    round_s=2.0,
    policy="heuristic",
)
START = heuristic_weights(SETTING.seed)


def idle():
    """Return weights (P,) that never make a pair on a link without stock, hence never any."""
    actor = actor_of(START, 1)
    w1, b1, w2 = (np.zeros_like(part) for part in actor)
    w1[0, FEATURES.index("no stock"), 0], w2[0, 0] = 5.0, -1e6
    return np.concatenate([part.ravel() for part in Actor(w1, b1, w2)])


def played(slots, **more):
    setting = msgspec.structs.replace(SETTING, **more)
    game = prepare(scenario_of(setting))
    rules = live_rules(setting, game)
    journal = []
    dispatch = Dispatch(rules, journal.append)
    minds = [
        Mind(game.world, rules.rule, np.array(group), seed=setting.seed, learn=setting.learn)
        for group in rules.groups
    ]
    return dispatch, minds, journal, (lambda to=slots, **how: go_on(dispatch, minds, to, **how))


def go_on(dispatch, minds, stop, updates=None):
    while dispatch.slot < stop:
        looks = dispatch.open()
        for group, look in enumerate(looks):
            speak = minds[group].speak(look)
            if updates is not None and look.learn:
                rows = np.tile(updates, (len(dispatch.rules.groups[group]), 1))
                speak = msgspec.structs.replace(speak, update=rows.tobytes())
            dispatch.hear(group, speak)
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    return dispatch


def test_only_the_past_is_played():
    dispatch, _, _, go = played(150, learn=False)
    go()
    world, delay = rehearsal(dispatch.rules, dispatch.ledger)
    request = dispatch.rules.world.request
    came = (request.arrival < 150) & (dispatch.ledger.request.asked == 1)
    assert len(world.request) == len(delay) == came.sum() < len(request)
    np.testing.assert_array_equal(world.request.pairs, request.pairs[came])
    assert world.request.arrival.max() < 150 == world.slots and world.warmup == 0
    # Whatever comes later: the same rehearsal.
    other = request.copy()
    other.pairs[~came], other.arrival[~came] = 9, other.arrival[~came] + 3
    changed = dispatch.rules.world._replace(request=other)
    again, _ = rehearsal(replace(dispatch.rules, world=changed), dispatch.ledger)
    np.testing.assert_array_equal(again.request, world.request)


def test_what_is_down_is_down():
    dispatch, _, _, go = played(200, learn=False, changes="outages:6:4", seed=5)
    go()
    ledger = dispatch.ledger
    while not (ledger.behind["up"] == 0).any():
        go(dispatch.slot + 1)
    world, _ = rehearsal(dispatch.rules, ledger)
    links = world.change[world.change.node == 0]
    assert links.index.tolist() == np.flatnonzero(ledger.behind["up"] == 0).tolist()
    assert not world.change.up.any() and not world.change.slot.any()


def test_the_same_passes_and_the_idle_does_not():
    dispatch, _, _, go = played(200, learn=False)
    go()
    rules, ledger = dispatch.rules, dispatch.ledger
    live, lazy = actor_of(START, rules.world.n), actor_of(idle(), rules.world.n)
    same = judge(rules, ledger, live, live, number=0)
    assert same.passed and (same.difference, same.low) == (0.0, 0.0)
    worse = judge(rules, ledger, live, lazy, number=0)
    assert not worse.passed and worse.low <= worse.difference < -MARGIN
    better = judge(rules, ledger, lazy, live, number=0)
    assert better.passed and better.low > 0.0
    assert judge(rules, ledger, live, lazy, number=0) == worse
    assert judge(rules, ledger, live, lazy, number=1) != worse


def test_nothing_asked_shows_nothing():
    dispatch, _, _, _ = played(0, learn=False)
    live = actor_of(START, dispatch.rules.world.n)
    verdict = judge(dispatch.rules, dispatch.ledger, live, live, number=0)
    assert (verdict.passed, verdict.difference, verdict.low) == (False, None, None)


@pytest.mark.parametrize("nodes", [12, 6])
@pytest.mark.parametrize("gate", [True, False])
def test_a_bad_update_does_not_go_live(nodes, gate):
    """Twelve nodes average, six learn each for itself; both act with what the broker sends."""
    topology = "grid-3x4" if nodes == 12 else "ring-6"
    dispatch, minds, journal, _ = played(0, topology=topology, load_hz=5.0 * nodes, gate=gate)
    # Neither clipping nor noise, so that the average is the idle policy.
    dispatch.rules = replace(dispatch.rules, clip_norm=1e9, noise_multiplier=0.0)
    dispatch.rounds = Rounds(dispatch.rules, START, dispatch._judge if gate else None)
    go_on(dispatch, minds, 102, updates=idle() - START)
    lazy = np.abs(np.concatenate([m.actor.w2 for m in minds])).max() > 1e5
    assert lazy is np.bool_(not gate)
    assert dispatch.rounds.kept_back == int(gate)
    assert [e["passed"] for e in journal if e["event"] == "gate"] == ([False] if gate else [])

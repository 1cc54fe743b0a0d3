"""The mind of an agent: without learning it decides as the tuned mean-rate rule does."""

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np

from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import LearnConfig, Mind
from controller.setting import Setting, scenario_of
from quantum.egp import Speak
from quantum.ledger import act_by_rule
from quantum.wire import decode, encode

SETTING = Setting(
    topology="grid-4x4",
    demand="poisson",
    load_hz=90.0,
    seconds=2.0,
    warmup_s=0.0,
    seed=6,
    learn=False,
    round_s=0.5,
)


@cache
def setup(learn=False):
    setting = msgspec.structs.replace(SETTING, learn=learn)
    game = prepare(scenario_of(setting))
    return game, live_rules(setting, game)


def minds_of(game, rules, **more):
    return [
        Mind(game.world, rules.rule, np.array(group), seed=SETTING.seed, learn=rules.learn, **more)
        for group in rules.groups
    ]


def test_without_learning_it_is_the_rule_decision_by_decision():
    game, rules = setup()
    world, journal = game.world, []
    dispatch = Dispatch(rules, journal.append)
    ledger, minds = dispatch.ledger, minds_of(game, rules)
    taken = yielded = 0
    while not dispatch.finished:
        looks = dispatch.open()
        # What the rule would do in this very state; the dispatcher clears it again in close().
        act_by_rule(world, ledger, rules.rule)
        tokens = ledger.node.tokens
        choice, urgency = ledger.choice.copy(), ledger.urgency.copy()
        gives, surplus = ledger.node.yields.copy(), ledger.node.surplus.copy()
        ledger.choice[:] = -1
        ledger.node.yields = -1
        by_rule = [
            (node, number, int(choice[node, number]), float(urgency[node, number]))
            for node, number in np.argwhere(choice >= 0).tolist()
            if number < tokens[node]
        ]
        for group, (mind, look) in enumerate(zip(minds, looks, strict=True)):
            dispatch.hear(group, mind.speak(look))
        job = dispatch.close()
        event = journal[-1]
        assert [tuple(act) for act in event["acts"]] == by_rule
        crowded = np.flatnonzero(gives >= 0).tolist()
        assert [tuple(y) for y in event["yields"]] == [
            (n, int(gives[n]), float(surplus[n])) for n in crowded
        ]
        taken, yielded = taken + len(by_rule), yielded + len(crowded)
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    assert taken > 200
    assert yielded > 0


def play(rules, minds, *, by_wire=False):
    journal = []
    dispatch = Dispatch(rules, journal.append)
    while not dispatch.finished:
        for group, look in enumerate(dispatch.open()):
            if by_wire:
                speak = decode(encode(minds[group].speak(decode(encode(look)))))
                assert isinstance(speak, Speak)
            else:
                speak = minds[group].speak(look)
            dispatch.hear(group, speak)
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
    return dispatch, journal


def test_the_wire_changes_nothing():
    game, rules = setup()
    here, _ = play(rules, minds_of(game, rules))
    there, _ = play(rules, minds_of(game, rules), by_wire=True)
    assert here.digest.hexdigest() == there.digest.hexdigest()


def test_learning_repeats_itself_and_changes_decisions():
    game, rules = setup(learn=True)
    first, journal = play(rules, minds_of(game, rules))
    again, _ = play(rules, minds_of(game, rules))
    frozen, _ = play(setup()[1], minds_of(game, setup()[1]))
    assert first.digest.hexdigest() == again.digest.hexdigest() != frozen.digest.hexdigest()
    assert np.array_equal(first.rounds.current, again.rounds.current)
    assert first.rounds.done == sum(event["event"] == "round" for event in journal) > 3
    assert first.results.reward == again.results.reward > 0.0


def test_nodes_explore_in_a_share_of_their_slots_and_are_greedy_elsewhere():
    """Only what was explored is remembered; who never explores decides as who does not learn."""
    game, rules = setup(learn=True)
    whole = replace(rules, round_slots=10_000)
    remembered, digests = {}, {}
    for share in (0.0, 0.1, 1.0):
        minds = minds_of(game, whole, config=LearnConfig(explore=share))
        dispatch, _ = play(whole, minds)
        remembered[share] = sum(int(mind._memory.taken.sum()) for mind in minds)
        digests[share] = dispatch.digest.hexdigest()
    greedy, _ = play(setup()[1], minds_of(game, setup()[1]))
    assert digests[0.0] == greedy.digest.hexdigest()
    assert len(set(digests.values())) == 3
    assert remembered[0.0] == 0
    assert remembered[1.0] > 200
    assert 0.03 < remembered[0.1] / remembered[1.0] < 0.2


def test_every_request_is_made_once_when_it_is_told():
    game, rules = setup()
    _, journal = play(rules, minds_of(game, rules))
    told = {}
    for event in journal:
        for number in event.get("asked", []):
            assert number not in told
            told[number] = event["slot"]
    request = game.world.request
    heard = [n for n in range(len(request)) if request.told[n] < game.world.horizon]
    assert told == {n: int(request.told[n]) for n in heard}


def test_a_group_speaks_for_its_own_nodes_only():
    game, rules = setup()
    dispatch, minds = Dispatch(rules, lambda _: None), minds_of(game, rules)
    for _ in range(30):
        for group, look in enumerate(dispatch.open()):
            speak = minds[group].speak(look)
            own = set(rules.groups[group])
            assert {create.source for create in speak.creates} <= own
            assert {given.node for given in speak.yields} <= own
            dispatch.hear(group, speak)
        dispatch.close()
        for slot in list(dispatch.results._open):
            if dispatch.results._open[slot].answer is None:
                dispatch.settle(dispatch.results.by_closed_form(slot))

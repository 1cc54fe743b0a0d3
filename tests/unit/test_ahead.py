"""Pairs that are swapped before announced requests start, by hand and in whole games."""

from dataclasses import replace
from functools import partial

import msgspec
import pytest
from waiting_pairs import RULE, line, until, waiting, waiting_for

from backends.analytic import exact
from controller.game import ledger_of, play, player_of, prepare
from controller.rivals import dpem
from controller.rules import played_rule
from controller.setting import Setting, scenario_of
from quantum.batch import stack
from quantum.ledger import new_ledger, open_slot, swaps_ahead
from quantum.ledger.events import program_of
from quantum.ledger.places import put
from quantum.ledger.state import DELIVERED, SWAPS

SLOT_S = 0.02
ANNOUNCED = Setting(
    topology="mesh-20",
    preset="fast",
    demand="announced",
    load_hz=40.0,
    seconds=8.0,
    warmup_s=1.0,
)


def begin(world, *, stock=1):
    """Return a ledger in its first slot, with ``stock`` fresh pairs on every link."""
    ledger = new_ledger(world, composites=swaps_ahead(world, RULE))
    open_slot(world, ledger, RULE)
    for link in range(world.m):
        for _ in range(stock):
            put(world, ledger, link, link)
    return ledger


def test_a_pair_waits_for_its_request_and_is_what_a_backend_says():
    world, net = line((0.0, 0.4, 1, 0.7))
    ledger = begin(world)
    assert not until(world, ledger, 5)
    assert waiting(ledger) == 1 and ledger.totals[SWAPS] == 2
    # The memories between its ends are free again.
    assert ledger.node.used.tolist() == [1, 0, 0, 1]
    start = int(world.request[0].arrival)
    ((slot, events),) = until(world, ledger, start).items()
    (event,) = events
    assert slot == start and event.kind == DELIVERED and waiting(ledger) == 0
    assert ledger.request[0].good == 1 and ledger.waits[0] == 1 and ledger.node.used.sum() == 0
    # Two qubits waited for the request, the others were swapped when word of it had come.
    assert event.ages[:3].tolist() == [start, 1, 1] and event.ages_right[2] == start
    left_s, right_s = event.ages[:3] * SLOT_S, event.ages_right[:3] * SLOT_S
    weights = [tuple(row) for row in net.populations[event.links[:3]].tolist()]
    program = program_of(weights, left_s.tolist(), net.memory, net.gates, right_s.tolist())
    assert event.true == pytest.approx(exact(stack([program])[0][1]).populations[0][0], abs=1e-12)


def test_it_uses_tokens_that_would_be_lost():
    """Four pairs at once need four tokens in a bucket of two: two of them come before."""
    world, _ = line((0.0, 0.5, 4, 0.6), swaps=2.0, cutoff_s=2.0)
    assert world.node.bucket.max() < 4.0
    got = []
    for rule in (RULE._replace(ahead_s=0.0), RULE):
        ledger = begin(world, stock=4)
        until(world, ledger, int(world.request[0].deadline), rule)
        got.append(int(ledger.request[0].good))
    assert got[0] < got[1]


@pytest.mark.parametrize(
    "more",
    [
        {"cutoff_s": 0.2},  # gone when the request starts
        {"fidelity": 0.93},  # no longer good enough then, though it is now
    ],
)
def test_what_will_not_do_is_left_alone(more):
    world, _ = line((0.0, 0.45, 1, 0.755), **more)
    ledger = begin(world)
    until(world, ledger, 3)
    assert waiting(ledger) == 0 and ledger.totals[SWAPS] == 0


def test_the_same_pair_would_do_at_once():
    """The case above is one of waiting: without it the chain is good enough."""
    world, _ = line((0.0, 0.0, 1, 0.755), fidelity=0.93)
    ledger = begin(world)
    until(world, ledger, 3, RULE._replace(ahead_s=0.0))
    assert ledger.request[0].good == 1


def test_nothing_is_swapped_for_what_starts_later_or_was_not_announced():
    late, _ = line((0.0, 1.0, 1, 0.7), cutoff_s=2.0)
    ledger = begin(late)
    until(late, ledger, 24)
    assert waiting(ledger) == 0
    until(late, ledger, 25)
    assert waiting(ledger) == 1
    plain, _ = line((0.3, 0.3, 1, 0.7))
    assert not swaps_ahead(plain, RULE) and len(begin(plain).leaf) == 0


def test_a_failed_swap_costs_its_pairs_and_is_tried_again():
    world, _ = line((0.0, 0.4, 2, 0.5), success=0.5, seed=3, swaps=50.0)
    ledger = begin(world, stock=6)
    until(world, ledger, 10)
    assert 0 < waiting(ledger) <= 2
    assert ledger.totals[SWAPS] > 2 * waiting(ledger)


def test_requests_of_a_class_share_what_waits():
    """Two requests of one class want a pair each; no third pair is swapped."""
    world, _ = line((0.0, 0.3, 1, 0.7), (0.0, 0.4, 1, 0.7))
    ledger = begin(world, stock=4)
    until(world, ledger, 5)
    assert waiting(ledger) == 2
    until(world, ledger, int(world.request[1].deadline))
    assert ledger.request.good.tolist() == [1, 1] and waiting(ledger) == 0


def test_a_measured_run_swaps_nothing_ahead():
    assert played_rule(RULE, measured=True).ahead_s == 0.0
    assert played_rule(RULE, measured=False) is RULE


@pytest.mark.parametrize("more", [{}, {"changes": "outages:5:1"}, {"topology": "line-6"}])
def test_whole_games_stay_sound(more):
    setting = msgspec.structs.replace(ANNOUNCED, **more)
    game = prepare(scenario_of(setting), **setting.physics)
    assert game.swaps_ahead_of(dpem.allocator)
    ledger, player = ledger_of(game, dpem.frozen), player_of(game, dpem.frozen)
    most = 0
    for stop in range(10, game.world.horizon + 1, 10):
        player(ledger, stop)
        most = max(most, int(waiting_for(game.world, ledger).sum()))
    assert most > 0


def test_it_is_worth_it_and_stays_below_the_bound():
    delivered = {0.5: 0, 0.0: 0}
    for seed in range(6):
        setting = msgspec.structs.replace(ANNOUNCED, seed=seed)
        game = prepare(scenario_of(setting), **setting.physics)
        for ahead_s in delivered:
            one = dpem.make(ahead_s=ahead_s, sure=0.0)
            rule = one.rule(game.scenario, game.plan)
            still = replace(one, play=partial(dpem.player, learn=False, rule=rule))
            found = play(game, still, with_losses=False)
            delivered[ahead_s] += found.score.pairs_delivered
            assert found.score.pairs_delivered <= found.bound
            assert found.bound == (game.bound_ahead if ahead_s else game.bound)
    assert delivered[0.5] > 1.05 * delivered[0.0]

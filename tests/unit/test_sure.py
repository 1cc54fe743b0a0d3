"""Pairs that are swapped for requests which are only expected: when, for whom, and how many."""

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting_pairs import RULE, line, until, waiting, waiting_for

from controller.game import Game, ledger_of, play, player_of, prepare
from controller.rivals import dpem
from controller.rivals.allocator import Allocator, Player
from controller.rules import played_rule
from controller.setting import Setting, scenario_of
from quantum.ledger import new_ledger, open_slot, serve, swaps_ahead
from quantum.ledger.expected import MOST_AHEAD, expect, sure_of
from quantum.ledger.places import put
from quantum.ledger.state import SWAPS

SURE = RULE._replace(horizon_s=0.3, least=0.25, sure=0.4)
#: Two fidelities of the same two nodes, asked for without a word before.
LAX, STRICT = (0.3, 0.3, 1, 0.6), (0.36, 0.36, 1, 0.8)
SCHEDULED = Setting(
    topology="mesh-20",
    preset="fast",
    demand="scheduled",
    load_hz=40.0,
    seconds=5.0,
    warmup_s=21.0,
)


@cache
def scheduled():
    return prepare(scenario_of(SCHEDULED), **SCHEDULED.physics)


def begin(*requests, stock=1, **more):
    """Return a world and its ledger in the first slot, with fresh pairs on every link."""
    world, _ = line(*requests, **more)
    assert swaps_ahead(world, SURE)
    ledger = new_ledger(world, composites=True)
    open_slot(world, ledger, SURE)
    for link in range(world.m):
        for _ in range(stock):
            put(world, ledger, link, link)
    return world, ledger


def foretell(world, ledger, *pairs, batch=4.0):
    """Let so many pairs be expected of each class."""
    expect(world, ledger, SURE, np.array(pairs), np.full(len(world.cls), batch))


@pytest.mark.parametrize("wish", [LAX, STRICT])
def test_it_waits_for_any_request_of_two_nodes(wish):
    """One pair of four is expected of each of two classes: together that is enough."""
    other = (1.5, 1.5, 1, (LAX if wish is STRICT else STRICT)[3])
    world, ledger = begin(wish, other)
    foretell(world, ledger, 1.0, 1.0)
    serve(world, ledger, SURE)
    assert waiting(ledger) == 1 and ledger.totals[SWAPS] == 2
    # Behind the classes, in the place of the first of them.
    assert ledger.ready.pairs.tolist() == [0, 0, 1, 0]
    assert ledger.node.used.tolist() == [1, 0, 0, 1]
    until(world, ledger, int(world.request[0].deadline), SURE)
    # In the first slot in which word of it is there.
    assert ledger.request[0].good == 1 and ledger.waits[1] == 1 and waiting(ledger) == 0


@pytest.mark.parametrize("pairs", [(0.0, 0.0), (0.7, 0.8), (1.59, 0.0)])
def test_what_is_not_sure_gets_nothing(pairs):
    world, ledger = begin(LAX, STRICT)
    foretell(world, ledger, *pairs)
    serve(world, ledger, SURE)
    assert waiting(ledger) == 0 and ledger.totals[SWAPS] == 0


def test_it_gets_only_tokens_that_may_be_lost():
    world, ledger = begin(LAX, STRICT)
    for share in (0.89, 0.91):
        ledger.node.swap_tokens[1] = share * world.node.bucket[1]
        foretell(world, ledger, 2.0, 0.0)
        serve(world, ledger, SURE)
        assert waiting(ledger) == (1 if share > 0.9 else 0)


def test_a_few_wait_and_no_more():
    world, ledger = begin(LAX, STRICT, stock=7, swaps=200.0)
    for _ in range(3):
        foretell(world, ledger, 8.0, 0.0, batch=8.0)
        serve(world, ledger, SURE)
        assert waiting(ledger) == MOST_AHEAD
    foretell(world, ledger, 0.0, 0.0)
    serve(world, ledger, SURE)
    assert ledger.now[0].soon == 0 and waiting(ledger) == MOST_AHEAD


def test_who_announced_something_has_the_first_choice():
    """What waits for two nodes is shared out before anything is swapped for a class."""
    world, ledger = begin((0.1, 0.4, 1, 0.6), stock=4)
    foretell(world, ledger, 4.0)
    serve(world, ledger, SURE)
    assert ledger.ready.pairs.tolist() == [0, 1]
    foretell(world, ledger, 0.0)
    until(world, ledger, 12, SURE)
    assert waiting(ledger) == 1, "the announced request counts on the pair that waits"


def test_pairs_that_nobody_asks_for_go_with_the_cutoff():
    world, ledger = begin((1.5, 1.5, 1, 0.6), cutoff_s=0.5)
    foretell(world, ledger, 4.0)
    serve(world, ledger, SURE)
    assert waiting(ledger) == 1
    foretell(world, ledger, 0.0)
    until(world, ledger, world.cutoff + 1, SURE)
    assert waiting(ledger) == 0 and ledger.node.used.sum() == 0


@pytest.mark.parametrize("more", [{"cutoff_s": 0.2}, {"fidelity": 0.93}])
def test_a_pair_has_to_last_as_long_as_the_forecast_reaches(more):
    world, ledger = begin((0.3, 0.3, 1, 0.6), (0.36, 0.36, 1, 0.755), **more)
    foretell(world, ledger, 4.0, 4.0)
    serve(world, ledger, SURE)
    assert waiting(ledger) == 0


def test_what_waits_claims_no_links():
    world, ledger = begin(LAX, STRICT, stock=4, swaps=200.0)
    foretell(world, ledger, 4.0, 4.0)
    before = ledger.link.forecast.sum()
    serve(world, ledger, SURE)
    open_slot(world, ledger, SURE)
    foretell(world, ledger, 4.0, 4.0)
    assert waiting(ledger) == 4 and ledger.link.forecast.sum() == 0.0 < before


@given(
    st.lists(st.floats(0.0, 12.0), min_size=4, max_size=4),
    st.lists(st.integers(1, 8), min_size=2, max_size=2),
    st.floats(0.05, 1.0),
)
def test_the_strictest_class_of_two_nodes_stands_for_all(pairs, batches, least):
    """Against a loop over pairs of nodes that shares no code with it."""
    world = scheduled().world
    cls = world.cls[:4].copy()
    cls["first"], cls["fidelity"] = [0, 0, 2, 2], [0.8, 0.6, 0.5, 0.7]
    batch = np.repeat(np.array(batches, float), 2)
    rows, most = sure_of(world._replace(cls=cls), SURE._replace(sure=least), np.array(pairs), batch)
    wanted = []
    for first, strictest in ((0, 0), (2, 3)):
        expected, size = pairs[first] + pairs[first + 1], batches[first // 2]
        chance = expected / max(expected, size)
        if chance >= least and expected > 0.0:
            wanted.append((-chance, strictest, min(MOST_AHEAD, round(max(expected, size)))))
    wanted.sort()
    assert [(row, pairs) for _, row, pairs in wanted] == list(
        zip(rows.tolist(), most.tolist(), strict=True)
    )


def test_a_measured_run_swaps_nothing_for_a_forecast():
    assert not swaps_ahead(line(LAX)[0], played_rule(SURE, measured=True))


def modest(share: float) -> Allocator:
    """Return `dpem` as it is, who expects less ahead: what is swapped is then left over oftener."""
    one = dpem.make(horizon_s=0.3, least=0.25, sure=share)

    def still(game: Game) -> Player:
        return dpem.player(game, learn=False, rule=one.rule(game.scenario, game.plan))

    return replace(one, play=still)


@pytest.mark.parametrize("more", [{}, {"changes": "outages:20:5"}, {"topology": "line-6"}])
def test_whole_games_stay_sound(more):
    setting = msgspec.structs.replace(SCHEDULED, **more)
    game = prepare(scenario_of(setting), **setting.physics)
    one = modest(0.4)
    assert game.swaps_ahead_of(one) and game.bound_of(one) == game.bound_ahead
    ledger, player = ledger_of(game, one), player_of(game, one)
    most = 0
    for stop in range(10, game.world.horizon + 1, 10):
        player(ledger, stop)
        counts = waiting_for(game.world, ledger)
        most = max(most, int(counts[len(game.world.cls) :].sum()))
    assert most > 0


def test_it_stays_below_the_bound_and_can_be_left_out():
    ahead, without = (play(scheduled(), modest(s), with_losses=False) for s in (0.4, 0.0))
    assert 0 < ahead.score.pairs_delivered <= ahead.bound == scheduled().bound_ahead
    assert without.bound == scheduled().bound
    assert ahead.score != without.score

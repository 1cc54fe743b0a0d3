"""Requests that are expected: who may say so, what they claim, and what they do not."""

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from controller.dispatch import Dispatch
from controller.game import play, prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.rivals import dpem
from controller.setting import Setting, scenario_of
from quantum.bell import werner
from quantum.demand import Trace
from quantum.ledger import close_slot, generate, new_ledger, open_slot, serve
from quantum.ledger.expected import MOST_EXPECTED, expect
from quantum.ledger.generate import CLAIMED, score_links, urgency_of
from quantum.ledger.observe import FORECAST, OPEN, STOCK, WANTED, observe
from quantum.network import Network
from quantum.presets import Cell, build
from quantum.program import Gates, Memory
from quantum.scenario import Scenario

SETTING = Setting(
    topology="line-4",
    demand="poisson",
    seconds=2.0,
    warmup_s=0.0,
    load_hz=40.0,
    seed=3,
    learn=False,
)


@cache
def setup():
    game = prepare(scenario_of(SETTING))
    return game, live_rules(SETTING, game)


@cache
def mesh():
    """A few busy seconds, and the rule of the allocator with a horizon."""
    cell = Cell(
        preset="fast",
        topology="geometric-14",
        demand="poisson",
        deadline_s=0.3,
        cutoff_s=0.5,
        qubits=6,
        load_hz=40.0,
    )
    game = prepare(build(cell, 0, seconds=3.0, warmup_s=1.0))
    return game, dpem.allocator.rule(game.scenario, game.plan)._replace(horizon_s=0.3, least=0.5)


def played(slots, rule):
    """Return a ledger in the open slot ``slots``, after play without expectations."""
    game, _ = mesh()
    world = game.world
    ledger = new_ledger(world)
    for _ in range(slots):
        open_slot(world, ledger, rule)
        ledger.choice[:] = np.arange(len(ledger.choice))[:, None] % 2
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        close_slot(world, ledger)
    open_slot(world, ledger, rule)
    return ledger


def everything(ledger, *, without=()):
    """Return what a ledger holds, but for columns of links and scratch."""
    link = ledger.link.copy()
    for name in without:
        link[name] = 0
    parts = [ledger.pair, ledger.request, ledger.queue, ledger.totals, ledger.held, link]
    tokens = ledger.node[["used", "swap_tokens", "tokens", "yields"]]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in (*parts, tokens))


@pytest.mark.parametrize("slots", [20, 90])
def test_expectations_claim_and_change_nothing_else(slots):
    """What is known keeps its claims and its tokens; only the forecast of links rises."""
    game, rule = mesh()
    world, ledger = game.world, played(slots, rule)
    before = everything(ledger, without=("forecast",))
    some = np.zeros(len(world.cls))
    some[::5] = 2.0
    expect(world, ledger, rule, some, np.full(len(world.cls), 4.0))
    assert everything(ledger, without=("forecast",)) == before
    # Each class that has a path claims at least its pairs on one link at the source.
    forecast = ledger.link.forecast
    assert np.all(forecast >= 0.0)
    assert 0.0 < forecast.sum() <= 2.0 * np.count_nonzero(some) * world.cls.hops.max()
    expect(world, ledger, rule, np.zeros(len(world.cls)), some)
    assert not ledger.link.forecast.any()


def test_a_chance_of_a_batch_is_so_much_of_the_claims_of_the_batch():
    """With no other claims a quarter of the chance is a quarter of the claims."""
    game, rule = mesh()
    world, batch = game.world, np.full(len(game.world.cls), 4.0)
    for row in (0, len(world.cls) // 2, len(world.cls) - 1):
        found = []
        for pairs in (4.0, 1.0):
            ledger, one = new_ledger(world), np.zeros(len(world.cls))
            open_slot(world, ledger, rule)
            one[row] = pairs
            expect(world, ledger, rule, one, batch)
            found.append(ledger.link.forecast.copy())
        assert found[0].sum() >= 4.0
        np.testing.assert_allclose(found[1], 0.25 * found[0])
        # Where they start and where they end all of it has to pass.
        for end in (world.cls[row].a, world.cls[row].b):
            at = world.inc_link[end, : world.node[end].degree]
            assert found[0][at].sum() >= 4.0


def test_what_is_expected_too_little_or_too_far_claims_nothing():
    """Below ``least``, and by rules that do not look ahead."""
    game, rule = mesh()
    world, ledger = game.world, played(3, rule)
    batch = np.full(len(world.cls), 4.0)
    expect(world, ledger, rule, np.full(len(world.cls), 0.49), batch)
    assert not ledger.link.forecast.any()
    for blind in (rule._replace(horizon_s=0.0), rule._replace(complete=1)):
        expect(world, ledger, blind, batch, batch)
        assert not ledger.link.forecast.any()


def test_generation_serves_the_known_first_then_the_expected():
    """A link that is expected to be used is preferred to its equal, and both to no claim."""
    game, rule = mesh()
    world, ledger = game.world, new_ledger(game.world)
    node = int(np.argmax(world.node.degree))
    degree, links = int(world.node[node].degree), world.inc_link[node]
    view, scores = np.zeros((world.inc_link.shape[1], 7)), np.zeros(world.inc_link.shape[1])
    observe(world, ledger, node, view)
    view[:degree, STOCK], view[:degree, OPEN] = 1.0, 1.0
    flat = rule._replace(targets=np.full(world.m, 1.5))
    score_links(flat, links, degree, False, view, scores)
    assert np.ptp(scores[:degree]) == 0.0
    view[1, FORECAST], view[2, WANTED] = 2.0, 3.0
    score_links(flat, links, degree, False, view, scores)
    assert scores[2] > CLAIMED > scores[1] > scores[0]
    assert urgency_of(flat, links[1], view, 1) == pytest.approx(2.5)
    assert urgency_of(flat, links[2], view, 2) == CLAIMED


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"1234567",
        np.zeros(1, "<f8").tobytes(),
        "nan",
        "inf",
        "negative",
        "huge",
        "long",
    ],
)
def test_a_forecast_that_is_none_is_not_taken(bad):
    """Of the wrong length, not finite, negative or beyond all bounds: the last one stands."""
    game, rules = setup()
    dispatch = Dispatch(rules, lambda _: None)
    world = game.world
    own = [np.flatnonzero(np.isin(world.cls.a, group)) for group in rules.groups]
    good = [np.linspace(0.5, 1.5, len(rows)) for rows in own]
    minds = [
        Mind(world, rules.rule, np.array(group), seed=3, learn=False) for group in rules.groups
    ]
    values = {
        "nan": np.full(len(own[1]), np.nan),
        "inf": np.full(len(own[1]), np.inf),
        "negative": np.full(len(own[1]), -1e-9),
        "huge": np.full(len(own[1]), 1.01 * MOST_EXPECTED),
        "long": np.zeros(len(own[1]) + 1),
    }
    for said in (good[1].tobytes(), bad if isinstance(bad, bytes) else values[bad].tobytes()):
        looks = dispatch.open()
        for group, forecast in enumerate((good[0].tobytes(), said)):
            speak = minds[group].speak(looks[group])
            dispatch.hear(group, msgspec.structs.replace(speak, forecast=forecast))
        dispatch.close()
        expected = dispatch._admission.expected
        for rows, pairs in zip(own, good, strict=True):
            assert np.array_equal(expected[rows], pairs)


def repeating():
    """Two nodes with four links each; they ask for two pairs every 20 s and wait two slots only."""
    links = np.array(
        [
            [0, 1],
            [1, 2],
            *([end, leaf] for end, leaf in zip((0, 0, 0, 2, 2, 2), range(3, 9), strict=True)),
        ]
    )
    network = Network(
        name="dumbbell",
        nodes=tuple("abcdefghi"),
        position_km=np.zeros((9, 2)),
        links=links,
        length_km=np.ones(8),
        populations=werner(np.full(8, 0.99)),
        generation_hz=np.array([6.0, 0.0, 6.0] + [0.0] * 6),
        swap_hz=np.full(9, 5.0),
        qubits=np.full(9, 4),
        memory=Memory(),
        cutoff_s=1.0,
        gates=Gates(),
    )
    time_s = np.arange(6) * 20.0 + 5.0
    trace = Trace(
        name="test",
        commodities=np.array([[0, 2]], dtype=np.int64),
        weights=np.ones(1),
        load_hz=0.1,
        time_s=time_s,
        commodity=np.zeros(6, dtype=np.int64),
        pairs=np.full(6, 2, dtype=np.int64),
        minimum_fidelity=np.full(6, 0.75),
        deadline_s=np.full(6, 0.1),
        told_s=time_s,
    )
    return prepare(
        Scenario(network=network, trace=trace, seed=1, seconds=110.0, warmup_s=0.0, slot_s=0.1)
    )


def test_what_is_expected_is_there_when_it_is_asked_for():
    """Without targets all links are alike, but for those that a node has seen to be used."""
    game = repeating()
    delivered = {}
    for horizon_s in (0.0, 0.5):
        made = dpem.make(horizon_s=horizon_s, underneath=0.0, least=0.2)
        rule = made.rule(game.scenario, game.plan)
        assert not rule.targets.any()
        still = replace(made, play=lambda g, r=rule: dpem.player(g, learn=False, rule=r))
        delivered[horizon_s] = play(game, still, with_losses=False).score.pairs_delivered
    assert delivered[0.5] >= delivered[0.0] + 3

"""A policy without learning: the fast player does what the twin of minds and messages does."""

import msgspec
import numpy as np
import pytest

from controller.decide import FEATURES
from controller.foreseen import foreseen
from controller.frozen import frozen_player
from controller.game import ledger_of, play, player_of, prepare
from controller.policy import Actor, initial_actor
from controller.policy_file import actor_of
from controller.rivals import dpem
from controller.rivals.allocator import find
from controller.setting import Setting, scenario_of
from quantum.ledger.places import drop_expired

SETTING = Setting(topology="mesh-20", demand="hotspot", load_hz=40.0, seconds=6.0, warmup_s=1.0)
#: What decides how a game goes on, and what came of it.
STATE = ("now", "node", "link", "pair", "request", "held", "totals", "waits", "ring")


def moved(nodes, seed=3, size=1.0):
    """Return an actor that idles, prefers other links than the rule, and differs by node."""
    rng = np.random.default_rng(seed)
    start = initial_actor(nodes, len(FEATURES), seed=seed)
    scale = {"w1": 0.4, "b1": 0.4, "w2": 8.0}
    return Actor(
        **{
            name: getattr(start, name) + size * by * rng.normal(size=getattr(start, name).shape)
            for name, by in scale.items()
        }
    )


def table(ledger, name):
    """Return a table of a ledger; when requests were asked for goes without saying."""
    found = getattr(ledger, name).copy()
    if name == "request":
        found["asked"] = 1
    return found


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"preset": "fast", "demand": "announced", "load_hz": 30.0},
        {"changes": "outages:20:5", "seed": 2},
        {"topology": "star-8", "demand": "poisson", "load_hz": 20.0},
        {"demand": "scheduled", "warmup_s": 22.0},
    ],
)
def test_it_is_the_twin_without_learning(more):
    setting = msgspec.structs.replace(SETTING, **more)
    game = prepare(scenario_of(setting), **setting.physics).heard_by(dpem.allocator)
    actor = moved(game.world.n)
    slow, fast = ledger_of(game, dpem.allocator), ledger_of(game, dpem.allocator)
    twin = dpem.Twin(game, slow, learn=False, actor=actor)
    rule = twin.dispatch.rules.rule
    player = frozen_player(game.world, rule, actor, 0.05, foreseen(game.world, rule))
    for stop in (100, game.world.horizon):
        twin(stop)
        player(fast, stop)
        for name in STATE:
            np.testing.assert_array_equal(table(slow, name), table(fast, name), name)
    assert slow.totals.sum() > 0 and slow.request.good.sum() > 0


def test_measured_links_keep_nothing():
    game = prepare(scenario_of(SETTING)).heard_by(dpem.allocator)
    rule, actor = dpem.allocator.rule(game.scenario, game.plan), moved(game.world.n)
    at_once, by_hand = ledger_of(game, dpem.allocator), ledger_of(game, dpem.allocator)
    frozen_player(game.world, rule, actor, 0.05, measured=True)(at_once, 150)
    plain, bare = frozen_player(game.world, rule, actor, 0.05), game.world._replace(cutoff=0)
    for stop in range(1, 151):
        plain(by_hand, stop)
        drop_expired(bare, by_hand)
    np.testing.assert_array_equal(at_once.totals, by_hand.totals)
    assert at_once.node.used.sum() == 0 < at_once.totals.sum()


def test_the_allocator_plays_the_shipped_policy_at_any_size():
    """Weights of 100 nodes decide in other networks; alone in the world as well."""
    setting = msgspec.structs.replace(SETTING, topology="ring-12", load_hz=10.0)
    game = prepare(scenario_of(setting))
    frozen = find("dpem-frozen")
    ledger = ledger_of(game, frozen)
    player_of(game, frozen)(ledger, game.world.horizon)
    twin = dpem.Twin(
        game,
        ledger_of(game, frozen),
        learn=False,
        actor=actor_of(dpem.start_weights("shipped"), game.world.n),
    )
    twin(game.world.horizon)
    np.testing.assert_array_equal(ledger.totals, twin.ledger.totals)
    assert 0.0 <= play(game, frozen).contention_loss < 1.0

"""Cheats are caught: the future, the same resource twice, pairs from nowhere; honest ones pass."""

import cheats
import numpy as np
import pytest

from controller.arena.roster import installed
from controller.arena.unit import play_unit
from controller.decisions import record
from controller.fairness import all_tokens, audit, causality, conservation, fork
from controller.game import ledger_of, play, player_of, prepare
from controller.rivals.allocator import find
from quantum.errors import AllocatorError, InputError
from quantum.ledger.state import seed_at, tokens_of
from quantum.presets import Cell, build

#: It knows all arrivals on purpose, and says so.
SEERS = {"oracle"}
#: One of each way of playing; the others take minutes to compile and come with the long tests.
ALWAYS = {"dpem", "mean-rate", "q-cast-cached", "swap-asap"}


def allocators(*, without=()):
    return [
        pytest.param(name, marks=() if name in ALWAYS else pytest.mark.long)
        for name in sorted(set(installed()[0]) - set(without))
    ]


def cell(**more):
    wish = {
        "preset": "paper",
        "topology": "geometric-14",
        "demand": "poisson",
        "deadline_s": 0.6,
        "cutoff_s": 0.8,
        "qubits": 6,
        "load_hz": 12.0,
    }
    return Cell(**{**wish, **more})


@pytest.fixture(scope="module")
def game():
    return prepare(build(cell(), 0, seconds=3.0, warmup_s=1.0))


@pytest.mark.parametrize("name", allocators(without=SEERS))
def test_installed_allocators_do_not_know_the_future(name, game):
    for slot in (40, 130):
        causality(game, find(name), slot)


def test_a_learner_learns_from_the_past_only():
    """A round of learning comes every 250 slots; what is learned there must be of before."""
    longer = prepare(build(cell(topology="geometric-10"), 0, seconds=5.0, warmup_s=1.0))
    causality(longer, find("dpem"), 270)


@pytest.mark.parametrize("name", allocators())
def test_installed_allocators_use_nothing_twice(name, game):
    conservation(game, find(name), game.world.horizon)
    ledger = ledger_of(game, find(name))
    player_of(game, find(name))(ledger, game.world.horizon)
    assert audit(game.world, ledger, all_tokens(game.world)) == ""


@pytest.mark.parametrize("name", cheats.PROPHETS)
def test_whoever_knows_the_future_is_caught(name):
    """At a load at which there is something to know."""
    game = prepare(build(cell(load_hz=60.0), 0, seconds=3.0, warmup_s=1.0))
    with pytest.raises(AllocatorError, match=rf"allocator {name} knows the future: .* slot \d+"):
        causality(game, cheats.PROPHETS[name], 130)


@pytest.mark.parametrize("name", [*cheats.FORGERS, *cheats.RESPENDERS])
def test_whoever_uses_a_thing_twice_is_caught(name, game):
    cheat = {**cheats.FORGERS, **cheats.RESPENDERS}[name]
    with pytest.raises(AllocatorError, match=f"allocator {name} broke conservation in slot"):
        conservation(game, cheat, game.world.horizon)


@pytest.mark.parametrize("name", cheats.FORGERS)
def test_forgers_fail_in_every_unit(name, monkeypatch):
    """The arena itself sees sums only; that is enough for whoever delivers what was not made."""
    monkeypatch.setattr("controller.arena.unit.find", cheats.FORGERS.__getitem__)
    line = rf"allocator {name} failed on geometric-14, poisson, .* seed 3: "
    with pytest.raises(AllocatorError, match=line):
        play_unit(cell(), 3, [name], seconds=3.0, warmup_s=1.0)


def test_more_than_the_bound_is_named(monkeypatch):
    """Somebody whose sums add up, but who delivers more than anybody could."""
    monkeypatch.setattr("controller.arena.unit.find", lambda _: find("mean-rate"))
    monkeypatch.setattr(
        "controller.bounds.run_bound", lambda *_, **__: type("B", (), {"total": 3.0})
    )
    with pytest.raises(AllocatorError, match=r"mean-rate failed on .*seed 0: \d+ pairs .* 3\.0"):
        play_unit(cell(), 0, ["mean-rate"], seconds=3.0, warmup_s=1.0)


def test_a_fork_is_equal_before_and_different_after(game):
    world, slot = game.world, 100
    other = fork(game, slot, 77).world
    before = world.request.told < slot
    for name in ("cls", "pairs", "arrival"):
        mine, theirs = world.request[name], other.request[name]
        assert np.array_equal(mine[before], theirs[before])
        assert sorted(mine) == sorted(theirs)
    assert not np.array_equal(world.request.cls, other.request.cls)
    assert (seed_at(other, slot - 1), seed_at(other, slot)) == (world.seed, 77)
    draws = [
        [tokens_of(seed_at(w, s), v, s, w.node.generation[v]) for v in range(w.n) for s in span]
        for w in (world, other)
        for span in (range(slot), range(slot, slot + 100))
    ]
    assert draws[0] == draws[2] and draws[1] != draws[3]
    assert all_tokens(other) == sum(
        tokens_of(seed_at(other, s), v, s, other.node.generation[v])
        for v in range(other.n)
        for s in range(other.horizon)
    )


@pytest.mark.parametrize(("slot", "seed"), [(0, 1), (10**9, 1), (50, 0)])
def test_impossible_forks_are_refused(slot, seed, game):
    with pytest.raises(InputError, match="fork"):
        fork(game, slot, seed)


def test_writing_decisions_down_changes_nothing(game):
    for name in ("mean-rate", "uniform"):
        ledger, made = record(game, find(name))
        again = record(game, find(name))[1]
        assert made.digest == again.digest
        assert np.array_equal(ledger.request.good, _played(game, name).request.good)
        assert made.served[:, 2].sum() == ledger.request.attempts.sum()
        assert (made.acts[:, 4] > 0).sum() == ledger.totals[0]
    assert made.digest != record(game, find("on-demand"))[1].digest


def _played(game, name):
    ledger = ledger_of(game, find(name))
    player_of(game, find(name))(ledger, game.world.horizon)
    assert play(game, find(name)).score.requests > 0
    return ledger

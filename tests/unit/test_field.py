"""The twin as arrays is the network that ``dpem`` plays, decisions and rewards alike."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from controller.decide import FEATURES, new_memory
from controller.dispatch import Dispatch
from controller.environments.field import Field
from controller.game import Game, ledger_of, prepare
from controller.mind import Mind
from controller.policy import initial_actor
from controller.ppo import Learner, PPOConfig
from controller.rivals.dpem import allocator, rules_of
from controller.rollout import rollout_of
from controller.setting import Setting, scenario_of
from quantum.errors import InputError

SECONDS = 4.0


@cache
def game(changes: str | None = None) -> Game:
    setting = Setting(
        topology="mesh-20", load_hz=25.0, seconds=SECONDS, warmup_s=1.0, changes=changes
    )
    return prepare(scenario_of(setting))


def by_heuristic(field: Field) -> np.ndarray:
    """Play a slot as the heuristic would, one token at a time."""
    field.open()
    while field.tokens.any():
        sight = field.sight()
        field.spend(np.where(sight.mask, sight.base, -np.inf).argmax(axis=1))
    return field.close()


@pytest.mark.parametrize("changes", [None, "outages:6:1"])
def test_it_is_the_network_that_dpem_plays(changes: str | None) -> None:
    """Same ledger as through messages, and the same rewards, slot by slot."""
    this = game(changes)
    n = this.world.n
    rules = rules_of(this, (tuple(range(n)),), allocator=allocator, learn=False)
    # Results count as soon as they can, and nobody learns: rewards are told all the same.
    rules = replace(rules, learn=True, lag_slots=1, round_slots=10**9)
    dispatch = Dispatch(rules, lambda _: None, ledger_of(this, allocator))
    mind = Mind(this.world, rules.rule, np.arange(n), seed=0, learn=False)
    field, total = Field(this), 0.0
    rewards = np.zeros(n)
    while not field.finished:
        (look,) = dispatch.open()
        np.testing.assert_allclose(np.frombuffer(look.credit), rewards, atol=1e-12)
        dispatch.hear(0, mind.speak(look))
        job = dispatch.close()
        if job is not None:
            dispatch.settle(dispatch.results.by_closed_form(job.job))
        rewards = by_heuristic(field)
        total += float(rewards.sum())
    assert total > 5.0
    for part in ("node", "link", "pair", "request", "totals"):
        one, other = getattr(dispatch.ledger, part), getattr(field.ledger, part)
        assert one.tobytes() == other.tobytes(), part


def test_a_policy_plays_as_the_arrays_do() -> None:
    """The kernel that decides for all nodes and the steps one by one are the same game."""
    one, other = Field(game()), Field(game())
    actor = initial_actor(one.nodes, len(FEATURES))
    nothing = new_memory(one.nodes, 1, one.candidates)
    horizon = one.rules.world.horizon
    one.play(actor, nothing, temperature=0.05, learn=False, stop=horizon)
    while not other.finished:
        by_heuristic(other)
    assert one.ledger.request.tobytes() == other.ledger.request.tobytes()
    assert one.ledger.node.tobytes() == other.ledger.node.tobytes()


def test_what_a_policy_remembers_can_be_learned_from() -> None:
    """Ratio 1 on the first minibatch: memory, kernel and learner agree on who acted."""
    field = Field(game())
    learner = Learner(field.nodes, len(FEATURES), config=PPOConfig(temperature=0.05))
    for _ in range(2):
        memory = new_memory(field.nodes, 64, field.candidates)
        decided = field.play(learner.actor(), memory, temperature=0.05, stop=field.slot + 100)
        assert memory.taken.sum() == decided > 50
        rollout = rollout_of(memory, 0.98)
        assert rollout is not None
        metrics = learner.update(rollout)
        assert metrics.first_ratio_error < 1e-9
    assert metrics.decisions > 50
    assert float(np.abs(rollout.reward).sum()) > 0.0


class Certain:
    """Expects three pairs of every class, always."""

    def __init__(self, classes: int) -> None:
        self.heard = 0
        self._soon = np.full(classes, 3.0)

    def record(self, slot: int, cls: int, pairs: int) -> None:
        self.heard += 1

    def expected(self, slot: int, horizon_slots: int) -> np.ndarray:
        return self._soon


def test_features_hold_what_is_foreseen() -> None:
    """A forecaster of one's own hears of all requests, and nodes see what it expects."""
    certain = Certain(len(game().world.cls))
    field = Field(game(), certain)
    soon = FEATURES.index("gap relative to the forecast")
    most = 0.0
    while not field.finished:
        field.open()
        most = max(most, float(field.sight().features[..., soon].max()))
        field.close()
    assert certain.heard == len(game().world.request) > 0
    assert most > 0.5


def test_actions_that_do_not_exist_are_refused() -> None:
    field = Field(game())
    field.open()
    with pytest.raises(InputError, match="shape"):
        field.spend(np.zeros(3, dtype=np.int64))
    with pytest.raises(InputError, match="action must be 0 to"):
        field.spend(np.full(field.nodes, field.candidates))

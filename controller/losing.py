"""What is lost with the controller: the same requests, with it and without it for a while.

Five plays of one game, each with the same draws:

- ``dpem``: nodes decide; the aggregator of the federated averages is gone for a while. Nobody
  averages, nobody is asked to learn; every node goes on with the policy that it had last.
- ``central``: the controller is gone for a while. Nothing is generated and nothing is swapped;
  pairs in memory age. What was asked meanwhile is heard when it is back, if that is in time.
- ``filling``: the same, but nodes go on making pairs by the rule, as if they knew what requests
  claim. Nobody swaps or assigns. No controller's plan can do more without the controller.
- each of ``dpem`` and ``central`` also without a loss, to compare with.

The ledger is that of the arena. A request counts by the slot of its arrival.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from controller.game import Game, ledger_of, player_of, prepare
from controller.learning_round import Flags, Rounds
from controller.plan import delay_slots
from controller.policy_file import SHIPPED, actor_of, start_weights
from controller.rivals.allocator import Allocator, find
from controller.rivals.dpem import Twin
from controller.setting import SLOT_S, Setting, scenario_of
from quantum.errors import InputError
from quantum.ledger import (
    Ledger,
    Rule,
    World,
    act_by_rule,
    close_slot,
    generate,
    new_ledger,
    open_slot,
    swaps_ahead,
)
from quantum.ledger.state import Ints

__all__ = ["PLAYS", "Loss", "Outcome", "WithoutAggregator", "check", "play_losses"]

_EVENTS = 8192


class Loss(NamedTuple):
    """From when on, and for how long, nobody is there: seconds of network time, after warm-up."""

    at_s: float
    for_s: float


class Outcome(NamedTuple):
    """What became of requests: arrays over all of them, times in seconds after the warm-up."""

    arrival_s: np.ndarray
    pairs: Ints
    good: Ints
    """Pairs that were delivered in time and are good enough."""


#: Name of a play -> what is told about it.
PLAYS = {
    "dpem": "dpem, aggregator lost",
    "dpem whole": "dpem, nothing lost",
    "central": "central, controller lost",
    "filling": "the same, nodes go on filling their memories",
    "central whole": "central, nothing lost",
}


def check(setting: Setting, loss: Loss, central: str) -> None:
    """Refuse what cannot be played, naming the option."""
    if not 0.0 <= loss.at_s < setting.seconds:
        raise InputError(f"--lost-at must be between 0 and --seconds, got {loss.at_s:g}")
    if not SLOT_S <= loss.for_s <= setting.seconds - loss.at_s:
        raise InputError(
            f"--lost-for must be >= {SLOT_S:g} (a slot) and end within --seconds, "
            f"got {loss.for_s:g} from {loss.at_s:g} of {setting.seconds:g}"
        )
    allocator = find(central)
    if not allocator.central or allocator.play is not None:
        raise InputError(f"--central must be an allocator with a controller and a rule: {central}")


def play_losses(setting: Setting, loss: Loss, central: str) -> Iterator[tuple[str, Outcome]]:
    """Play every play of :data:`PLAYS` on one scenario."""
    scenario = scenario_of(setting)
    game = prepare(scenario, **setting.physics)
    slot_s = scenario.slot_s
    first = scenario.warmup_slots + round(loss.at_s / slot_s)
    gone = range(first, first + round(loss.for_s / slot_s))
    never = range(0)
    other = find(central)
    yield "dpem", _by_nodes(game, gone, learn=setting.learn)
    yield "dpem whole", _by_nodes(game, never, learn=setting.learn)
    yield "central", _by_controller(game, other, gone, _nothing)
    yield "filling", _by_controller(game, other, gone, _fill)
    yield "central whole", _by_controller(game, other, never, _nothing)


def _by_nodes(game: Game, gone: range, *, learn: bool) -> Outcome:
    allocator = find("dpem")
    world = game.heard_by(allocator).world
    delay = delay_slots(game.scenario, central=False)
    rule = allocator.rule(game.scenario, game.plan)
    ledger = new_ledger(
        world, delay_slots=delay, events=_EVENTS, composites=swaps_ahead(world, rule)
    )
    twin = WithoutAggregator(game, ledger, learn=learn, rule=rule, gone=gone)
    twin(world.horizon)
    return _outcome(world, ledger)


class WithoutAggregator(Twin):
    """The twin whose aggregator asks nobody to learn while it is gone."""

    def __init__(self, game: Game, ledger: Ledger, *, learn: bool, rule: Rule, gone: range) -> None:
        start = actor_of(start_weights(SHIPPED), game.world.n)
        super().__init__(game, ledger, learn=learn, actor=start, rule=rule)
        self._gone = gone

    def __call__(self, stop: int) -> None:
        dispatch = self.dispatch
        there, rules = dispatch.rounds, dispatch.rules
        gone = _Gone(rules, there.current)
        while dispatch.slot < stop:
            lost = dispatch.slot in self._gone
            dispatch.rounds = gone if lost else there
            for look in dispatch.open():
                seen = msgspec.structs.replace(look, learn=False) if lost else look
                dispatch.hear(0, self.speak(seen))
            job = dispatch.close()
            if job is not None:
                dispatch.settle(dispatch.results.by_closed_form(job.job))
        dispatch.rounds = there


class _Gone(Rounds):
    """The aggregator while it is not there: it closes no round and hands nothing out."""

    def end_of_slot(
        self,
        journal: Callable[[Mapping[str, Any]], None],
        slot: int,
        present: Flags | None = None,
    ) -> None:
        """Close nothing."""

    def take_parameters(self, group: int) -> bytes:
        """Return nothing."""
        return b""


#: What nodes do with their tokens while the controller is gone.
Alone = Callable[[World, Ledger, Rule], None]


def _nothing(world: World, ledger: Ledger, rule: Rule) -> None:
    ledger.choice[:] = -1


def _fill(world: World, ledger: Ledger, rule: Rule) -> None:
    act_by_rule(world, ledger, rule)


def _by_controller(game: Game, allocator: Allocator, gone: range, alone: Alone) -> Outcome:
    world = game.heard_by(allocator).world
    rule = allocator.rule(game.scenario, game.plan)
    ledger, play = ledger_of(game, allocator), player_of(game, allocator)
    play(ledger, gone.start if len(gone) else world.horizon)
    for _ in gone:
        open_slot(world, ledger, rule)
        alone(world, ledger, rule)
        generate(world, ledger, rule)
        # Nobody swaps and nobody assigns: there is no serve() in this slot.
        close_slot(world, ledger)
    play(ledger, world.horizon)
    return _outcome(world, ledger)


def _outcome(world: World, ledger: Ledger) -> Outcome:
    arrival = np.asarray(world.request.arrival, dtype=np.int64)
    inside = (arrival >= world.warmup) & (arrival < world.warmup + world.slots)
    return Outcome(
        (arrival[inside] - world.warmup) * world.slot_s,
        np.asarray(world.request.pairs[inside], dtype=np.int64),
        np.asarray(ledger.request.good[inside], dtype=np.int64),
    )

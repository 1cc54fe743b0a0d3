"""One scenario made ready, and one allocator played on it.

A game holds what all allocators of a scenario share: the world with its draws, the plan and the
bound. Playing changes nothing in it, so the same game can be played by one after the other.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from controller.bounds import fair_of, fluid_of, windowed_of
from controller.hearing import as_heard
from controller.losses import (
    Alone,
    contention_loss,
    pairs_alone,
    pairs_alone_forked,
    pairs_alone_played,
)
from controller.plan import Flows, Plan, Plans, controller_node, delay_slots, flows_of, plan_of
from controller.rivals.allocator import Allocator, Player
from quantum.bell import correlators
from quantum.bound import horizon
from quantum.bound_fair import FairBound
from quantum.bound_windows import WindowedBound
from quantum.drift import drifted_populations
from quantum.errors import InputError
from quantum.flows import shortest_paths
from quantum.ledger import Ledger, World, new_ledger, new_world, swaps_ahead
from quantum.ledger import state as codes
from quantum.ledger.belief import following
from quantum.ledger.state import Floats, Ints
from quantum.scenario import Scenario
from quantum.twin import Score, advance, counted, score

__all__ = [
    "Flows",
    "Game",
    "Plan",
    "Plans",
    "Result",
    "alone_of",
    "controller_node",
    "delay_slots",
    "flows_of",
    "ledger_of",
    "mean_fidelity",
    "mechanism_cost",
    "plan_of",
    "play",
    "player_of",
    "prepare",
    "result_of",
    "world_of",
]

#: Slots for which a block of drifting link fidelities lasts.
_BLOCK_SLOTS = 50
#: Events of one slot that a ledger can hold for a player.
_EVENTS = 8192
_TOTALS = {
    "generated": codes.GENERATED,
    "dropped": codes.DROPPED,
    "evicted": codes.EVICTED,
    "swaps": codes.SWAPS,
    "refused": codes.REFUSED,
    "wasted": codes.WASTED,
    "assembled": codes.ASSEMBLED,
    "tests": codes.TESTS,
    "distilled": codes.DISTILLED,
    "left": codes.LEFT,
    "failed_claims": codes.FAILED,
}


@dataclass(frozen=True, eq=False, repr=False)
class Game:
    """A scenario ready to be played; ``bound`` is in pairs, see :mod:`quantum.bound`."""

    scenario: Scenario
    world: World
    plan: Plan
    bound: float
    max_rounds: int = 0

    def __repr__(self) -> str:
        net, asked = self.scenario.network, self.scenario.trace
        return (
            f"Game({net.name}, {len(net.nodes)} nodes, {len(net.links)} links: "
            f"{len(asked.time_s)} requests of {asked.name}, bound {self.bound:.1f} pairs)"
        )

    def heard_by(self, allocator: Allocator) -> "Game":
        """Return the game as an allocator hears of it, see :mod:`controller.hearing`."""
        return self._centrally if allocator.central else self._at_sources

    @cached_property
    def _centrally(self) -> "Game":
        return self._heard(central=True)

    @cached_property
    def _at_sources(self) -> "Game":
        return self._heard(central=False)

    def _heard(self, *, central: bool) -> "Game":
        world = as_heard(self.world, self.scenario, central=central)
        return self if world is self.world else replace(self, world=world)

    @cached_property
    def bound_ahead(self) -> float:
        """The bound for allocators that also swap before a request asks, never below ``bound``."""
        found = fluid_of(self.scenario, self.world, self.max_rounds, swaps_ahead=True)
        return max(self.bound, found)

    @cached_property
    def fair(self) -> FairBound:
        """The fair share, see :mod:`quantum.bound_fair`."""
        return fair_of(self.scenario, self.world, self.max_rounds)

    @cached_property
    def windowed(self) -> WindowedBound:
        """The bound of a stretch of the run in time windows; expensive."""
        return windowed_of(self.scenario, self.world, self.max_rounds)

    @cached_property
    def windowed_ahead(self) -> WindowedBound:
        """That for allocators that also swap before a request asks."""
        return windowed_of(self.scenario, self.world, self.max_rounds, swaps_ahead=True)

    def bound_of(self, allocator: Allocator) -> float:
        """Return the bound that holds for an allocator."""
        return self.bound_ahead if self.swaps_ahead_of(allocator) else self.bound

    def swaps_ahead_of(self, allocator: Allocator) -> bool:
        """Tell whether an allocator joins pairs before a request of this game gets them."""
        if allocator.swaps_ahead:
            return True
        return swaps_ahead(self.world, allocator.rule(self.scenario, self.plan))


@dataclass(frozen=True)
class Result:
    """What an allocator made of a game; requests that arrived in the evaluation window count.

    ``fidelity`` is the mean true fidelity of the delivered pairs and ``latency_ms`` their mean
    network time since arrival, None where there are none; ``totals`` counts over the whole run.
    """

    allocator: str
    score: Score
    bound: float
    contention_loss: float
    fidelity: float | None
    latency_ms: float | None
    totals: dict[str, int]

    @property
    def messages_per_pair(self) -> float | None:
        """Messages over received pairs of the whole run, None without any."""
        pairs = self.totals["received"]
        return self.totals["messages"] / pairs if pairs else None

    @property
    def fraction_of_bound(self) -> float:
        """Delivered pairs over the bound, 0 where the bound is 0."""
        return self.score.pairs_delivered / self.bound if self.bound > 0.0 else 0.0


def prepare(
    scenario: Scenario,
    plans: Plans | None = None,
    *,
    max_rounds: int = 0,
    drift: bool = False,
    measured_belief: bool = False,
) -> Game:
    """Make a scenario ready: world, plan and bound.

    ``plans`` keeps flows for other scenarios of the same network and demand. ``max_rounds`` of
    distillation, none or one, are allowed, and count for bound, plan and contention.
    """
    if max_rounds not in (0, 1):
        raise InputError(f"distillation_rounds must be 0 or 1, got {max_rounds}")
    world = world_of(scenario, max_rounds=max_rounds, drift=drift, measured_belief=measured_belief)
    return Game(
        scenario=scenario,
        world=world,
        plan=plan_of(scenario, plans, max_rounds=max_rounds),
        bound=fluid_of(scenario, world, max_rounds),
        max_rounds=max_rounds,
    )


def world_of(
    scenario: Scenario,
    *,
    max_rounds: int = 0,
    drift: bool = False,
    measured_belief: bool = False,
) -> World:
    """Return the world of a scenario.

    ``drift`` lets link fidelities wander; with ``measured_belief`` controllers follow them
    (:mod:`quantum.ledger.belief`), otherwise they believe in the nominal values.
    """
    paths = partial(shortest_paths, max_rounds=max_rounds)
    truth: Floats | None = None
    if drift:
        slots = horizon(scenario)[1]
        walk = drifted_populations(
            scenario.network,
            scenario.seed,
            slots,
            slot_s=scenario.slot_s,
            block_slots=_BLOCK_SLOTS,
        )
        truth = correlators(walk)
    world = new_world(
        scenario,
        paths=paths,
        truth=truth,
        truth_slots=_BLOCK_SLOTS if drift else 1,
        rounds=max_rounds,
    )
    return following(world) if measured_belief else world


def player_of(game: Game, allocator: Allocator) -> Player:
    """Return what plays a ledger of the game: the allocator's own player, or its rule."""
    game = game.heard_by(allocator)
    if allocator.play is not None:
        return allocator.play(game)
    rule = allocator.rule(game.scenario, game.plan)

    def player(ledger: Ledger, stop: int) -> None:
        advance(game.world, ledger, rule, stop)

    return player


def play(game: Game, allocator: Allocator, *, with_losses: bool = True) -> Result:
    """Play a game from its first slot to its horizon.

    ``with_losses`` also plays every request that missed pairs alone, which costs about as much
    again; by the rule, for an allocator that is more than its rule. Otherwise that loss is 0.
    """
    ledger = ledger_of(game, allocator)
    player_of(game, allocator)(ledger, game.world.horizon)
    return result_of(game, allocator, ledger, with_losses=with_losses)


def ledger_of(game: Game, allocator: Allocator) -> Ledger:
    """Return the ledger that an allocator starts with."""
    game = game.heard_by(allocator)
    delay = delay_slots(game.scenario, central=allocator.central)
    # A rule leaves its events to nobody; a player of its own takes them every slot.
    return new_ledger(
        game.world,
        delay_slots=delay,
        events=_EVENTS if allocator.play else 0,
        composites=game.swaps_ahead_of(allocator),
    )


def result_of(
    game: Game, allocator: Allocator, ledger: Ledger, *, with_losses: bool = True
) -> Result:
    """Say what an allocator made of a ledger that it played to the horizon; see :func:`play`."""
    world = game.world
    cost = mechanism_cost(world, ledger, central=allocator.central)
    loss = 0.0
    if with_losses:
        loss = contention_loss(world, ledger, alone_of(game, allocator))
    return Result(
        allocator=allocator.name,
        score=score(world, ledger),
        bound=game.bound_of(allocator),
        contention_loss=loss,
        fidelity=mean_fidelity(world, ledger),
        latency_ms=_mean_wait_ms(ledger.waits, world.slot_s),
        totals={name: int(ledger.totals[row]) for name, row in _TOTALS.items()} | cost,
    )


def mechanism_cost(world: World, ledger: Ledger, *, central: bool) -> dict[str, int]:
    """Count the ``messages`` of a run, and the pairs ``received`` by requests of all its slots.

    One for each request that was asked for; and for every chain that was claimed, also where the
    claim failed, a command to each node in it and an answer from each. The source of a request is
    in the chain and needs no message to itself, a central controller is not.
    """
    chains = int(ledger.request.attempts.sum())
    # A chain of h links has h - 1 swaps and h + 1 nodes; swaps ahead of requests count as well.
    nodes = int(ledger.totals[codes.SWAPS]) + 2 * chains + int(ledger.totals[codes.FAILED_NODES])
    claims = chains + int(ledger.totals[codes.FAILED])
    asked = int(((ledger.request.asked == 1) & (ledger.request.visible < world.horizon)).sum())
    return {
        "messages": asked + 2 * nodes - (0 if central else 2 * claims),
        "received": int((world.request.pairs - ledger.request.left).sum()),
    }


def alone_of(game: Game, allocator: Allocator) -> Alone:
    """Return what tells how many pairs a request would get from the allocator alone."""
    game = game.heard_by(allocator)
    world, delay = game.world, delay_slots(game.scenario, central=allocator.central)
    if allocator.plays_alone and allocator.history_s == 0.0:
        player, ahead = player_of(game, allocator), game.swaps_ahead_of(allocator)
        return partial(pairs_alone_forked, world, player, delay_slots=delay, composites=ahead)
    if allocator.plays_alone:
        return partial(
            pairs_alone_played,
            world,
            lambda: player_of(game, allocator),
            delay_slots=delay,
            history_slots=round(allocator.history_s / world.slot_s),
            composites=game.swaps_ahead_of(allocator),
        )
    rule = allocator.rule(game.scenario, game.plan)
    return lambda requests: pairs_alone(world, rule, requests, delay)


def mean_fidelity(world: World, ledger: Ledger) -> float | None:
    """Return the mean true fidelity of the delivered pairs that count."""
    which = counted(world)
    pairs = int((world.request.pairs[which] - ledger.request.left[which]).sum())
    return float(ledger.request.quality[which].sum()) / pairs if pairs else None


def _mean_wait_ms(waits: Ints, slot_s: float) -> float | None:
    count = int(waits.sum())
    return float(waits @ np.arange(len(waits))) / count * slot_s * 1e3 if count else None

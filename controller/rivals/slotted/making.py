"""From the settings of a slotted protocol to an allocator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from controller.game import Game
from controller.plan import Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.on_demand import plain
from controller.rivals.slotted.candidates import candidates, no_candidates
from controller.rivals.slotted.playing import player_with
from controller.rivals.slotted.state import OFFLINE, SUM_DISTANCE, Candidates, Protocol
from quantum.errors import InputError
from quantum.ledger import Rule, World
from quantum.ledger.state import Floats
from quantum.scenario import Scenario

__all__ = ["Settings", "allocator_of", "creation_rate", "protocol_of"]

#: Longest cutoff of the presets; what is older than two of them is forgotten.
_CUTOFF_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A slotted protocol in the words of its levers.

    ``round_s``: length of a round. ``early``: 1 swaps as soon as a path is complete, 0 at the end
    of the round. ``reach``: hops that a recovery path may bridge, 0 for none. ``detour``: links
    more than the shortest path that a path may have. ``thrift``: how much scarce swap tokens count
    against a path. ``metric`` and ``paths``: of candidates found offline. ``fill``: idle tokens of
    a cached form make 1 a pair on any link, 2 one where the stock is farthest below what the
    long-run mean demand uses in a second (the targets of mean-rate).
    """

    kind: int
    cached: bool
    round_s: float
    early: float = 1.0
    reach: float = 0.0
    detour: float = 4.0
    thrift: float = 0.0
    metric: float = 0.0
    paths: float = 32.0
    fill: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.round_s <= 60.0:
            raise InputError(f"round_s must be above 0 and at most 60 seconds, got {self.round_s}")
        if not 0.0 <= self.thrift < 1.0:
            raise InputError(f"thrift must be at least 0 and below 1, got {self.thrift}")
        for name, low, high in (
            ("early", 0, 1),
            ("reach", 0, 4),
            ("detour", 0, 4),
            ("metric", 0, 2),
            ("paths", 1, 64),
            ("fill", 1, 2),
        ):
            value = getattr(self, name)
            if not (low <= value <= high and value == int(value)):
                raise InputError(f"{name} must be a whole number {low} to {high}, got {value}")


def allocator_of(
    settings: Settings,
    *,
    name: str,
    sentence: str,
    paper: str,
    levers: Mapping[str, tuple[float, ...]],
    make: Callable[..., Allocator],
) -> Allocator:
    """Return the central allocator that plays a slotted protocol.

    Without memory nothing is left of a round but swap tokens, which are all there in a quiet
    network; the cached form is as if it had always played after two cutoffs.
    """

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        fill = int(settings.fill) if settings.cached else 0
        # Prices count where paths of pairs are searched: the fewest links, of nearly equal ones
        # those that spare scarce nodes and links.
        few = plain(scenario, plan, fill=fill)._replace(
            bucket=0.2, inverse=0.3, scarce=0.1, age=0.05, fidelity=0.05
        )
        if fill == 2:
            return few._replace(targets=plan.mean_targets, evict=0.2)
        return few

    def play(game: Game) -> Player:
        world = game.world
        plan = protocol_of(settings, world, rule(game.scenario, game.plan))
        found = no_candidates(len(world.cls))
        if settings.kind == OFFLINE:
            found = _offline(game, plan.metric, plan.round_slots, plan.detour, int(settings.paths))
        return player_with(game, plan, found)

    return Allocator(
        name=name,
        central=True,
        sentence=sentence,
        rule=rule,
        play=play,
        paper=paper,
        plays_alone=True,
        history_s=2.0 * _CUTOFF_S if settings.cached else settings.round_s,
        levers=levers,
        make=make,
    )


def protocol_of(settings: Settings, world: World, rule: Rule) -> Protocol:
    """Return the numbers that the kernels play a protocol by."""
    return Protocol(
        kind=settings.kind,
        round_slots=max(1, round(settings.round_s / world.slot_s)),
        cached=int(settings.cached),
        early=int(settings.early),
        reach=int(settings.reach),
        metric=int(settings.metric),
        detour=int(settings.detour),
        thrift=float(settings.thrift),
        rule=rule._replace(rounds=0),
        better=rule._replace(complete=1),
    )


@lru_cache(maxsize=1)
def _offline(game: Game, metric: int, round_slots: int, detour: int, count: int) -> Candidates:
    """Return the candidates of a game, found once though it is played many times alone."""
    if metric == SUM_DISTANCE:
        cost = game.scenario.network.length_km
    else:
        cost = 1.0 / creation_rate(game.world, round_slots)
    # Costs must be above zero, so that shortest paths have no loops.
    return candidates(game.world, np.maximum(cost, 1e-6), count, detour)


def creation_rate(world: World, round_slots: int) -> Floats:
    """Return the chance that a link gets a pair in a round, at mean rates, shape (m,).

    Each end has half of its tokens for the link, as if it were in the middle of one path.
    """
    made = world.node.generation[world.link.a] + world.node.generation[world.link.b]
    mean = 0.5 * round_slots * (1.0 - world.test_share) * made
    chance: Floats = np.maximum(-np.expm1(-mean), 1e-9)
    return chance

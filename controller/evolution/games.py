"""Short games that policies are tried on: cells of presets, on networks and seeds of training.

No preset plays networks 4 to 7, no comparison a seed of 1000 or more. Half of the games are of
``metro``, a third of ``fast``, a sixth of ``paper``, because what learning can add is in short
deadlines and small memories; within a preset every level of every factor comes as often as others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import msgspec
import numpy as np

from controller.foreseen import foreseen
from controller.frozen import frozen_player
from controller.game import Game, Plans, flows_of, ledger_of, player_of, prepare
from controller.mind import LearnConfig
from controller.policy_file import actor_of
from controller.rivals.allocator import Allocator, Player, find
from controller.rivals.dpem import allocator
from controller.tuning import FIRST_SEED
from quantum.demand import Trace
from quantum.errors import InputError, NoDemand
from quantum.ledger.state import Floats
from quantum.network import Network
from quantum.presets import NETWORKS, Cell, build, cells, sample
from quantum.seeding import generator
from quantum.twin import score

__all__ = [
    "LUCK",
    "RIVAL",
    "PolicyUnit",
    "Stage",
    "Trial",
    "course_on",
    "game_of",
    "policy_units",
    "try_all",
    "units_of",
]

#: Against whom a policy is measured.
RIVAL = "mean-rate"
#: Shares of the presets among the games.
_SHARES = {"paper": 1, "metro": 3, "fast": 2}
#: Seeds that one training may use; the next training seed starts after them.
_SEEDS = 1000
#: Pairs of the bound at which a unit weighs half.
LUCK = 100.0
#: Episodes of PPO until cells come again.
_COURSE = 48


class PolicyUnit(msgspec.Struct, frozen=True):
    """A cell on network ``number`` of its kind with the draws of ``seed``, so many seconds long.

    Nodes hear of the requests of ``heard_s`` before anything is played, so that they have seen what
    repeats; ``warmup_s`` later pairs count.
    """

    cell: Cell
    number: int
    seed: int
    seconds: float = 12.0
    warmup_s: float = 3.0
    heard_s: float = 22.0


@dataclass(frozen=True, eq=False)
class Trial:
    """Weights (candidates, P) to try on a unit."""

    unit: PolicyUnit
    weights: Floats


def policy_units(
    size: int,
    *,
    seed: int = 0,
    first: int = 0,
    presets: Sequence[str] = tuple(_SHARES),
    seconds: float = 12.0,
) -> list[PolicyUnit]:
    """Return ``size`` units of a training seed, balanced by key over cells of the presets.

    ``first`` tells sets of one training apart: they share no draws if it differs by their size.

    >>> units = policy_units(12)
    >>> [unit.cell.preset for unit in units].count("metro"), min(unit.seed for unit in units)
    (6, 1000)
    """
    for preset in presets:
        if preset not in _SHARES:
            raise InputError(f"presets must be of {', '.join(_SHARES)}, got {preset!r}")
    if not len(presets) <= size <= _SEEDS - first:
        raise InputError(f"units must be between {len(presets)} and {_SEEDS - first}, got {size}")
    start = FIRST_SEED + _SEEDS * seed + first
    shares = np.array([_SHARES[preset] for preset in presets], dtype=float)
    ends = np.round(np.cumsum(shares) / shares.sum() * size).astype(int)
    chosen: list[Cell] = []
    for preset, count in zip(presets, np.diff(ends, prepend=0).tolist(), strict=True):
        every = cells(preset)
        # More games than cells: whole rounds of all cells, on other networks, and a sample.
        chosen += every * (count // len(every))
        if rest := count % len(every):
            chosen += sample(every, rest, start)
    return [
        PolicyUnit(cell, NETWORKS + (index + index // NETWORKS) % NETWORKS, start + index, seconds)
        for index, cell in enumerate(chosen)
    ]


def units_of(cell: Cell, size: int, *, seed: int = 0) -> list[PolicyUnit]:
    """Return ``size`` units of one cell, with other draws each."""
    if not 1 <= size <= _SEEDS:
        raise InputError(f"units must be between 1 and {_SEEDS}, got {size}")
    start = FIRST_SEED + _SEEDS * seed
    return [PolicyUnit(cell, NETWORKS + i % NETWORKS, start + i) for i in range(size)]


def course_on(presets: Sequence[str], *, seed: int, seconds: float) -> Callable[[int], Game]:
    """Return the course of PPO on cells of presets: another one in every episode, in keyed order.

    Its draws are none that evolution with the same seed has seen.
    """
    units = policy_units(
        _COURSE, seed=seed, first=_SEEDS - _COURSE, presets=presets, seconds=seconds
    )
    order = generator(seed, "course").permutation(len(units)).tolist()

    def game(number: int) -> Game:
        for place in range(number, number + len(order)):
            found = game_of(units[order[place % len(order)]])
            if found is not None:
                return found
        raise InputError("nothing can be delivered in any cell of these presets")

    return game


_plans: Callable[[], Plans] = lru_cache(maxsize=1)(dict)


@lru_cache(maxsize=512)
def game_of(unit: PolicyUnit) -> Game | None:
    """Prepare a unit, once in a process; None where nobody could deliver anything."""
    plans, rounds = _plans(), unit.cell.distillation_rounds

    def knee(network: Network, trace: Trace) -> float:
        found = flows_of(network, trace, plans, max_rounds=rounds).knee_hz
        if found <= 0.0:
            raise NoDemand(f"nothing is reachable in {network.name}")
        return found

    try:
        scenario = build(
            unit.cell,
            unit.seed,
            seconds=unit.seconds,
            warmup_s=unit.heard_s + unit.warmup_s,
            knee=knee,
            number=unit.number,
        )
    except NoDemand:
        return None
    game = prepare(scenario, plans, max_rounds=rounds, drift=unit.cell.drift)
    return game if game.bound > 0.0 else None


@lru_cache(maxsize=512)
def _stage_of(unit: PolicyUnit) -> "Stage | None":
    game = game_of(unit)
    return None if game is None else Stage(game, unit.heard_s)


class Stage:
    """A game that policies are tried on, with the forecasts that all of them share."""

    def __init__(self, game: Game, heard_s: float = 0.0) -> None:
        self.game = game
        self._start = round(heard_s / game.world.slot_s)
        self._world = game.heard_by(allocator).world
        self._rule = allocator.rule(game.scenario, game.plan)
        self._soon = foreseen(self._world, self._rule)

    @cached_property
    def rival(self) -> float:
        """What mean-rate reaches, as a fraction of the bound."""
        rival = find(RIVAL)
        return self._played(rival, player_of(self.game, rival))

    def fraction_by(self, weights: Floats) -> float:
        """Return the fraction that a policy (P,) reaches, greedy and without learning."""
        actor, temperature = actor_of(weights, self._world.n), LearnConfig().temperature
        player = frozen_player(self._world, self._rule, actor, temperature, self._soon)
        return self._played(allocator, player)

    def _played(self, of: Allocator, player: Player) -> float:
        ledger = ledger_of(self.game, of)
        now, request = ledger.now[0], self.game.world.request
        # Before the start there is no network, only word of requests.
        now.clock = self._start
        now.next_arrival = np.searchsorted(request.arrival, self._start)
        now.next_visible = int((ledger.request.visible < self._start).sum())
        player(ledger, self.game.world.horizon)
        return score(self.game.world, ledger).pairs_delivered / self.game.bound


def try_all(trial: Trial) -> tuple[Floats, float]:
    """Return what each candidate gains over mean-rate on a unit, and what the unit weighs.

    Gains (candidates,) are in fractions of the bound. A unit of few pairs is mostly luck: its
    weight is bound / (bound + LUCK), and 0 where nobody could deliver anything.
    """
    stage = _stage_of(trial.unit)
    if stage is None:
        return np.zeros(len(trial.weights)), 0.0
    gains = [stage.fraction_by(one) - stage.rival for one in trial.weights]
    return np.array(gains), stage.game.bound / (stage.game.bound + LUCK)

"""Evolution from generation to generation, and the files that come of it.

Everything is keyed by the training seed, so going on after a kill is bit for bit what one longer
training is, with any number of processes. The policy file holds the running average of the means;
the search itself is in the learning state beside it.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from controller.checkpoint import load, save
from controller.evolution.games import PolicyUnit, Trial, try_all
from controller.evolution.strategy import Search, Strides, begin, candidates, noise_of, step
from controller.parallel import Kept, kept_workers
from controller.policy_file import FEATURE_NOTE, actor_of, policy_in, state_path, write_policy
from quantum.errors import InputError
from quantum.ledger.state import Floats
from quantum.seeding import generator

__all__ = ["GAMES", "Evolved", "Generation", "Plan", "evolve"]


#: Games of a generation, unless told.
GAMES = 18


class Generation(msgspec.Struct, frozen=True):
    """What a generation brought, in fractions of the bound above mean-rate; numbers only.

    ``candidates`` is the mean over all that were tried, ``average`` what the policy that would be
    kept gains on the same games.
    """

    generation: int
    candidates: float
    average: float


class Evolved(msgspec.Struct, frozen=True):
    """All generations so far; ``digest`` names the learning state."""

    generations: tuple[Generation, ...]
    digest: str
    policy: str
    state: str


@dataclass(frozen=True)
class Plan:
    """How to search: ``pairs`` of candidates play ``games`` of the units in every generation.

    Spreads are in the units of the weights: those into the hidden layer and its offsets, and those
    out of it, which are logits.
    """

    units: tuple[PolicyUnit, ...]
    pairs: int = 6
    games: int = GAMES
    spread_in: float = 0.1
    spread_out: float = 1.5
    rate: float = 0.25
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.games <= len(self.units):
            raise InputError(
                f"games must be between 1 and the {len(self.units)} units, got {self.games}"
            )
        if self.pairs < 1:
            raise InputError(f"pairs must be at least 1, got {self.pairs}")


@dataclass(frozen=True, eq=False)
class _Progress:
    search: Search
    generations: tuple[Generation, ...]
    notes: Mapping[str, Any]


def evolve(
    plan: Plan,
    start: Floats,
    generations: int,
    out: Path,
    *,
    seed: int,
    resume: Path | None = None,
    processes: int = 1,
    workers: AbstractContextManager[Kept] | None = None,
    progress: Callable[[Generation], None] | None = None,
) -> Evolved:
    """Search until ``generations`` are done in all, writing the files after each of them.

    ``start`` (P,) are the weights to begin with. ``resume`` is the policy file of an evolution
    whose learning state lies beside it; if all is done already, nothing is written. ``workers`` may
    play elsewhere than in ``processes`` of this machine.
    Raises InputError for numbers that make no search and files that cannot be read or written.
    """
    if generations < 1:
        raise InputError(f"generations must be at least 1, got {generations}")
    games = _games_of(plan)
    if resume is None:
        so_far, digest = _Progress(begin(start), (), {**plan.notes, "games": games}), ""
    else:
        so_far, digest = _resumed(resume, seed, games), load(state_path(resume)).digest
    strides = Strides(_spread(plan, so_far.search.mean), plan.rate)
    with workers or kept_workers(processes) as play:
        while so_far.search.generation < generations:
            so_far = _generation(plan, strides, so_far, seed, play)
            digest = _write(out, so_far, seed)
            if progress is not None:
                progress(so_far.generations[-1])
    return Evolved(so_far.generations, digest, str(out), str(state_path(out)))


def _games_of(plan: Plan) -> str:
    """Name all that decides what candidates play, by a digest."""
    said = (plan.units, plan.pairs, plan.games, plan.spread_in, plan.spread_out, plan.rate)
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]


def _spread(plan: Plan, weights: Floats) -> Floats:
    hidden = actor_of(weights, 1).w2.shape[1]
    spread = np.full(len(weights), plan.spread_in)
    spread[-hidden:] = plan.spread_out
    return spread


def _generation(
    plan: Plan, strides: Strides, before: _Progress, seed: int, play: Kept
) -> _Progress:
    """Try the candidates of one generation, all on the same games, and move."""
    search = before.search
    number = search.generation
    noise = noise_of(seed, number, plan.pairs, len(search.mean))
    tried = candidates(search, strides, noise)
    chosen = generator(seed, "games", number).permutation(len(plan.units))[: plan.games]
    weights = np.concatenate([tried, search.average[None]])
    trials = [Trial(plan.units[index], weights) for index in chosen.tolist()]
    gained, heavy = zip(*play(try_all, trials, chosen.tolist()), strict=True)
    gains = np.array(heavy) @ np.array(gained) / max(sum(heavy), 1e-9)
    moved = step(search, strides, noise, gains[:-1])
    done = Generation(number, float(gains[:-1].mean()), float(gains[-1]))
    return replace(before, search=moved, generations=(*before.generations, done))


def _write(out: Path, so_far: _Progress, seed: int) -> str:
    search, number = so_far.search, so_far.search.generation
    rows = np.array([msgspec.structs.astuple(one) for one in so_far.generations])
    arrays = {
        "policy": search.average,
        "evolution.mean": search.mean,
        "evolution.momentum": search.momentum,
        "evolution.square": np.array([search.square]),
        "generations": rows,
    }
    said = {**so_far.notes, **FEATURE_NOTE}
    digest = save(state_path(out), arrays, seed=seed, round_index=number, notes=said)
    write_policy(out, search.average, seed=seed, round_index=number, notes=said)
    return digest


def _resumed(path: Path, seed: int, games: str) -> _Progress:
    """Read the learning state beside a policy file."""
    beside = state_path(path)
    if not beside.exists():
        raise InputError(f"cannot resume from {path}: its learning state {beside} is missing")
    found = load(beside)
    if found.seed != seed:
        raise InputError(f"{beside} was trained with --seed {found.seed}, not {seed}")
    if found.notes.get("games") != games:
        raise InputError(f"{beside} was trained on other games: give the options that it had")
    average, size = policy_in(found, beside), found.arrays["policy"].shape
    arrays = found.arrays
    mean, momentum = (arrays.get(f"evolution.{name}") for name in ("mean", "momentum"))
    square, rows = arrays.get("evolution.square"), arrays.get("generations")
    if (
        mean is None
        or momentum is None
        or square is None
        or rows is None
        or not mean.shape == momentum.shape == size
        or square.shape != (1,)
        or rows.shape != (found.round, len(msgspec.structs.fields(Generation)))
        or found.round < 1
    ):
        raise InputError(f"{beside} is no learning state of an evolution")
    search = Search(
        mean=mean.astype(np.float64),
        average=average,
        momentum=momentum.astype(np.float64),
        square=float(square[0]),
        generation=found.round,
    )
    generations = tuple(Generation(int(g), float(c), float(a)) for g, c, a in rows.tolist())
    return _Progress(search, generations, found.notes)

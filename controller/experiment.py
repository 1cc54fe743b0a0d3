"""Paired experiments: every allocator on the same draws, cell by cell and seed by seed.

A *unit* is a cell with a seed. Units are spread over processes; what comes out depends on the
arguments alone, not on how many processes there were.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from controller.game import Game, Plans, Result, flows_of, play, prepare
from controller.parallel import spread
from controller.rivals.allocator import find
from controller.statistics import Anova, Better, Convergence, anova, holm, paired
from quantum.demand import Trace
from quantum.errors import InputError, NoDemand
from quantum.network import Network
from quantum.presets import NETWORKS, Cell, build
from quantum.seeding import generator
from quantum.twin import counted

__all__ = ["Comparison", "Figures", "Unit", "compare", "play_unit", "summarise"]

#: Most units of one task; they share the flows of their network.
_TASK = 8
#: Tasks for each process, so that the last ones to end leave little idle.
_TASKS_EACH = 4
#: What is compared in pairs: name in the result, figure, which way is better.
_CONTRASTS: tuple[tuple[str, str, Better], ...] = (
    ("delivery", "delivery_rate", "higher"),
    ("fraction_of_bound", "fraction_of_bound", "higher"),
    ("contention", "contention", "lower"),
    ("contention_loss", "contention_loss", "lower"),
)


#: Figures that are 0, and not None, where there is nothing.
_NOTHING = dict.fromkeys(
    ("delivery_rate", "fraction_of_bound", "contention", "contention_loss", "pairs_delivered"), 0.0
)


class Figures(msgspec.Struct, frozen=True):
    """What an allocator reached, in one unit or as means over units.

    ``fidelity`` (true, mean) and latencies (network time; mean, median, 99 %) are of delivered
    pairs, None without any.
    """

    delivery_rate: float
    fraction_of_bound: float
    contention: float
    contention_loss: float
    pairs_delivered: float
    fidelity: float | None
    latency_ms: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None


class Unit(msgspec.Struct, frozen=True):
    """One cell with one seed: what was asked, the bound in pairs, and what each allocator did.

    ``note`` says why nobody could deliver anything, where that is so; such a unit is not played,
    and means and tests leave it out.
    """

    cell: Cell
    seed: int
    network: int
    load_hz: float
    requests: int
    pairs_requested: int
    bound: float
    allocators: dict[str, Figures]
    note: str | None = None


class Comparison(msgspec.Struct, frozen=True):
    """The result of ``dpem compare``; its JSON has these keys.

    ``paired`` holds the first allocator against each other one; the cluster of its intervals is the
    topology with the seed. ``anova`` is on the delivery rate, None where there is nothing to
    compare; ``convergence`` is that of a learner, if one was trained.
    """

    preset: str
    seeds: list[int]
    allocators: dict[str, Figures]
    paired: dict[str, dict[str, Any]]
    anova: Anova | None
    convergence: Convergence | None
    cells: list[dict[str, Any]]


def compare(
    cells: Sequence[Cell],
    allocators: Sequence[str],
    seeds: Sequence[int],
    *,
    seconds: float = 60.0,
    warmup_s: float = 10.0,
    processes: int | None = None,
    progress: Callable[[int], None] | None = None,
    convergence: Convergence | None = None,
) -> Comparison:
    """Play every allocator, by name, on every cell with every seed, and compare them in pairs.

    ``progress`` is told how many units were finished since the last time. ``processes`` is the
    number of cores by default. An interrupt ends them and is passed on.
    """
    names, numbers = list(allocators), list(seeds)
    if not cells:
        raise InputError("an experiment needs at least one cell")
    if not names or len(set(names)) < len(names):
        raise InputError(f"allocators must be different names, at least one; got {names}")
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise InputError("seeds must be different numbers >= 0, at least one")
    for name in names:
        find(name)
    workers = processes or os.cpu_count() or 1
    wanted = [(cell, seed) for cell in cells for seed in numbers]
    tasks = [
        _Task(part, [wanted[i] for i in part], names, seconds, warmup_s)
        for part in _split(wanted, workers)
    ]

    def finished(task: _Task) -> None:
        if progress is not None:
            progress(len(task.units))

    units: dict[int, Unit] = {}
    played = spread(_work, tasks, processes=workers, finished=finished)
    for task, part in zip(tasks, played, strict=True):
        units.update(zip(task.places, part, strict=True))
    ordered = [units[place] for place in range(len(wanted))]
    return summarise(cells[0].preset, names, numbers, ordered, convergence=convergence)


class _Task(msgspec.Struct, frozen=True):
    """Units that share a network, with their places in the result."""

    places: list[int]
    units: list[tuple[Cell, int]]
    allocators: list[str]
    seconds: float
    warmup_s: float


def _split(wanted: Sequence[tuple[Cell, int]], workers: int) -> list[list[int]]:
    """Group the places of units by their network, in parts that are small enough to share out."""
    groups: dict[object, list[int]] = {}
    for place, (cell, seed) in enumerate(wanted):
        key = (
            cell.topology,
            seed % NETWORKS,
            cell.link_fidelity,
            cell.fidelities,
            cell.commodities,
            cell.distillation_rounds,
            cell.demand == "abilene",
        )
        groups.setdefault(key, []).append(place)
    size = max(1, min(_TASK, len(wanted) // (_TASKS_EACH * workers)))
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]


def _work(task: _Task) -> list[Unit]:
    plans: Plans = {}
    times = {"seconds": task.seconds, "warmup_s": task.warmup_s}
    return [
        play_unit(cell, seed, task.allocators, plans=plans, **times) for cell, seed in task.units
    ]


def play_unit(
    cell: Cell,
    seed: int,
    allocators: Sequence[str],
    *,
    seconds: float,
    warmup_s: float = 10.0,
    plans: Plans | None = None,
) -> Unit:
    """Play a cell with a seed by every allocator; ``plans`` keeps flows for the next unit."""
    rounds = cell.distillation_rounds

    def knee(network: Network, trace: Trace) -> float:
        found = flows_of(network, trace, plans, max_rounds=rounds).knee_hz
        if found <= 0.0:
            raise NoDemand(f"nothing is reachable in {network.name}: its knee gives no load")
        return found

    try:
        scenario = build(cell, seed, seconds=seconds, warmup_s=warmup_s, knee=knee)
    except NoDemand as wrong:
        return _unplayed(cell, seed, allocators, str(wrong))
    game = prepare(scenario, plans, max_rounds=rounds, drift=cell.drift)
    if game.bound <= 0.0:
        return _unplayed(cell, seed, allocators, *_asked(game))
    results = {name: play(game, find(name)) for name in allocators}
    first = next(iter(results.values())).score
    return Unit(
        cell=cell,
        seed=seed,
        network=seed % NETWORKS,
        load_hz=scenario.trace.load_hz,
        requests=first.requests,
        pairs_requested=first.pairs_requested,
        bound=game.bound,
        allocators={name: _figures(result) for name, result in results.items()},
    )


def _asked(game: Game) -> tuple[str, float, int, int]:
    """Say why the bound of a game is 0, and what was asked: load, requests and pairs."""
    which = counted(game.world)
    pairs = int(game.world.request.pairs[which].sum())
    note = f"no request comes in the {game.scenario.seconds:g} s that count"
    if pairs:
        note = "no request can meet its fidelity on any path"
    elif len(game.world.request):
        note += f", which begin after {game.scenario.warmup_s:g} s"
    return note, game.scenario.trace.load_hz, len(which), pairs


def _unplayed(
    cell: Cell,
    seed: int,
    allocators: Sequence[str],
    note: str,
    load_hz: float = 0.0,
    requests: int = 0,
    pairs: int = 0,
) -> Unit:
    """Return the unit in which nobody could deliver anything."""
    return Unit(
        cell=cell,
        seed=seed,
        network=seed % NETWORKS,
        load_hz=load_hz,
        requests=requests,
        pairs_requested=pairs,
        bound=0.0,
        allocators=dict.fromkeys(allocators, _mean([])),
        note=note,
    )


def _figures(result: Result) -> Figures:
    score = result.score
    some = result.latency_ms is not None
    return Figures(
        delivery_rate=score.delivery_rate,
        fraction_of_bound=result.fraction_of_bound,
        contention=score.contention,
        contention_loss=result.contention_loss,
        pairs_delivered=float(score.pairs_delivered),
        fidelity=result.fidelity,
        latency_ms=result.latency_ms,
        latency_p50_ms=score.latency_p50_ms if some else None,
        latency_p99_ms=score.latency_p99_ms if some else None,
    )


def summarise(
    preset: str,
    allocators: Sequence[str],
    seeds: Sequence[int],
    units: Sequence[Unit],
    *,
    convergence: Convergence | None = None,
) -> Comparison:
    """Take means over units, compare the first allocator with the others, and test for any effect.

    The p values of the delivery contrasts are adjusted together (``p_holm``). Units with a note
    are listed, and left out of everything else.
    """
    played = [unit for unit in units if unit.note is None]
    columns = {name: [unit.allocators[name] for unit in played] for name in allocators}
    clusters = [f"{unit.cell.topology} {unit.seed}" for unit in played]
    rows = np.array([[figures.delivery_rate for figures in columns[a]] for a in allocators])
    contrasts = {
        f"{allocators[0]} vs {name}": _contrast(columns[allocators[0]], columns[name], clusters)
        for name in allocators[1:]
        if played
    }
    adjusted = holm({key: float(value["delivery"]["p"]) for key, value in contrasts.items()})
    for key, value in contrasts.items():
        value["delivery"]["p_holm"] = adjusted[key]
    return Comparison(
        preset=preset,
        seeds=list(seeds),
        allocators={name: _mean(column) for name, column in columns.items()},
        paired=contrasts,
        anova=anova(rows.T) if min(rows.shape) > 1 else None,
        convergence=convergence,
        cells=[_cell(unit) for unit in units],
    )


def _contrast(
    ours: Sequence[Figures], theirs: Sequence[Figures], clusters: Sequence[str]
) -> dict[str, Any]:
    return {
        key: msgspec.structs.asdict(
            paired(
                [getattr(figures, field) for figures in ours],
                [getattr(figures, field) for figures in theirs],
                clusters,
                rng=generator(0, "compare", key),
                better=better,
            )
        )
        for key, field, better in _CONTRASTS
    }


def _mean(column: Sequence[Figures]) -> Figures:
    """Average every figure over the units that have it; 0 or None where none has."""
    means: dict[str, float | None] = {}
    for field in Figures.__struct_fields__:
        values = [getattr(figures, field) for figures in column]
        have = [value for value in values if value is not None]
        means[field] = math.fsum(have) / len(have) if have else _NOTHING.get(field)
    return msgspec.convert(means, Figures)


def _cell(unit: Unit) -> dict[str, Any]:
    """Write a unit flat: the fields of its cell, then its own."""
    own: Mapping[str, Any] = msgspec.structs.asdict(unit)
    return {
        **msgspec.structs.asdict(unit.cell),
        **{key: value for key, value in own.items() if key != "cell"},
    }

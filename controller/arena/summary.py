"""From units to a result: means, pairs, tests and models."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from controller.arena.unit import Figures, Unit
from controller.statistics import (
    Anova,
    Better,
    Convergence,
    Mixed,
    Regression,
    anova,
    holm,
    mixed_model,
    not_worse,
    paired,
    regression,
)
from quantum.seeding import generator

__all__ = ["MARGIN", "Bounds", "Comparison", "summarise"]

#: What is compared in pairs: name in the result, figure, which way is better.
_CONTRASTS: tuple[tuple[str, str, Better], ...] = (
    ("delivery", "delivery_rate", "higher"),
    ("fraction_of_bound", "fraction_of_bound", "higher"),
    ("contention", "contention", "lower"),
    ("contention_loss", "contention_loss", "lower"),
)
#: The smallest difference of interest, in parts of the bound: less is "not worse".
MARGIN = 0.01
#: Sizes of networks from which a line is drawn through them.
_SIZES = 3


class Bounds(msgspec.Struct, frozen=True):
    """What nobody could exceed, as means over units; None where no unit tells.

    ``fluid`` is the bound over the pairs requested. ``fair_share`` is the share of its demand that
    every node pair can have at once, and ``fair_total`` the most pairs that leave it to them, over
    the fluid bound. ``windowed`` is the bound in time windows over the fluid bound of the same
    requests, in ``windowed_units`` units.
    """

    fluid: float | None
    fair_share: float | None
    fair_total: float | None
    windowed: float | None
    windowed_units: int


class Comparison(msgspec.Struct, frozen=True):
    """The result of ``dpem compare``; its JSON has these keys.

    ``paired`` holds the first allocator against each other one, the planned contrasts; the cluster
    of its intervals is the topology with the seed. Each has ``not_worse``: by 1 % of the bound, in
    fractions of the bound. ``anova`` is on the delivery rate, None where there is nothing to
    compare; ``mixed`` is a model of the fraction of the bound. ``sizes`` are lines of delivery over
    the number of nodes, where networks have at least three sizes. ``convergence`` is that of a
    learner, if one was trained. ``steps`` are contrasts of each allocator with the one named after
    it, where they are the rungs of a ladder. ``beliefs`` are contrasts between cells whose links
    are believed to be as tested and the same cells with links as specified, where there are both:
    each allocator with itself, and the first as tested with each other one either way.
    ``bounds`` are means over the units played. ``left_out`` says which units could not be played,
    and why.
    """

    preset: str
    seeds: list[int]
    allocators: dict[str, Figures]
    paired: dict[str, dict[str, Any]]
    anova: Anova | None
    convergence: Convergence | None
    cells: list[dict[str, Any]]
    mixed: Mixed | None = None
    sizes: dict[str, dict[str, Regression]] = {}
    left_out: list[dict[str, Any]] = []
    bounds: Bounds | None = None
    steps: dict[str, dict[str, Any]] = {}
    beliefs: dict[str, dict[str, Any]] = {}


def summarise(
    preset: str,
    allocators: Sequence[str],
    seeds: Sequence[int],
    units: Sequence[Unit],
    *,
    convergence: Convergence | None = None,
    ladder: bool = False,
) -> Comparison:
    """Take means over units, compare the first allocator with the others, and test for any effect.

    The p values of the planned contrasts are adjusted together, one family for each figure
    (``p_holm``), and so are those of the steps of a ``ladder``. Units with a note are left out of
    all of it.
    """
    played = [unit for unit in units if unit.note is None]
    columns = {name: [unit.allocators[name] for unit in played] for name in allocators}
    clusters = [f"{unit.cell.topology} {unit.seed}" for unit in played]
    rows = np.array([[figures.delivery_rate for figures in columns[a]] for a in allocators])
    contrasts = _contrasts([(allocators[0], name) for name in allocators[1:]], columns, clusters)
    pairs = itertools.pairwise(allocators) if ladder else ()
    steps = _contrasts(list(pairs), columns, clusters)
    return Comparison(
        preset=preset,
        seeds=list(seeds),
        allocators={name: _mean(column) for name, column in columns.items()},
        paired=contrasts,
        anova=anova(rows.T) if min(rows.shape) > 1 else None,
        convergence=convergence,
        cells=[_cell(unit) for unit in units],
        mixed=_mixed(allocators, played) if len(allocators) > 1 and played else None,
        sizes=_sizes(allocators, played),
        left_out=[
            {"cell": msgspec.structs.asdict(unit.cell), "seed": unit.seed, "note": unit.note}
            for unit in units
            if unit.note is not None
        ],
        bounds=_bounds(played) if played else None,
        steps=steps,
        beliefs=_beliefs(allocators, played),
    )


def _beliefs(allocators: Sequence[str], units: Sequence[Unit]) -> dict[str, dict[str, Any]]:
    """Compare links as tested with links as specified, cell by cell."""
    plain = {(unit.cell, unit.seed): unit for unit in units if not unit.cell.measured_belief}
    both = [
        (unit, plain[key])
        for unit in units
        if unit.cell.measured_belief
        and (key := (msgspec.structs.replace(unit.cell, measured_belief=False), unit.seed)) in plain
    ]
    if not both:
        return {}
    columns = {}
    for name in allocators:
        columns[f"{name} tested"] = [tested.allocators[name] for tested, _ in both]
        columns[f"{name} nominal"] = [nominal.allocators[name] for _, nominal in both]
    first, *others = allocators
    pairs = [(f"{name} tested", f"{name} nominal") for name in allocators]
    for how in ("nominal", "tested"):
        pairs += [(f"{first} tested", f"{name} {how}") for name in others]
    clusters = [f"{unit.cell.topology} {unit.seed}" for unit, _ in both]
    return _contrasts(pairs, columns, clusters)


def _contrasts(
    pairs: Sequence[tuple[str, str]],
    columns: Mapping[str, Sequence[Figures]],
    clusters: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Compare pairs of allocators; their p values are one family for each figure."""
    if not clusters:
        return {}
    found = {f"{a} vs {b}": _contrast(columns[a], columns[b], clusters) for a, b in pairs}
    for kind, _, _ in _CONTRASTS:
        adjusted = holm({key: float(value[kind]["p"]) for key, value in found.items()})
        for key, value in found.items():
            value[kind]["p_holm"] = adjusted[key]
    return found


def _bounds(units: Sequence[Unit]) -> Bounds:
    def mean(values: Sequence[float]) -> float | None:
        return math.fsum(values) / len(values) if values else None

    windowed = [
        unit.windowed / unit.windowed_fluid
        for unit in units
        if unit.windowed is not None and unit.windowed_fluid
    ]
    return Bounds(
        fluid=mean([unit.bound / unit.pairs_requested for unit in units]),
        fair_share=mean([unit.fair_share for unit in units if unit.fair_share is not None]),
        fair_total=mean(
            [unit.fair_total / unit.bound for unit in units if unit.fair_total is not None]
        ),
        windowed=mean(windowed),
        windowed_units=len(windowed),
    )


def _contrast(
    ours: Sequence[Figures], theirs: Sequence[Figures], clusters: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {
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
    test = not_worse(
        [figures.fraction_of_bound for figures in ours],
        [figures.fraction_of_bound for figures in theirs],
        clusters,
        margin=MARGIN,
    )
    return {**found, "not_worse": {**msgspec.structs.asdict(test), "margin": MARGIN}}


def _mean(column: Sequence[Figures]) -> Figures:
    """Average every figure over the units that have it."""
    means: dict[str, float | None] = {}
    for field, usual in zip(Figures.__struct_fields__, _defaults(), strict=True):
        values = [getattr(figures, field) for figures in column]
        have = [value for value in values if value is not None]
        means[field] = math.fsum(have) / len(have) if have else usual
    return msgspec.convert(means, Figures)


def _defaults() -> list[float | None]:
    """Return what a mean of nothing is: 0 where a figure is always known."""
    optional = len(Figures.__struct_defaults__)
    return [0.0] * (len(Figures.__struct_fields__) - optional) + [None] * optional


def _mixed(allocators: Sequence[str], units: Sequence[Unit]) -> Mixed:
    """Fit the mixed model; the load is the share of the knee, or what is asked per node."""
    shares = all(unit.cell.knee_fraction is not None for unit in units)
    rows = [
        (
            unit.allocators[name].fraction_of_bound,
            name,
            float(unit.cell.knee_fraction or 0.0) if shares else unit.load_hz / max(1, unit.nodes),
            f"{unit.cell.topology} {unit.network}",
            f"{number}",
        )
        for number, unit in enumerate(units)
        for name in allocators
    ]
    fraction, name, load, topology, trace = (list(column) for column in zip(*rows, strict=True))
    return mixed_model(fraction, name, load, topology, trace)


def _sizes(allocators: Sequence[str], units: Sequence[Unit]) -> dict[str, dict[str, Regression]]:
    """Regress delivery on nodes; each network with a seed is one point, its cells are averaged."""
    points: dict[tuple[str, int], list[Unit]] = {}
    for unit in units:
        points.setdefault((unit.cell.topology, unit.seed), []).append(unit)
    nodes = [float(group[0].nodes) for group in points.values()]
    if len(set(nodes)) < _SIZES:
        return {}
    return {
        name: {
            field: regression(
                nodes,
                [
                    math.fsum(getattr(unit.allocators[name], field) for unit in group) / len(group)
                    for group in points.values()
                ],
            )
            for field in ("delivery_rate", "fraction_of_bound")
        }
        for name in allocators
    }


def _cell(unit: Unit) -> dict[str, Any]:
    """Write a unit flat: the fields of its cell, then its own."""
    own: Mapping[str, Any] = msgspec.structs.asdict(unit)
    return {
        **msgspec.structs.asdict(unit.cell),
        **{key: value for key, value in own.items() if key != "cell"},
    }

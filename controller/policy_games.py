"""What policies are worth on cells, networks and seeds that training did not see.

Policies act greedily and do not learn. Units are a keyed, balanced sample of the presets' cells
with seeds of comparisons, on the networks that comparisons play; training saw neither. Everybody
meets the same draws. Units of one topology, network and seed share their luck.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.evolution.games import RIVAL, PolicyUnit, Stage, game_of
from quantum.ledger.state import Floats
from quantum.presets import NETWORKS, cells, sample
from quantum.seeding import generator

__all__ = ["clusters_of", "evaluation_units", "measure", "regimes"]

#: Cells of each preset that are played, each with one of the seeds.
_SIZES = {"paper": 9, "metro": 48, "fast": 24}
_SEEDS = 8
#: What counts; before it 10 s are played, and before those 20 s are only heard of.
_SECONDS = 30.0


def evaluation_units(key: int = 0) -> list[PolicyUnit]:
    """Return the units: cells by key, networks and seeds in turn."""
    chosen = [cell for preset, size in _SIZES.items() for cell in sample(cells(preset), size, key)]
    order = generator(key, "bench policy").permutation(len(chosen)).tolist()
    return [
        PolicyUnit(cell, place % _SEEDS % NETWORKS, place % _SEEDS, _SECONDS, 10.0, 20.0)
        for cell, place in zip(chosen, order, strict=True)
    ]


def measure(
    weights: Mapping[str, Floats], units: list[PolicyUnit]
) -> tuple[dict[str, Floats], list[PolicyUnit]]:
    """Return fractions of the bound by name, mean-rate among them, and the units that were played.

    Units in which nobody could deliver anything are left out.
    """
    got: dict[str, list[float]] = defaultdict(list)
    played = []
    for unit in units:
        # Not by game_of's memory: every unit is played once.
        game = game_of.__wrapped__(unit)
        if game is None:
            continue
        played.append(unit)
        stage = Stage(game, unit.heard_s)
        got[RIVAL].append(stage.rival)
        for name, one in weights.items():
            got[name].append(stage.fraction_by(one))
    return {name: np.array(values) for name, values in got.items()}, played


def clusters_of(units: list[PolicyUnit]) -> list[str]:
    """Name the cluster of every unit: its topology, network and seed."""
    return [f"{u.cell.topology} {u.number} {u.seed}" for u in units]


def regimes(units: list[PolicyUnit]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the regimes that at least two units are of, and which units (units,) those are."""
    for name, common in _levels().items():
        which = [
            all(getattr(u.cell, factor) == level for factor, level in common.items()) for u in units
        ]
        if sum(which) >= 2:
            yield name, np.array(which, dtype=np.bool_)


def _levels() -> dict[str, dict[str, Any]]:
    """Return what cells of each regime have in common."""
    names = ("poisson", "scheduled", "hotspot", "abilene", "announced")
    places = ("mesh", "geometric", "surfnet")
    return {
        "all": {},
        **{preset: {"preset": preset} for preset in _SIZES},
        **{f"metro {place}": {"preset": "metro", "topology": place} for place in places},
        **{demand: {"demand": demand} for demand in names},
        "metro, deadline 0.3 s, 6 qubits": {"preset": "metro", "deadline_s": 0.3, "qubits": 6},
        "fast scheduled": {"preset": "fast", "demand": "scheduled"},
        "fast announced": {"preset": "fast", "demand": "announced"},
    }

"""``dpem bench policy``: what the shipped policy is worth, by regime, beside tuned mean-rate.

Policies act greedily and do not learn. Units are a keyed, balanced sample of the presets' cells
with seeds of comparisons, on the networks that comparisons play; training saw neither. Everybody
meets the same draws. Intervals are 95 %, Student's t over clusters: units of one topology, network
and seed share their luck.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from controller.evolution.games import RIVAL, PolicyUnit, Stage, game_of
from controller.policy_file import LEARNED, SHIPPED, heuristic_weights, start_weights
from controller.statistics import paired
from quantum.ledger.state import Floats
from quantum.presets import NETWORKS, cells, sample
from quantum.seeding import generator

__all__ = ["evaluation_units", "measure", "policy"]

#: Cells of each preset that are played, each with one of the seeds.
_SIZES = {"paper": 9, "metro": 48, "fast": 24}
_SEEDS = 8
#: What counts; before it 10 s are played, and before those 20 s are only heard of.
_SECONDS = 30.0
#: What is compared: forecasts (and swaps ahead), the shipped policy, what it adds, what PPO adds.
_PAIRS = (
    ("heuristic", RIVAL),
    ("shipped", RIVAL),
    ("shipped", "heuristic"),
    ("ppo", "shipped"),
)


def policy() -> dict[str, Any]:
    """Play heuristic, shipped policy (evolution) and what PPO made of it against mean-rate."""
    weights = {
        "heuristic": heuristic_weights(0),
        "shipped": start_weights(SHIPPED),
        "ppo": start_weights(LEARNED),
    }
    fractions, units = measure(weights, evaluation_units())
    rows = _rows(fractions, units)
    every = rows[0]
    return {
        "name": "policy",
        "results": {f"fraction_of_bound_{name}": every[name] for name in weights},
        "reference": {f"fraction_of_bound_{RIVAL}": every[RIVAL]},
        "ratio": {f"{name}_minus_{other}": every[f"{name} - {other}"] for name, other in _PAIRS},
        "table": _table(rows),
        "regimes": rows,
        "notes": "heuristic is mean-rate with forecasts and swaps ahead, shipped what evolution "
        "found; ppo goes on from it, leashed to it",
    }


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


def _regimes() -> dict[str, dict[str, Any]]:
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


def _rows(fractions: Mapping[str, Floats], units: list[PolicyUnit]) -> list[dict[str, Any]]:
    cluster = np.array([f"{u.cell.topology} {u.number} {u.seed}" for u in units])
    rows = []
    for regime, common in _regimes().items():
        which = np.array(
            [
                all(getattr(u.cell, factor) == level for factor, level in common.items())
                for u in units
            ],
            dtype=bool,
        )
        if which.sum() < 2:
            continue
        row: dict[str, Any] = {"regime": regime, "units": int(which.sum())}
        row |= {name: round(float(values[which].mean()), 4) for name, values in fractions.items()}
        for name, other in _PAIRS:
            found = paired(
                fractions[name][which],
                fractions[other][which],
                cluster[which],
                rng=generator(0, "bench policy", regime),
            )
            row[f"{name} - {other}"] = [
                round(v, 4) for v in (found.difference, found.t_low, found.t_high)
            ]
        rows.append(row)
    return rows


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    points = [name for name in rows[0] if " - " in name]
    return {
        "title": "fraction of the bound, and differences in points with 95 % intervals",
        "columns": ["regime", "units", RIVAL, *points],
        "rows": [
            [
                row["regime"],
                str(row["units"]),
                f"{row[RIVAL]:.3f}",
                *(
                    f"{100 * row[p][0]:+.2f} ({100 * row[p][1]:+.2f}, {100 * row[p][2]:+.2f})"
                    for p in points
                ),
            ]
            for row in rows
        ],
    }

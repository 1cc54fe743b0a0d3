"""``dpem bench policy``: what the shipped policy is worth, by regime, beside tuned mean-rate.

Intervals are 95 %, Student's t over clusters of units. With files of other policies these are
judged instead, see :mod:`controller.policy_trainings`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from controller.evolution.games import RIVAL, PolicyUnit
from controller.policy_file import LEARNED, SHIPPED, heuristic_weights, start_weights
from controller.policy_games import clusters_of, evaluation_units, measure, regimes
from controller.policy_trainings import judged, named_weights
from controller.statistics import paired
from quantum.ledger.state import Floats
from quantum.seeding import generator

__all__ = ["policy"]

#: What is compared: forecasts (and swaps ahead), the shipped policy, what it adds, what PPO adds.
_PAIRS = (
    ("heuristic", RIVAL),
    ("shipped", RIVAL),
    ("shipped", "heuristic"),
    ("ppo", "shipped"),
)


def policy(policies: Sequence[str] = ()) -> dict[str, Any]:
    """Play heuristic, shipped policy (evolution) and what PPO made of it against mean-rate.

    With ``policies``, files of trainings, play these and the shipped one against the heuristic.
    """
    if policies:
        return judged(named_weights(policies), evaluation_units())
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


def _rows(fractions: Mapping[str, Floats], units: list[PolicyUnit]) -> list[dict[str, Any]]:
    cluster = np.array(clusters_of(units))
    rows = []
    for regime, which in regimes(units):
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

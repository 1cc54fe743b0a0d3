"""Several trainings on the same units: what learned weights add, and how much of it is luck.

Everybody meets the same draws, so a table of gains has a row for each policy and a column for each
cluster of units; what learning adds is uncertain in both (:mod:`controller.statistics.crossed`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from controller.evolution.games import RIVAL, PolicyUnit
from controller.policy_file import (
    HEURISTIC,
    LEARNED,
    SHIPPED,
    heuristic_weights,
    start_weights,
    weights_from,
)
from controller.policy_games import clusters_of, measure, regimes
from controller.statistics import crossed, paired
from controller.statistics.samples import cluster_means
from quantum.errors import InputError
from quantum.ledger.state import Floats, Ints
from quantum.seeding import generator

__all__ = ["judged", "named_weights"]

#: The mean of the weights of all policies that were given, which is a policy too.
MEAN = "mean of weights"
_TAKEN = (HEURISTIC, SHIPPED, LEARNED, MEAN, RIVAL)
_SPREADS = ("spread", "spread without luck")


def named_weights(policies: Sequence[str]) -> dict[str, Floats]:
    """Read policy files; they are called by the names of their files, without folder and ending.

    Raises InputError for files that are none, for two of one name, and for names that are taken.
    """
    found: dict[str, Floats] = {}
    for text in policies:
        name = Path(text).stem
        if name in _TAKEN:
            raise InputError(f"--policy: {text} has the name of a policy that is played anyway")
        if name in found:
            raise InputError(f"--policy: two files are called {name}")
        found[name] = weights_from(Path(text))
    return found


def judged(given: Mapping[str, Floats], units: Sequence[PolicyUnit]) -> dict[str, Any]:
    """Play the given policies, the shipped one and the heuristic on the same units.

    Gains over the heuristic are in fractions of the bound, with 95 % intervals; means and their
    intervals are over clusters, each counting once.
    """
    weights = {HEURISTIC: heuristic_weights(0), SHIPPED: start_weights(SHIPPED), **given}
    if len(given) > 1 and len({one.shape for one in given.values()}) == 1:
        weights[MEAN] = np.mean(list(given.values()), axis=0)
    fractions, played = measure(weights, list(units))
    cluster = np.unique(clusters_of(played), return_inverse=True)[1]
    rows = [
        _row(regime, list(given), {n: f[which] for n, f in fractions.items()}, cluster[which])
        for regime, which in regimes(played)
    ]
    every = rows[0]
    gains = {f"{name}_minus_{HEURISTIC}": every[name] for name in weights if name != HEURISTIC}
    if "trainings" in every:
        gains[f"trainings_minus_{HEURISTIC}"] = every["trainings"]
    return {
        "name": "policy",
        "results": {f"fraction_of_bound_{n}": float(fractions[n].mean()) for n in weights},
        "reference": {f"fraction_of_bound_{RIVAL}": float(fractions[RIVAL].mean())},
        "ratio": gains,
        "table": _table(rows),
        "regimes": rows,
        "notes": "heuristic is mean-rate with forecasts and swaps ahead; trainings are the "
        "policies that were given, with intervals over them and over networks with seeds",
    }


def _row(
    regime: str, given: Sequence[str], fractions: Mapping[str, Floats], cluster: Ints
) -> dict[str, Any]:
    """Say what each policy gains over the heuristic in a regime, and all given ones together."""
    row: dict[str, Any] = {"regime": regime, "units": len(cluster)}
    row[HEURISTIC] = round(float(fractions[HEURISTIC].mean()), 4)
    group = np.unique(cluster, return_inverse=True)[1]
    size = int(group.max()) + 1
    gains: dict[str, Floats] = {}
    for name in fractions.keys() - {HEURISTIC, RIVAL}:
        gains[name] = cluster_means(fractions[name] - fractions[HEURISTIC], group, size)
    for name in [n for n in fractions if n in gains]:
        found = paired(
            fractions[name],
            fractions[HEURISTIC],
            group,
            rng=generator(0, "trainings", regime),
        )
        row[name] = _rounded(float(gains[name].mean()), found.t_low, found.t_high)
    if len(given) > 1 and size > 1:
        both = crossed(np.stack([gains[name] for name in given]))
        row["trainings"] = _rounded(both.mean, both.low, both.high)
        row["over trainings"] = _rounded(both.row_low, both.row_high)
        row["one more training"] = _rounded(both.next_low, both.next_high)
        row |= dict(zip(_SPREADS, _rounded(both.spread, both.row_spread), strict=True))
    return row


def _rounded(*values: float) -> list[float]:
    return [round(value, 5) for value in values]


def _table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    names = [name for name, value in first.items() if isinstance(value, list)]
    if "trainings" in first:
        # Single trainings stand among the ratios: more columns than these fit no terminal.
        names = [name for name in (SHIPPED, MEAN, "trainings") if name in first]
    spread = ["spread"] if "spread" in first else []
    return {
        "title": "gain over the heuristic in points of the bound, with 95 % intervals",
        "columns": ["regime", "units", HEURISTIC, *names, *spread],
        "rows": [
            [
                row["regime"],
                str(row["units"]),
                f"{row[HEURISTIC]:.3f}",
                *(_points(row.get(name, [])) for name in names),
                *(_points([row[name]] if name in row else []) for name in spread),
            ]
            for row in rows
        ],
    }


def _points(values: Sequence[float]) -> str:
    """Write a difference with its interval, an interval alone, or a number.

    >>> _points([0.01, -0.002, 0.022]), _points([-0.002, 0.022]), _points([0.01]), _points([])
    ('+1.00 (-0.20, +2.20)', '-0.20 to +2.20', '1.00', '')
    """
    points = [100.0 * value for value in values]
    match points:
        case [mean, low, high]:
            return f"{mean:+.2f} ({low:+.2f}, {high:+.2f})"
        case [low, high]:
            return f"{low:+.2f} to {high:+.2f}"
        case [one]:
            return f"{one:.2f}"
        case _:
            return ""

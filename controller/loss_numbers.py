"""The numbers of a loss: shares of delivered pairs before, meanwhile and after, over seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from controller.losing import PLAYS, Loss, Outcome

__all__ = ["curves", "numbers"]


def numbers(
    seeds: Sequence[Mapping[str, Outcome]], loss: Loss, seconds: float
) -> dict[str, dict[str, Any]]:
    """Return for every play the share of pairs delivered in each phase.

    Pooled over seeds, with ``half_width``, that of the 95 % interval of the mean over seeds (None
    with one seed), and ``requested`` pairs. A share is None where nothing was asked. ``lead`` is by
    how much ``dpem`` without its aggregator is ahead meanwhile, seed by seed.
    """
    end_s = loss.at_s + loss.for_s
    phases = {
        "before": (0.0, loss.at_s),
        "meanwhile": (loss.at_s, end_s),
        "after": (end_s, seconds),
    }
    found: dict[str, dict[str, Any]] = {
        name: {phase: _phase([one[name] for one in seeds], *span) for phase, span in phases.items()}
        for name in PLAYS
    }
    for name, mine in found.items():
        mine["lead"] = _lead(seeds, name, *phases["meanwhile"])
    return found


def _lead(
    seeds: Sequence[Mapping[str, Outcome]], name: str, start_s: float, stop_s: float
) -> dict[str, float | None]:
    """Return by how much ``dpem`` is ahead of a play, run by run: its mean and half width."""
    each = []
    for one in seeds:
        (pairs, ours), (_, theirs) = (_sums(one[k], start_s, stop_s) for k in ("dpem", name))
        if pairs:
            each.append((ours - theirs) / pairs)
    mean = round(sum(each) / len(each), 4) if each else None
    return {"mean": mean, "half_width": _half_width(each)}


def _half_width(each: Sequence[float]) -> float | None:
    """Return half the 95 % interval of a mean, by Student's t; None with fewer than two values."""
    if len(each) < 2:
        return None
    from scipy.stats import t

    spread = float(np.std(each, ddof=1)) / math.sqrt(len(each))
    return round(float(t.ppf(0.975, len(each) - 1)) * spread, 4)


def _phase(outcomes: Sequence[Outcome], start_s: float, stop_s: float) -> dict[str, Any]:
    pairs, good = zip(*(_sums(one, start_s, stop_s) for one in outcomes), strict=True)
    half = _half_width([g / p for g, p in zip(good, pairs, strict=True) if p])
    total = sum(pairs)
    share = round(sum(good) / total, 4) if total else None
    return {"share": share, "half_width": half, "requested": total, "delivered": sum(good)}


def _sums(outcome: Outcome, start_s: float, stop_s: float) -> tuple[int, int]:
    inside = (outcome.arrival_s >= start_s - 1e-9) & (outcome.arrival_s < stop_s - 1e-9)
    return int(outcome.pairs[inside].sum()), int(outcome.good[inside].sum())


def curves(
    seeds: Sequence[Mapping[str, Outcome]], seconds: float, bin_s: float
) -> tuple[list[float], dict[str, list[float | None]]]:
    """Return the middles of bins of ``bin_s`` seconds, and the pooled shares of every play."""
    edges = [k * bin_s for k in range(max(1, math.ceil(seconds / bin_s - 1e-9)))]
    middles = [round(min(edge + bin_s / 2.0, seconds), 6) for edge in edges]
    shares = {
        name: [
            _phase([one[name] for one in seeds], edge, min(edge + bin_s, seconds))["share"]
            for edge in edges
        ]
        for name in PLAYS
    }
    return middles, shares

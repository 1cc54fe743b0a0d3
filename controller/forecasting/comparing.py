"""One comparison of forecasters: from names to rows of a table."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import torch

from controller.forecasting.foresight import Foresight, Reader, shipped
from controller.forecasting.judging import BAR, ORACLE, TUNED_BAR, Judged, closed, judge
from controller.forecasting.process import process_of
from controller.forecasting.recurrence import Weights, new_weights, size_of
from controller.forecasting.reservoirs import quantum_reader
from controller.forecasting.streams import BIN_S, FEATURES, INPUTS
from controller.forecasting.walked import SLOT_S, Classes
from controller.forecasting.worth import Worth, built, worth
from quantum.errors import InputError
from quantum.presets import run_cell
from quantum.traffic import KINDS, REFRESH_S

__all__ = ["FORECASTERS", "Compared", "Row", "compare"]

FORECASTERS = ("gru", "quantum", "untrained")
#: Demands that repeat; rivals are told the season.
_REPEATING = ("scheduled", "announced", "hotspot")


@dataclass(frozen=True)
class Row:
    """What one forecaster came to; scores are means, less is better, except those of gaps."""

    forecaster: str
    judged: bool
    crps: float
    pinball: float
    wape: float
    mase: float
    coverage: float
    brier: float
    log_score: float
    closed: float | None
    closed_low: float | None
    closed_high: float | None
    closed_tuned: float | None
    cost_ms: float
    trained_parameters: int | None


@dataclass(frozen=True)
class Compared:
    """A comparison, as it is written to JSON."""

    topology: str
    demand: str
    seed: int
    load_hz: float
    warmup_s: float
    seconds: float
    forecasts: int
    nodes: int
    commodities: int
    rows: list[Row]
    finding: str
    cost: str
    shown: dict[str, list[float]]
    worth: list[Worth] | None = None
    """What forecasts are worth in pairs delivered, where that was asked."""


def compare(
    topology: str,
    demand: str,
    forecaster: str,
    *,
    load_hz: float | None,
    warmup_s: float,
    seconds: float,
    seed: int,
    value_seeds: int = 0,
    deadline_s: float | None = None,
    preset: str = "paper",
    progress: Callable[[float], None] | None = None,
) -> Compared:
    """Play a demand to a forecaster, its rivals and the true process. Raises InputError.

    ``value_seeds`` are the runs in which its worth in pairs delivered is measured, from ``seed``
    on; ``deadline_s`` is that of their requests, unless it is the cell's own.
    """
    if forecaster not in FORECASTERS:
        raise InputError(f"forecaster must be {', '.join(FORECASTERS)}, got {forecaster}")
    torch.set_num_threads(1)
    cell = run_cell(topology, demand, load_hz=load_hz, preset=preset)
    # A second more than is scored, so that the last forecast has something to be held against.
    scenario = built(cell, seed, seconds=seconds + 1.0, warmup_s=warmup_s)
    trace, name = scenario.trace, demand.lower()
    truth = process_of(cell, scenario)
    season = None
    if name in KINDS:
        season = round(REFRESH_S / BIN_S) if name in _REPEATING else 0
    makers, parameters = _makers(forecaster, seed)
    began = time.perf_counter()
    judged = judge(
        trace,
        truth,
        makers,
        warmup_s=warmup_s,
        seconds=seconds,
        season=season,
        progress=progress,
    )
    took = time.perf_counter() - began
    rows = [_row(judged, key, forecaster, parameters.get(key)) for key in judged.scores]
    rows.sort(key=lambda row: row.crps)
    own = next(row for row in rows if row.judged)
    valued = None
    if value_seeds:
        if deadline_s is not None:
            cell = msgspec.structs.replace(cell, deadline_s=deadline_s)
        seeds = range(seed, seed + value_seeds)
        valued = worth(cell, makers, seeds, seconds=seconds, warmup_s=warmup_s, progress=progress)
    return Compared(
        topology=topology,
        demand=demand,
        seed=seed,
        load_hz=trace.load_hz,
        warmup_s=warmup_s,
        seconds=seconds,
        forecasts=judged.forecasts,
        nodes=judged.nodes,
        commodities=judged.commodities,
        rows=rows,
        finding=_finding(own, rows),
        cost=f"A forecast of all nodes takes {own.cost_ms:.2f} ms of CPU time, learning included: "
        f"{1e3 * own.cost_ms / judged.nodes:.0f} us for each of {judged.nodes} nodes that ask "
        f"(the whole comparison {took:.1f} s).",
        shown={key: part.tolist() for key, part in judged.shown.items()},
        worth=valued,
    )


def _makers(
    forecaster: str, seed: int
) -> tuple[dict[str, Callable[[Classes], Foresight]], dict[str, int]]:
    """Return how the judged forecasters are opened, and their trained parameters."""

    def opened(weights: Weights, reader: Reader | None = None) -> Callable[[Classes], Foresight]:
        return lambda c: Foresight(
            c.source, c.destination, c.fidelity, slot_s=SLOT_S, weights=weights, reader=reader
        )

    if forecaster == "untrained":
        fresh = new_weights(1, INPUTS, FEATURES, hidden=8, units=16, seed=seed)
        return {forecaster: opened(fresh), "gru": opened(shipped())}, {forecaster: size_of(fresh)}
    makers, parameters = {"gru": opened(shipped())}, {"gru": size_of(shipped())}
    if forecaster == "quantum":
        head, small = shipped("quantum"), shipped("small")
        makers = {
            forecaster: opened(head, quantum_reader()),
            "gru, as small": opened(small),
            **makers,
        }
        parameters |= {forecaster: size_of(head, head_only=True), "gru, as small": size_of(small)}
    return makers, parameters


def _row(judged: Judged, name: str, own: str, parameters: int | None) -> Row:
    scores = judged.scores[name]
    steps, asked, pairs_of_nodes = judged.counts.sum(axis=0).tolist()
    gap = closed(judged, name)
    tuned = closed(judged, name, TUNED_BAR)
    return Row(
        forecaster=name,
        judged=name == own,
        crps=float(scores.crps.sum()) / steps,
        pinball=float(scores.pinball.sum()) / steps,
        wape=float(scores.error.sum()) / judged.pairs if judged.pairs else float("nan"),
        mase=float(scores.scaled.sum()) / judged.forecasts / max(1, judged.scaled_nodes),
        coverage=float(scores.covered.sum()) / steps,
        brier=float(scores.brier.sum()) / asked,
        log_score=float(scores.log.sum()) / pairs_of_nodes,
        closed=None if gap is None else gap[0],
        closed_low=None if gap is None else gap[1],
        closed_high=None if gap is None else gap[2],
        closed_tuned=None if tuned is None else tuned[0],
        cost_ms=1e3 * scores.seconds / judged.forecasts,
        trained_parameters=parameters,
    )


def _finding(own: Row, rows: list[Row]) -> str:
    by_name = {row.forecaster: row for row in rows}
    bar = by_name[BAR]
    better = f"CRPS {own.crps / bar.crps - 1.0:+.1%} against {BAR}"
    if own.closed is None or own.closed_low is None or own.closed_high is None:
        return f"{own.forecaster}: {better}"
    return (
        f"{own.forecaster}: {better}; closes {own.closed:.0%} of its gap to the {ORACLE} "
        f"({own.closed_low:.0%} to {own.closed_high:.0%})"
    )

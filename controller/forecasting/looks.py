"""What a node notes of a request, and what it knows of a commodity's bins ahead: in kernels.

Both are seen against the flat rate: how much more or less a season, the last seconds and the law of
due times expect than the mean does. Times are seconds; see :mod:`controller.forecasting.streams`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from controller.forecasting.due import (
    NEAR_S,
    USUAL_SCATTER_S,
    chance_by,
    hazard,
    law,
    learn_scatter,
    scatter,
)
from controller.forecasting.streams import (
    BIN_S,
    BINS,
    FADE_SIZE,
    LENGTH,
    MERGE_S,
    RATES_S,
    SIZES,
    TIMES,
    WIDTHS_S,
    Streams,
    advance,
)
from quantum.kernels import kernel

__all__ = ["flat_rate", "look_ahead", "note"]

Floats = NDArray[np.float64]

#: Cells that a look ahead needs at most: the shortest cell is a sixteenth of the shortest season.
REACH = 96
#: Least share of the flat rate that a due time leaves.
_LEFT = 0.02
#: How late a block may be for its due time to say more, in scatters.
_LATEST = 4.0


@kernel
def flat_rate(streams: Streams, k: int, now_s: float) -> float:
    """Return the blocks per second that commodity ``k`` had on average, drawn to its node's."""
    n = streams.owner[k]
    mean = (streams.node_blocks[n] + 0.5) / (streams.node_size[n] * (now_s + 10.0))
    rate: float = (streams.blocks[k] + 1.0) / (now_s + 1.0 / mean)
    return rate


@kernel
def _sums(streams: Streams, k: int, start_s: float, end_s: float, sums: Floats) -> int:
    """Write running sums of profile, exposure and recent blocks (3, ...) from before ``start_s``.

    They reach far enough to either side for the widest mean; returns the cell that they begin with.
    """
    cells, cell_s = streams.cells[k], streams.cell_s[k]
    wide = round(WIDTHS_S[-1] / cell_s)
    first: int = int(start_s / cell_s + 1e-9) - wide
    last = int(end_s / cell_s + 1e-9) + wide
    sums[:, 0] = 0.0
    at = first % cells
    for number in range(last - first + 1):
        sums[0, number + 1] = sums[0, number] + streams.profile[k, at]
        sums[1, number + 1] = sums[1, number] + streams.exposure[k, at]
        sums[2, number + 1] = sums[2, number] + streams.recent[k, at]
        at = at + 1 if at + 1 < cells else 0
    return first


@kernel
def _seasonal(
    streams: Streams, k: int, at_s: float, half_s: float, flat: float, sums: Floats, first: int
) -> float:
    """Return the log of the profile around the time ``at_s`` over the flat rate; 0 unknown."""
    cell_s = streams.cell_s[k]
    centre, half = int(at_s / cell_s + 1e-9) - first, max(0, round(half_s / cell_s))
    came = sums[0, centre + half + 1] - sums[0, centre - half]
    seen = (sums[1, centre + half + 1] - sums[1, centre - half]) * flat * cell_s
    return 0.5 * math.log((came + 0.5) / (seen + 0.5))


@kernel
def _level(streams: Streams, k: int, number: int, now_s: float, flat: float) -> float:
    """Return the log of a decaying rate over the flat rate."""
    rate = 0.0
    if streams.blocks[k] > 0:
        passed = now_s - streams.last_s[k]
        rate = streams.rate[k, number] * math.exp(-passed / RATES_S[number])
    return math.log((rate + 0.3 * flat) / (1.3 * flat))


@kernel
def note(streams: Streams, k: int, now_s: float, pairs: float, fidelity: float) -> None:
    """Remember a request of commodity ``k``; requests come in the order of time."""
    n, number = streams.owner[k], streams.blocks[k]
    streams.node_pairs[n] += pairs
    if number > 0 and now_s - streams.last_s[k] < MERGE_S:
        at = (number - 1) % SIZES
        streams.sizes[k, at] += pairs
        streams.size[k, 0] += pairs
        if streams.node_blocks[n] - streams.place[k] < LENGTH:
            column = streams.events[n, streams.place[k] % LENGTH]
            column[6] = 0.5 * math.log1p(streams.sizes[k, at])
        return
    advance(streams, k, now_s)
    flat = flat_rate(streams, k, now_s)
    since = now_s - max(streams.last_s[k], 0.0)
    event = streams.events[n, streams.node_blocks[n] % LENGTH]
    sums = np.empty((3, REACH))
    first = _sums(streams, k, now_s, now_s, sums)
    for w in range(len(WIDTHS_S)):
        event[w] = _seasonal(streams, k, now_s, WIDTHS_S[w], flat, sums, first)
    event[4] = 0.5 * _level(streams, k, 1, now_s, flat)
    event[5] = 0.5 * math.log(max(since * flat, 1e-3))
    event[6] = 0.5 * math.log1p(pairs)
    event[7] = fidelity
    season_s = streams.cells[k] * streams.cell_s[k]
    due = law(streams.times[k], number, flat, now_s, season_s, now_s, NEAR_S)
    spread = scatter(streams.node_squares[n])
    event[8] = event[9] = 0.0
    if due.past > 0.0:
        event[8] = _lateness(now_s - due.at_s, spread * math.sqrt(1.0 + 1.0 / due.past))
        event[9] = 0.5 * math.log(spread / USUAL_SCATTER_S)
        learn_scatter(streams.node_squares[n], now_s - due.at_s, due.past)
    for r in range(len(RATES_S)):
        kept = streams.rate[k, r] * math.exp(-since / RATES_S[r]) if number > 0 else 0.0
        streams.rate[k, r] = kept + 1.0 / RATES_S[r]
    streams.recent[k, streams.clock[k] % streams.cells[k]] += 1.0
    streams.size[k, 0] = FADE_SIZE * streams.size[k, 0] + pairs
    streams.size[k, 1] = FADE_SIZE * streams.size[k, 1] + 1.0
    streams.sizes[k, number % SIZES], streams.times[k, number % TIMES] = pairs, now_s
    streams.place[k] = streams.node_blocks[n]
    streams.blocks[k], streams.last_s[k] = number + 1, now_s
    streams.node_blocks[n] += 1


@kernel
def look_ahead(streams: Streams, k: int, now_s: float, flat: float, out: Floats) -> None:
    """Write what is known at ``now_s`` of each bin ahead into ``out`` (BINS, FEATURES)."""
    advance(streams, k, now_s)
    last, cell_s = max(streams.last_s[k], 0.0), streams.cell_s[k]
    sums, near = np.empty((3, REACH)), round(NEAR_S / cell_s)
    first = _sums(streams, k, now_s, now_s + BINS * BIN_S, sums)
    levels = np.empty(len(RATES_S))
    for r in range(len(RATES_S)):
        levels[r] = 0.5 * _level(streams, k, r, now_s, flat)
    for j in range(BINS):
        at_s = now_s + (j + 0.6) * BIN_S  # bins end with a slot: this is the middle of theirs
        row, centre = out[j], int(at_s / cell_s + 1e-9) - first
        for w in range(len(WIDTHS_S)):
            row[w] = _seasonal(streams, k, at_s, WIDTHS_S[w], flat, sums, first)
        row[4] = math.log1p(sums[2, centre + near + 1] - sums[2, centre - near])
        row[5 : 5 + len(RATES_S)] = levels
        row[8] = 0.5 * math.log(min(max(at_s - last, 0.05), 60.0))
        row[9] = 0.5 * math.log1p((at_s - last) * flat)
        row[10] = 0.3 * math.log(flat)
        row[11] = math.log1p(sums[1, centre + 1] - sums[1, centre])
        row[12] = 0.5 * math.log1p(streams.blocks[k])
        row[13] = j / BINS
    _look_at_due(streams, k, now_s, flat, out)


@kernel
def _look_at_due(streams: Streams, k: int, now_s: float, flat: float, out: Floats) -> None:
    """Write what the law of due times says of each bin ahead (BINS, FEATURES)."""
    half_s = 0.5 * BINS * BIN_S
    due = law(
        streams.times[k],
        streams.blocks[k],
        flat,
        now_s,
        streams.cells[k] * streams.cell_s[k],
        now_s + half_s,
        half_s + NEAR_S,
    )
    wide = scatter(streams.node_squares[streams.owner[k]])
    spread = wide * math.sqrt(1.0 + 1.0 / max(due.past, 1.0))
    usual = flat * BIN_S
    before = chance_by(now_s - due.at_s, spread)
    for j in range(BINS):
        row = out[j]
        expected, row[15] = due.chance * BIN_S / (2.0 * (half_s + NEAR_S)), 0.0
        if due.past > 0.0:
            after = chance_by(now_s + (j + 1) * BIN_S - due.at_s, spread)
            expected, before = hazard(due, before, after), after
            row[15] = _lateness(now_s + (j + 0.5) * BIN_S - due.at_s, spread)
        row[14] = 0.5 * math.log((expected + _LEFT * usual) / ((1.0 + _LEFT) * usual))
        row[16] = 0.5 * math.log(spread / USUAL_SCATTER_S)
        row[17] = 0.5 * math.log1p(due.past)


@kernel
def _lateness(late_s: float, spread_s: float) -> float:
    """Return how late a time is in scatters, bounded, as a fraction of the bound."""
    return min(max(late_s / spread_s, -_LATEST), _LATEST) / _LATEST

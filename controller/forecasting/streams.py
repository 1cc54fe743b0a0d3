"""What was asked so far, as a forecaster sees it: bounded memories of K commodities, in kernels.

A commodity is a node pair; its requests are remembered by the node that is their source. Requests
that come within :data:`MERGE_S` are one *block*, because schedules ask for several at once. Times
are seconds. Nothing here looks ahead, everything is bounded, and a commodity's memory does not
depend on which others share the arrays.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.kernels import kernel

__all__ = [
    "BINS",
    "BIN_S",
    "COLUMNS",
    "FEATURES",
    "INPUTS",
    "LENGTH",
    "MERGE_S",
    "SEASON_S",
    "Streams",
    "flat_rate",
    "look_ahead",
    "new_streams",
    "newest",
    "note",
    "set_season",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Forecasts reach this many bins ahead, of this many seconds each.
BINS, BIN_S = 10, 0.1
#: Requests of a commodity within this time are one block.
MERGE_S = 0.1
#: The season that is looked for until a node has found one of its own.
SEASON_S = 20.0
#: Most cells of a season, and their usual length.
CELLS, CELL_S = 512, 0.1
#: Fewest cells of a season.
SHORTEST = 16
#: Half widths over which a season's profile is averaged, seconds.
WIDTHS_S = (0.1, 0.3, 0.7, 1.3)
#: A block this near to the same time of the season is taken for the one that was due, seconds.
NEAR_S = 0.8
#: Cells that a look ahead needs at most: the shortest cell is a sixteenth of the shortest season.
REACH = 96
#: Time constants of decaying rates, seconds.
RATES_S = (1.0, 5.0, 20.0)
#: What is left of a season's weight when the next one comes, and of a block's size.
FADE, FADE_SIZE = 0.85, 0.9
#: Newest blocks of a node that its recurrent network reads, sizes and times that are kept.
LENGTH, SIZES, TIMES = 16, 8, 256

COLUMNS = (
    *(f"season_{width:g}s" for width in WIDTHS_S),
    "came_this_season",
    *(f"rate_{tau:g}s" for tau in RATES_S),
    "since",
    "since_in_gaps",
    "rate",
    "seasons",
    "blocks",
    "ahead",
)
FEATURES = len(COLUMNS)
#: Inputs of the recurrent network at a block: how the season, the level and the gap saw it coming.
INPUTS = 8


class Streams(NamedTuple):
    """Memories of K commodities of N nodes; arrays that kernels change in place."""

    owner: Ints  # (K,) node
    cells: Ints  # (K,) cells of a season
    cell_s: Floats  # (K,) length of a cell
    clock: Ints  # (K,) newest cell since the start that was looked at
    profile: Floats  # (K, CELLS) blocks of past seasons, fading
    exposure: Floats  # (K, CELLS) seasons behind the profile, fading alike
    recent: Floats  # (K, CELLS) blocks of the last half season
    blocks: Ints  # (K,)
    last_s: Floats  # (K,) time of the newest block; -1 before the first
    rate: Floats  # (K, 3) decaying rates, as of last_s
    size: Floats  # (K, 2) pairs and number of blocks, fading
    sizes: Floats  # (K, SIZES) pairs of the newest blocks
    times: Floats  # (K, TIMES) times of the newest blocks
    place: Ints  # (K,) number of the newest block among the blocks of its node
    node_blocks: Ints  # (N,)
    node_size: Ints  # (N,) commodities of the node
    node_pairs: Floats  # (N,)
    events: Floats  # (N, LENGTH, INPUTS) the newest blocks, a ring


def new_streams(owner: Ints, nodes: int) -> Streams:
    """Return empty memories; ``owner`` (K,) is the node of each commodity."""
    size = len(owner)
    table, row = np.zeros((size, CELLS)), np.zeros(size)
    streams = Streams(
        owner=np.ascontiguousarray(owner, dtype=np.int64),
        cells=np.zeros(size, dtype=np.int64),
        cell_s=np.ones(size),
        clock=np.zeros(size, dtype=np.int64),
        profile=table,
        exposure=table.copy(),
        recent=table.copy(),
        blocks=np.zeros(size, dtype=np.int64),
        last_s=row - 1.0,
        rate=np.zeros((size, len(RATES_S))),
        size=np.zeros((size, 2)),
        sizes=np.zeros((size, SIZES)),
        times=np.zeros((size, TIMES)),
        place=np.zeros(size, dtype=np.int64),
        node_blocks=np.zeros(nodes, dtype=np.int64),
        node_size=np.bincount(owner, minlength=nodes).astype(np.int64),
        node_pairs=np.zeros(nodes),
        events=np.zeros((nodes, LENGTH, INPUTS)),
    )
    for k in range(size):
        set_season(streams, k, SEASON_S, 0.0)
    return streams


def newest(streams: Streams, nodes: Ints) -> tuple[Floats, Ints]:
    """Return the newest blocks of nodes (W, LENGTH, INPUTS), the newest last, and how many."""
    count = streams.node_blocks[nodes]
    order = (count[:, None] + np.arange(LENGTH)) % LENGTH
    return streams.events[nodes[:, None], order], np.minimum(count, LENGTH)


@kernel
def set_season(streams: Streams, k: int, season_s: float, now_s: float) -> None:
    """Fold the blocks of commodity ``k`` that are remembered at another season, as of ``now_s``."""
    cells = min(CELLS, max(SHORTEST, round(season_s / CELL_S)))
    streams.cells[k], streams.cell_s[k] = cells, season_s / cells
    streams.profile[k], streams.exposure[k], streams.recent[k] = 0.0, 0.0, 0.0
    known = min(streams.blocks[k], TIMES)
    start_s = streams.times[k, (streams.blocks[k] - known) % TIMES] if known == TIMES else 0.0
    streams.clock[k] = int(start_s / streams.cell_s[k] + 1e-9)
    for number in range(streams.blocks[k] - known, streams.blocks[k]):
        time_s = streams.times[k, number % TIMES]
        _advance(streams, k, time_s)
        streams.recent[k, streams.clock[k] % cells] += 1.0
    _advance(streams, k, now_s)


@kernel
def _advance(streams: Streams, k: int, now_s: float) -> None:
    """Move blocks that are half a season old into the profile, until ``now_s``."""
    cells = streams.cells[k]
    target = int(now_s / streams.cell_s[k] + 1e-9)
    # After a long silence all has faded: whole seasons are passed over at once.
    whole = (target - streams.clock[k]) // cells - 2
    while streams.clock[k] < target:
        streams.clock[k] += 1
        old = streams.clock[k] - cells // 2
        if old >= 0:
            at = old % cells
            streams.profile[k, at] = FADE * streams.profile[k, at] + streams.recent[k, at]
            streams.exposure[k, at] = FADE * streams.exposure[k, at] + 1.0
            streams.recent[k, at] = 0.0
        if whole > 0 and streams.clock[k] % cells == 0:
            left = FADE**whole
            for c in range(cells):
                streams.profile[k, c] *= left
                gone = (1.0 - left) / (1.0 - FADE)
                streams.exposure[k, c] = left * streams.exposure[k, c] + gone
            streams.clock[k] += whole * cells
            whole = 0


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
    _advance(streams, k, now_s)
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
    _advance(streams, k, now_s)
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

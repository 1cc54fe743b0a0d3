"""What was asked so far, as a forecaster sees it: bounded memories of K commodities, in kernels.

A commodity is a node pair; its requests are remembered by the node that is their source. Requests
that come within :data:`MERGE_S` are one *block*, because schedules ask for several at once. Times
are seconds. Nothing here looks ahead, everything is bounded, and a commodity's memory does not
depend on which others share the arrays.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.kernels import kernel

__all__ = [
    "BINS",
    "BIN_S",
    "COLUMNS",
    "FADE_SIZE",
    "FEATURES",
    "INPUTS",
    "LENGTH",
    "MERGE_S",
    "RATES_S",
    "SEASON_S",
    "SIZES",
    "TIMES",
    "WIDTHS_S",
    "Streams",
    "advance",
    "new_streams",
    "newest",
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
    "due",
    "due_late",
    "due_scatter",
    "due_blocks",
)
FEATURES = len(COLUMNS)
#: Inputs of the recurrent network at a block: how the season, the level, the gap and the due time
#: saw it coming.
INPUTS = 10


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
    node_squares: Floats  # (N, 2) squares of how late blocks came, and their number, fading
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
        node_squares=np.zeros((nodes, 2)),
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
        advance(streams, k, time_s)
        streams.recent[k, streams.clock[k] % cells] += 1.0
    advance(streams, k, now_s)


@kernel
def advance(streams: Streams, k: int, now_s: float) -> None:
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

"""When the next block of a season is due: the predictive law of times that scatter around one mean.

A commodity whose requests repeat asks at about the same time of each season. The blocks of past
seasons around a time, folded onto it, have the mean at which the next one is due; with n of them
and a scatter s the next one's time is normal around it with variance s^2 (1 + 1/n) (Gelman et al.,
Bayesian Data Analysis, 3rd ed., section 2.5, flat prior), and it comes at all with the chance of
Laplace's rule. Nodes learn s from how far blocks came from where they were due. Times are seconds.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.kernels import kernel

__all__ = [
    "NEAR_S",
    "SUREST",
    "USUAL_SCATTER_S",
    "Due",
    "chance_by",
    "hazard",
    "law",
    "learn_scatter",
    "scatter",
]

Floats = NDArray[np.float64]

#: Blocks this near to the mean of their kind are folded, seconds.
NEAR_S = 0.8
#: Newest blocks of a commodity that are folded.
FOLDED = 64
#: The scatter that is taken for granted before a block came, and for how many blocks it stands.
USUAL_SCATTER_S, USUAL_BLOCKS = 0.3, 2.0
#: What is left of what a node knows of its scatter when the next block comes.
FADE_SCATTER = 0.98
#: More blocks than this in a season near a time are no schedule.
MOST = 1.5
#: No block is surer than this. Where seasons bring more than one, one or more are expected.
SUREST = 0.99


class Due(NamedTuple):
    """When the block of a season is due, and how far it can be told.

    ``past`` is the number of blocks behind the mean; where it is 0 no time is known. Then, and
    where seasons bring more than one, ``chance`` is how many are expected.
    """

    at_s: float
    past: float
    chance: float
    came: bool


@kernel
def hazard(due: Due, before: float, after: float) -> float:
    """Return how many blocks are expected in a bin if none came before it.

    ``before`` and ``after`` are the chances that a block that comes has come by its ends.
    """
    if due.came:
        return 0.0
    share = due.chance * (after - before)
    return share if due.chance > SUREST else share / (1.0 - due.chance * before)


@kernel
def scatter(squares: Floats) -> float:
    """Return a node's scatter in seconds from ``squares`` (2,): their sum and their number.

    What is taken for granted does not fade, so it weighs most where a node is asked seldom.
    """
    total = USUAL_BLOCKS * USUAL_SCATTER_S**2 + squares[0]
    found: float = math.sqrt(total / (USUAL_BLOCKS + squares[1]))
    return found


@kernel
def learn_scatter(squares: Floats, late_s: float, past: float) -> None:
    """Learn from a block that came ``late_s`` after the mean of ``past`` blocks before it."""
    squares[0] = FADE_SCATTER * squares[0] + late_s * late_s / (1.0 + 1.0 / past)
    squares[1] = FADE_SCATTER * squares[1] + 1.0


@kernel
def law(
    times: Floats,
    blocks: int,
    flat_hz: float,
    now_s: float,
    season_s: float,
    centre_s: float,
    half_s: float,
) -> Due:
    """Return the block that is due near ``centre_s``, sought ``half_s`` to each side.

    ``times`` is a ring of the times of the newest of ``blocks`` blocks. Those of the last half
    season before ``now_s`` are of the season that is under way: one of them near the mean is the
    block that was due. ``flat_hz`` is the rate of blocks that what is not known is drawn to.
    """
    size = len(times)
    known = min(blocks, FOLDED, size)
    half = min(half_s, 0.5 * season_s)
    offsets = np.empty(known)
    old, total, count = 0, 0.0, 0
    for number in range(blocks - known, blocks):
        time_s = times[number % size]
        offset = time_s - centre_s
        offsets[number - blocks + known] = offset - season_s * np.rint(offset / season_s)
        if time_s < now_s - 0.5 * season_s:
            old += 1
            if abs(offsets[old - 1]) <= half:
                total += offsets[old - 1]
                count += 1
    begin_s = times[(blocks - known) % size] if known < blocks else 0.0
    seasons = max(0.0, math.floor((centre_s - begin_s) / season_s))
    if count == 0:
        return Due(centre_s, 0.0, 2.0 * half * flat_hz / (seasons + 1.0), False)
    middle, total, count = total / count, 0.0, 0
    for o in range(old):
        if abs(offsets[o] - middle) <= NEAR_S:
            total += offsets[o]
            count += 1
    if count:
        middle = total / count
    seasons = max(1.0, math.floor((centre_s + middle - begin_s) / season_s))
    if count > MOST * seasons:
        many = (count + 2.0 * NEAR_S * flat_hz) / (seasons + 1.0)
        return Due(centre_s + middle, float(count), many, False)
    came = False
    for o in range(old, known):
        came = came or abs(offsets[o] - middle) <= NEAR_S
    chance = min(SUREST, (count + 1.0) / (seasons + 2.0))
    return Due(centre_s + middle, max(1.0, float(count)), chance, came)


@kernel
def chance_by(late_s: float, spread_s: float) -> float:
    """Return the chance that a block came by ``late_s`` after it was due."""
    done: float = 0.5 * math.erfc(-late_s / (spread_s * math.sqrt(2.0)))
    return done

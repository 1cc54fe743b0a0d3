"""Chains that lose nothing: every time follows from one number of attempts per link.

Trajectories are played some at a time, link by link, so that the inner loops are over trajectories.
"""

import numpy as np
from numpy.typing import NDArray

from quantum.chain.draws import attempts_of, trajectory_key, uniform_of
from quantum.chain.setting import Plan
from quantum.kernels import kernel

__all__ = ["BLOCK", "play_sure"]

Floats = NDArray[np.float64]

#: Trajectories at a time; what 100 links need then stays in a core's cache.
BLOCK = 64
#: Attempts that end at an instant count, also where their time was rounded.
ROUNDING = 1e-9


@kernel
def _swap_asap(plan: Plan, born: Floats, swapped: Floats, size: int) -> None:
    """Swap at each node as soon as both links are there; the ends have heard of all swaps."""
    links, at = plan.links, plan.at
    for j in range(size):
        swapped[links, j] = born[0, j]
    for node in range(1, links):
        far = max(at[node].place, at[links].place - at[node].place)
        for j in range(size):
            when = max(born[node - 1, j], born[node, j])
            swapped[node, j] = when
            swapped[links, j] = max(swapped[links, j], when + far)
    for j in range(size):
        swapped[0, j] = swapped[links, j]


@kernel
def _swap_by_level(
    plan: Plan, born: Floats, swapped: Floats, left: Floats, right: Floats, size: int
) -> None:
    """Swap each node when it has heard of both segments.

    ``left[a]`` and ``right[a]`` are when the left and the right end of the segment that begins at
    node a have heard of it.
    """
    at = plan.at
    for link in range(plan.links):
        for j in range(size):
            left[link, j] = right[link, j] = born[link, j]
    for i in range(1, plan.links):
        node = at[i].join
        low, high = at[node].low, at[node].high
        to_left, to_right = at[node].place - at[low].place, at[high].place - at[node].place
        for j in range(size):
            when = max(right[low, j], left[node, j])
            swapped[node, j] = when
            left[low, j] = when + to_left
            right[low, j] = when + to_right
    for j in range(size):
        swapped[0, j] = swapped[plan.links, j] = max(left[0, j], right[0, j])


@kernel
def _meanwhile(
    plan: Plan, number: Floats, born: Floats, link: int, other: int, side: int, attempts: Floats
) -> None:
    """Write the attempts of link ``other`` while a qubit of ``link`` waits for it."""
    attempt = plan.at[other].attempt
    for j in range(len(attempts)):
        before = np.floor(born[link, j] / attempt + ROUNDING)
        attempts[j, link, side] = max(0.0, number[other, j] - before)


@kernel
def play_sure(
    plan: Plan,
    base: np.uint64,
    first: int,
    counting: bool,
    scratch: Floats,
    time_s: Floats,
    waits_s: Floats,
    attempts: Floats,
    total: Floats,
) -> None:
    """Play trajectories ``first`` and following, as many as ``time_s`` has places, BLOCK at most.

    ``waits_s`` and, where ``counting``, ``attempts`` are (B, k, 2); ``scratch`` is
    (5, k + 1, BLOCK).
    """
    links, size, tick_s = plan.links, len(time_s), plan.tick_s
    number, born, swapped = scratch[0], scratch[1], scratch[2]
    for j in range(size):
        total[j] = 0.0
    for link in range(links):
        inverse_log, attempt = plan.at[link].inverse_log, plan.at[link].attempt
        for j in range(size):
            uniform = uniform_of(trajectory_key(base, first + j), link)
            number[link, j] = attempts_of(uniform, inverse_log)
            born[link, j] = number[link, j] * attempt
            total[j] += number[link, j]
    if plan.asap:
        _swap_asap(plan, born, swapped, size)
    else:
        _swap_by_level(plan, born, swapped, scratch[3], scratch[4], size)
    for j in range(size):
        time_s[j] = swapped[0, j] * tick_s
        for link in range(links):
            waits_s[j, link, 0] = (swapped[link, j] - born[link, j]) * tick_s
            waits_s[j, link, 1] = (swapped[link + 1, j] - born[link, j]) * tick_s
        if plan.measured:
            waits_s[j, 0, 0] = waits_s[j, links - 1, 1] = 0.0
    if counting:
        attempts[:, 0, 0] = attempts[:, links - 1, 1] = 0.0
        for link in range(links - 1):
            _meanwhile(plan, number, born, link, link + 1, 1, attempts)
            _meanwhile(plan, number, born, link + 1, link, 0, attempts)

"""The largest scale at which groups of classes can all have their part.

Maximise theta (or the total of all pairs) such that the pairs of class c are at most
``base + ramp * theta`` and those of every group together at least ``floor + need * theta``, under
the same limits as the fluid bound. The knee is one group whose demand grows with theta; the
max-min fair bound is a group for each commodity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bmat, csc_matrix

from quantum.bound_master import GAP, Master, Solved, generate
from quantum.bound_program import LARGE, Problem, generation_part, repaired
from quantum.bound_values import Column

__all__ = ["Groups", "largest_scale", "largest_total"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Limits of C classes and G groups: ``group`` (C,), ``base`` and ``ramp`` (C,), ``need`` and
    ``floor`` (G,); see the module. Classes without an admissible path do not count.
    """

    group: Ints
    base: Floats
    ramp: Floats
    need: Floats
    floor: Floats


def largest_scale(
    problem: Problem,
    groups: Groups,
    *,
    generation: Floats,
    swaps: Floats,
    columns: Sequence[Column] | None = None,
    gap: float = GAP,
) -> Solved:
    """Maximise theta; ``bound`` is never below the largest theta, infinite if nothing limits it.

    The prices are those of one unit of theta; the last of ``fixed`` is theta.
    """
    return _generated(problem, groups, generation, swaps, columns, gap, growing=True)


def largest_total(
    problem: Problem,
    groups: Groups,
    *,
    generation: Floats,
    swaps: Floats,
    columns: Sequence[Column] | None = None,
    gap: float = GAP,
) -> Solved:
    """Maximise the pairs of all classes at theta = 0, where the floors must be within reach."""
    return _generated(problem, groups, generation, swaps, columns, gap, growing=False)


def _generated(
    problem: Problem,
    groups: Groups,
    generation: Floats,
    swaps: Floats,
    columns: Sequence[Column] | None,
    gap: float,
    *,
    growing: bool,
) -> Solved:
    network, size, count = problem.network, len(groups.group), len(groups.need)
    top, m = size + count, len(network.links)
    every = np.arange(size)
    heads = csc_matrix(
        (
            np.repeat([1.0, -1.0], size),
            (np.concatenate([every, size + groups.group]), np.tile(every, 2)),
        ),
        shape=(top + m + 2 * len(network.nodes), size),
    )
    theta = csc_matrix(np.concatenate([-groups.ramp, groups.need])[:, None])
    limits = np.concatenate([groups.base, -groups.floor, np.zeros(m), generation, swaps])
    worth = 0.0 if growing else 1.0

    def bound(price: Floats, least: Floats) -> float:
        income = worth + price[size:top][groups.group]
        dual = np.maximum(0.0, income - least)
        value = float(limits[size:] @ price[size:] + groups.base @ dual)
        if not growing:
            return value
        # Prices may be scaled until one unit of theta is worth 1.
        unit = float(groups.need @ price[size:top] - groups.ramp @ dual)
        return value / unit if unit > 0.0 else math.inf

    made = generation_part(network)
    return generate(
        Master(
            graph=problem.graph,
            classes=problem.classes,
            relay=problem.relay,
            number=every,
            window=np.zeros(size, dtype=np.int64),
            asked=problem.reachable,
            worth=np.full(size, worth),
            heads=heads,
            fixed=bmat([[None, theta], [made, None]], format="csc")
            if growing
            else _below(made, top),
            value=np.append(np.zeros(2 * m), 1.0) if growing else np.zeros(2 * m),
            limits=limits,
            link_row=top,
            swap_row=top + m + len(network.nodes),
            links=m,
            repair=lambda price: repaired(network, price, top, generation),
            bound=bound,
            interior=len(limits) > LARGE,
        ),
        problem.columns if columns is None else columns,
        gap=gap,
    )


def _below(part: csc_matrix, rows: int) -> csc_matrix:
    """Put empty rows above a matrix."""
    return bmat([[csc_matrix((rows, part.shape[1]))], [part]], format="csc")

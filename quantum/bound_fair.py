"""Fairness beside the sum: the max-min fair bound, and Jain's index of what was delivered.

The fluid bound pays for starving long paths. The *fair share* is the largest share of its demand
that every commodity can have at once (Bertsekas and Gallager, Data Networks, 1992, section 6.5.2).
It is a bound: no allocator can give all of them more. Demand without an admissible path does not
count.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum.bound import swap_tokens, window_classes
from quantum.bound_program import Problem, check_tokens, prepare, sums
from quantum.bound_scale import Groups, largest_scale, largest_total
from quantum.bound_values import Classes
from quantum.errors import InputError
from quantum.network import Network
from quantum.scenario import Scenario

__all__ = ["FairBound", "delivered_shares", "fair_bound", "jain_index", "run_fair_bound"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: A commodity is stuck at its share when more of it would cost others so much of theirs.
_STUCK = 1e-7
#: Shares already given are asked for again less this much, so that rounding cannot forbid them.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class FairBound:
    """The largest share that all commodities can have at once, and flows that give it to them.

    ``share`` 0-1; ``shares`` (K,) that each commodity is sure of after the levels asked for, 0
    where it has no reachable demand; ``demand`` (K,) that demand in pairs; ``delivered`` (C,) pairs
    per class when the rest is used for the largest sum, and ``total`` their sum.
    """

    share: float
    shares: Floats
    demand: Floats
    delivered: Floats
    total: float


def fair_bound(
    network: Network,
    classes: Classes,
    *,
    generation: Floats,
    swaps: Floats,
    max_rounds: int = 0,
    correlators: Floats | None = None,
    usable: Bools | None = None,
    levels: int = 1,
) -> FairBound:
    """Find the max-min fair share of reachable demand by commodity.

    Arguments as in :func:`quantum.bound.fluid_bound`. With more ``levels`` the commodities that are
    stuck keep their share and the others go on to the largest share that all of them can have, and
    so on (water-filling); with enough levels the result is the lexicographic optimum.
    """
    check_tokens(network, generation, swaps)
    if levels < 1:
        raise InputError(f"levels must be at least 1, got {levels}")
    problem = prepare(
        network,
        classes,
        generates=generation > 0,
        swaps=swaps > 0,
        max_rounds=max_rounds,
        correlators=correlators,
        usable=usable,
    )
    return _fair(problem, generation, swaps, levels)


def run_fair_bound(
    scenario: Scenario,
    *,
    tokens: Ints,
    max_rounds: int = 0,
    correlators: Floats | None = None,
    usable: Bools | None = None,
    swaps_ahead: bool = False,
    levels: int = 1,
) -> FairBound:
    """Find the fair share of a run on the tokens drawn, as :func:`quantum.bound.run_bound` does."""
    return fair_bound(
        scenario.network,
        window_classes(scenario),
        generation=np.asarray(tokens, dtype=np.float64),
        swaps=swap_tokens(scenario, swaps_ahead=swaps_ahead),
        max_rounds=max_rounds,
        correlators=correlators,
        usable=usable,
        levels=levels,
    )


def _fair(problem: Problem, generation: Floats, swaps: Floats, levels: int) -> FairBound:
    classes = problem.classes
    size, count = len(classes.pairs), len(classes.commodities)
    wanted = np.where(problem.reachable, classes.pairs, 0.0)
    demand = sums(classes.commodity.tolist(), wanted, count)
    growing, shares, share = demand > 0.0, np.zeros(count), 0.0
    if not growing.any():
        return FairBound(0.0, shares, demand, np.zeros(size), 0.0)
    columns = problem.columns
    for level in range(levels):
        solved = largest_scale(
            problem,
            _groups(classes, wanted, np.where(growing, demand, 0.0), shares * demand),
            generation=generation,
            swaps=swaps,
            columns=columns,
        )
        columns = solved.columns
        shares[growing] = min(1.0, solved.value)
        if level == 0:
            share = min(1.0, solved.bound)
        stuck = demand * solved.prices[size : size + count] > _STUCK
        growing &= ~stuck
        if not growing.any() or solved.value >= 1.0 - _ROUNDING:
            break
    solved = largest_total(
        problem,
        _groups(classes, wanted, np.zeros(count), shares * demand),
        generation=generation,
        swaps=swaps,
        columns=columns,
    )
    delivered = sums([column.number for column in solved.columns], solved.paths, size)
    return FairBound(share, shares, demand, delivered, float(delivered.sum()))


def _groups(classes: Classes, wanted: Floats, need: Floats, floor: Floats) -> Groups:
    return Groups(
        group=classes.commodity,
        base=wanted,
        ramp=np.zeros(len(wanted)),
        need=need,
        floor=np.where(need > 0.0, 0.0, floor * (1.0 - _ROUNDING)),
    )


def delivered_shares(commodity: Ints, asked: Ints, delivered: Ints) -> Floats:
    """Return the share delivered of each commodity that asked, in the order of their numbers.

    Per request: ``commodity`` (R,), pairs ``asked`` (R,) and ``delivered`` (R,).

    >>> delivered_shares(np.array([3, 0, 3]), np.array([4, 4, 4]), np.array([4, 1, 2])).tolist()
    [0.25, 0.75]
    """
    _, which = np.unique(commodity, return_inverse=True)
    share: Floats = np.bincount(which, weights=delivered) / np.bincount(which, weights=asked)
    return share


def jain_index(shares: Floats) -> float:
    """Return Jain's fairness index (sum x)^2 / (n sum x^2) of n shares, 1 where all are equal.

    R. Jain, D. Chiu and W. Hawe, A Quantitative Measure of Fairness and Discrimination for Resource
    Allocation in Shared Computer Systems, DEC-TR-301, 1984, equation 2. Where k of n have the same
    and the others nothing it is k / n. Without shares, or where all are 0, it is 1.

    >>> jain_index(np.array([1.0, 1.0, 0.0, 0.0]))
    0.5
    """
    values = np.asarray(shares, dtype=np.float64)
    if values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(values < 0.0):
        raise InputError("shares must be a row of finite numbers >= 0")
    largest = float(values.max(initial=0.0))
    if largest <= 0.0:
        return 1.0
    scaled = values / largest
    return float(scaled.sum() ** 2 / (len(scaled) * (scaled**2).sum()))

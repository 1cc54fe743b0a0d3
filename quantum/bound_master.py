"""Column generation: a linear program over paths, priced in until none is missing.

A *question* asks for the paths of one class in one time window (a bound without windows has one
window, number 0). A column of a question enters its own rows (``heads``), takes 2^rounds of each
link in the window and one swap of every node between its ends. All other columns are fixed.

The value reported is that of a feasible dual solution, which by weak duality is a bound whatever
the rounding of the solver (HiGHS, through SciPy): every round the prices are repaired, the exact
pricing gives the cheapest path of every question, and the program's own formula turns both into a
bound. The best of all rounds counts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csc_matrix, hstack

from quantum.bound_columns import Arcs, Priced, cheapest
from quantum.bound_values import Classes, Column
from quantum.errors import DpemError

__all__ = ["GAP", "Master", "Solved", "generate", "price_paths"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Pricing rounds stop when primal and dual differ by less than this share of the value.
GAP = 1e-8
#: Reduced costs below this are the solver's noise.
_NOISE = 1e-10
#: A hasty search must gain this much, so that the exact one does the last polish.
_HASTY = 1e-6
#: More rounds than this mean that the solver cycles; 100-node networks take 3 to 30.
_MOST_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class Master:
    """A program over paths; q questions, r rows, f fixed columns, all rows "at most ``limits``".

    ``graph``, ``classes`` and ``relay`` (n,) say what a path is; ``number`` (q,) and ``window``
    (q,) name class and window of each question; ``worth`` (q,) is what one unit of path adds to the
    value and ``heads`` (r, q) its entries beside links and swaps, which stand in the rows
    ``link_row + window * m + link`` and ``swap_row + window * n + node``.

    ``repair`` makes prices (r,) >= 0 feasible for the fixed columns and never lowers what a path
    pays; ``bound`` turns repaired prices and the least cost (q,) of a path (inf: none) into a bound
    on the value. ``asked`` (q,) questions that need an answer at all. ``active`` tells which fixed
    columns the paths so far can use (r entries that they take); None: all. ``interior`` picks the
    interior-point method, which is faster for some large programs.
    """

    graph: Arcs
    classes: Classes
    relay: Bools
    number: Ints
    window: Ints
    asked: Bools
    worth: Floats
    heads: csc_matrix
    fixed: csc_matrix
    value: Floats
    limits: Floats
    link_row: int
    swap_row: int
    links: int
    repair: Callable[[Floats], Floats]
    bound: Callable[[Floats, Floats], float]
    active: Callable[[Bools], Bools] | None = None
    interior: bool = False


@dataclass(frozen=True, eq=False)
class Solved:
    """The best bound, and the last program: amounts of paths and fixed columns, prices, rounds.

    ``value`` is that of the amounts, at most the bound; ``least`` (q,) the least costs at
    ``prices``.
    """

    bound: float
    value: float
    paths: Floats
    fixed: Floats
    prices: Floats
    least: Floats
    columns: tuple[Column, ...]
    rounds: int


def generate(master: Master, columns: Sequence[Column], *, gap: float = GAP) -> Solved:
    """Solve a program to a relative ``gap`` between its value and its bound.

    ``columns`` to begin with, at least one; with those of a similar program it takes fewer rounds.
    """
    pool, known = list(columns), set(columns)
    block = _block(master, pool)
    # Distilled links differ in all correlators, and exact labels then multiply: look hastily first.
    hasty = bool(master.graph.rounds.any())
    method = "highs-ipm" if master.interior else "highs-ds"
    best = math.inf
    for turn in range(1, _MOST_ROUNDS + 1):
        worth = master.worth[[column.number for column in pool]]
        used = _active(master, block)
        result = linprog(
            -np.concatenate([worth, master.value[used]]),
            A_ub=hstack([block, master.fixed[:, used]], format="csc"),
            b_ub=master.limits,
            method=method,
        )
        if result.status != 0:
            raise DpemError(f"the linear program of the bound failed: {result.message}")
        price = np.maximum(0.0, -result.ineqlin.marginals)
        price[price < _NOISE] = 0.0
        price = master.repair(price)
        budget = np.where(master.asked, master.worth - master.heads.T @ price, 0.0)
        if hasty:
            _, fresh = _priced(master, price, budget, _HASTY, known, hasty=True)
            if fresh:
                pool += fresh
                known.update(fresh)
                block = hstack([block, _block(master, fresh)], format="csc")
                continue
        least, fresh = _priced(master, price, budget, _NOISE, known, hasty=False)
        best = min(best, master.bound(price, least))
        if not fresh or (math.isfinite(best) and best + result.fun <= gap * best):
            amounts = np.maximum(0.0, result.x)
            fixed = np.zeros(len(master.value))
            fixed[used] = amounts[len(pool) :]
            return Solved(
                bound=best,
                value=-float(result.fun),
                paths=amounts[: len(pool)],
                fixed=fixed,
                prices=price,
                least=least,
                columns=tuple(pool),
                rounds=turn,
            )
        pool += fresh
        known.update(fresh)
        block = hstack([block, _block(master, fresh)], format="csc")
    raise DpemError(f"the bound did not converge in {_MOST_ROUNDS} pricing rounds")


def _active(master: Master, block: csc_matrix) -> Ints:
    """Return the numbers of the fixed columns that the paths can use."""
    if master.active is None:
        return np.arange(len(master.value))
    taken = np.zeros(len(master.limits), dtype=np.bool_)
    taken[block.indices] = True
    return np.flatnonzero(master.active(taken))


def price_paths(
    graph: Arcs,
    classes: Classes,
    number: Ints,
    relay: Bools,
    link_cost: Floats,
    node_cost: Floats,
    budget: Floats,
    *,
    hasty: bool = False,
) -> Priced:
    """Find the cheapest admissible path for each of the classes ``number``."""
    ends = classes.commodities[classes.commodity[number]]
    return cheapest(
        graph,
        source=ends[:, 0],
        target=ends[:, 1],
        minimum_fidelity=classes.minimum_fidelity[number],
        link_cost=link_cost,
        node_cost=np.where(relay, node_cost, np.inf),
        budget=budget,
        hasty=hasty,
    )


def _priced(
    master: Master,
    price: Floats,
    budget: Floats,
    gain: float,
    known: set[Column],
    *,
    hasty: bool,
) -> tuple[Floats, list[Column]]:
    """Price all questions: least costs (no more than the budget), and new columns that gain."""
    least = np.where(master.asked, np.maximum(0.0, budget), np.inf)
    fresh: list[Column] = []
    m, n = master.links, len(master.relay)
    for window in np.unique(master.window[budget > 0.0]):
        some = np.flatnonzero((master.window == window) & (budget > 0.0))
        link, swap = master.link_row + window * m, master.swap_row + window * n
        found = price_paths(
            master.graph,
            master.classes,
            master.number[some],
            master.relay,
            price[link : link + m],
            price[swap : swap + n],
            budget[some],
            hasty=hasty,
        )
        least[some] = np.minimum(least[some], found.cost)
        for index in np.flatnonzero(budget[some] - found.cost > gain):
            column = Column(int(some[index]), tuple(found.path(int(index)).tolist()))
            if column not in known:
                fresh.append(column)
    return least, fresh


def _block(master: Master, columns: Sequence[Column]) -> csc_matrix:
    """Write paths as columns of the program."""
    number = np.array([column.number for column in columns], dtype=np.int64)
    lengths = np.array([len(column.arcs) for column in columns], dtype=np.int64)
    every = np.array([a for column in columns for a in column.arcs], dtype=np.int64)
    owner = np.repeat(np.arange(len(columns)), lengths)
    relayed = np.ones(len(every), dtype=np.bool_)
    relayed[np.cumsum(lengths) - 1] = False
    window = master.window[number][owner]
    m, n = master.links, len(master.relay)
    heads = master.heads[:, number].tocoo()
    row = [
        heads.row,
        master.link_row + window * m + master.graph.link[every],
        (master.swap_row + window * n + master.graph.to[every])[relayed],
    ]
    col = [heads.col, owner, owner[relayed]]
    value = [heads.data, np.exp2(master.graph.rounds[every]), np.ones(int(relayed.sum()))]
    return csc_matrix(
        (np.concatenate(value), (np.concatenate(row), np.concatenate(col))),
        shape=(len(master.limits), len(columns)),
    )

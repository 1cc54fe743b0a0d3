"""The linear program of the bound, solved by column generation.

Rows: demand of each class, pairs of each link, generation tokens and swap tokens of each node.
Columns: paths, priced in until none is missing, and the pairs that each end makes on each link.
The value reported is that of a feasible dual solution, which by weak duality is a bound whatever
the rounding of the solver (HiGHS, through SciPy).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from quantum.bound_columns import Arcs, Priced, arcs, cheapest
from quantum.bound_values import Bound, Classes, Column, Duals, PathFlow
from quantum.errors import DpemError, InputError
from quantum.network import Network

__all__ = ["Problem", "check_tokens", "prepare", "solve"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Pricing rounds stop when primal and dual differ by less than this share of the total.
_GAP = 1e-8
#: Reduced costs below this are the solver's noise.
_NOISE = 1e-10
#: A hasty search must gain this much, so that the exact one does the last polish.
_HASTY = 1e-6
#: More rounds than this mean that the solver cycles; 100-node networks take 3 to 30.
_MOST_ROUNDS = 1000


@dataclass(frozen=True, eq=False)
class Problem:
    """A network with its classes, ready to be solved for any amounts (see :func:`prepare`).

    ``reachable`` (C,) classes that have an admissible path; ``relay`` (n,) nodes that can swap.
    """

    network: Network
    classes: Classes
    graph: Arcs
    reachable: Bools
    relay: Bools
    columns: tuple[Column, ...]


def prepare(
    network: Network,
    classes: Classes,
    *,
    generates: Bools,
    swaps: Bools,
    max_rounds: int = 0,
    correlators: Floats | None = None,
) -> Problem:
    """Build the graph of a problem and a first path for every class that has one.

    ``generates`` (n,) and ``swaps`` (n,) tell which nodes have any tokens at all. ``correlators``
    (m, 3) overrides those of fresh links (their best values, where links drift).
    """
    if not 0 <= max_rounds <= 8:
        raise InputError(f"max_rounds must be 0 to 8, got {max_rounds}")
    if len(classes.commodities) and not (
        classes.commodities.min() >= 0 and classes.commodities.max() < len(network.nodes)
    ):
        raise InputError(f"classes.commodities name nodes 0 to {len(network.nodes) - 1} only")
    if correlators is not None and (
        correlators.shape != (len(network.links), 3) or not np.all(np.isfinite(correlators))
    ):
        raise InputError(f"correlators must be finite, of shape ({len(network.links)}, 3)")
    ends = classes.commodities[classes.commodity]
    graph = arcs(
        network,
        ends[:, 1],
        usable=generates[network.links[:, 0]] | generates[network.links[:, 1]],
        relay=swaps,
        max_rounds=max_rounds,
        quality=correlators,
    )
    problem = Problem(network, classes, graph, np.zeros(len(ends), np.bool_), swaps, ())
    # The first paths shun scarce nodes; any positive weights would do.
    link_cost = 1.0 / np.maximum(network.generation_hz[network.links].sum(axis=1), 0.1)
    node_cost = 1.0 / np.maximum(network.swap_hz, 0.1)
    columns: list[Column] = []
    missing = np.ones(len(ends), dtype=np.bool_)
    for hasty in (True, False):
        priced = _price(problem, link_cost, node_cost, np.where(missing, np.inf, 0.0), hasty=hasty)
        columns += _columns(priced, np.flatnonzero(np.isfinite(priced.cost)), set())
        missing &= ~np.isfinite(priced.cost)
    return replace(problem, reachable=~missing, columns=tuple(columns))


def solve(
    problem: Problem,
    pairs: Floats,
    *,
    generation: Floats,
    swaps: Floats,
    columns: Sequence[Column] | None = None,
) -> Bound:
    """Solve a prepared problem for ``pairs`` (C,) wanted and token totals (n,).

    ``columns`` of an earlier solution of the same problem save pricing rounds.
    """
    network = problem.network
    check_tokens(network, generation, swaps)
    pool = list(problem.columns if columns is None else columns)
    known = set(pool)
    size, n, m = len(pairs), len(network.nodes), len(network.links)
    if not np.any(pairs[problem.reachable] > 0):
        zero = Duals(np.zeros(size), np.zeros(m), np.zeros(n), np.zeros(n))
        return Bound(0.0, np.zeros(size), (), np.zeros((m, 2)), zero, 0, tuple(pool))
    fixed = _generation_part(network, size)
    limits = np.concatenate([pairs, np.zeros(m), generation, swaps])
    # Distilled links differ in all correlators, and exact labels then multiply: look hastily first.
    hasty = bool(problem.graph.rounds.any())
    best = math.inf
    for turn in range(1, _MOST_ROUNDS + 1):
        matrix = _matrix(problem.graph, pool, fixed, len(limits), size, m, n)
        value = np.zeros(matrix.shape[1])
        value[: len(pool)] = -1.0
        result = linprog(value, A_ub=matrix, b_ub=limits, method="highs")
        if result.status != 0:
            raise DpemError(f"the linear program of the bound failed: {result.message}")
        price = np.maximum(0.0, -result.ineqlin.marginals)
        price[price < _NOISE] = 0.0
        duals = _feasible(network, price, size)
        budget = np.where(problem.reachable & (pairs > 0), 1.0 - duals.classes, 0.0)
        if hasty:
            priced = _price(problem, duals.link, duals.swap, budget, hasty=True)
            fresh = _columns(priced, np.flatnonzero(budget - priced.cost > _HASTY), known)
            if fresh:
                pool.extend(fresh)
                known.update(fresh)
                continue
        priced = _price(problem, duals.link, duals.swap, budget)
        gain = np.maximum(0.0, 1.0 - duals.classes - priced.cost)
        # Raising the price of each class by its gain makes the dual solution feasible.
        duals = replace(duals, classes=duals.classes + gain)
        total = float(
            pairs[problem.reachable] @ duals.classes[problem.reachable]
            + generation @ duals.generation
            + swaps @ duals.swap
        )
        best = min(best, total)
        fresh = _columns(priced, np.flatnonzero(gain > _NOISE), known)
        if not fresh or best + result.fun <= _GAP * best:
            amounts = np.maximum(0.0, result.x)
            return Bound(
                total=min(best, float(pairs[problem.reachable].sum())),
                delivered=_sums([c.number for c in pool], amounts[: len(pool)], size),
                paths=_flows(problem, pool, amounts),
                generated=amounts[len(pool) :].reshape(m, 2),
                duals=duals,
                rounds=turn,
                columns=tuple(pool),
            )
        pool.extend(fresh)
        known.update(fresh)
    raise DpemError(f"the bound did not converge in {_MOST_ROUNDS} pricing rounds")


def check_tokens(network: Network, generation: Floats, swaps: Floats) -> None:
    """Refuse token totals that are not n finite numbers >= 0."""
    for name, value in (("generation", generation), ("swaps", swaps)):
        if value.shape != (len(network.nodes),):
            raise InputError(f"{name} must have shape ({len(network.nodes)},), got {value.shape}")
        if not np.all(np.isfinite(value)) or value.min() < 0:
            raise InputError(f"{name} must be finite token totals >= 0")


def _columns(priced: Priced, numbers: Ints, known: set[Column]) -> list[Column]:
    """Turn the priced paths of the classes ``numbers`` into columns, without those known."""
    found = (Column(int(c), tuple(priced.path(c).tolist())) for c in numbers)
    return [column for column in found if column not in known]


def _price(
    problem: Problem, link_cost: Floats, node_cost: Floats, budget: Floats, *, hasty: bool = False
) -> Priced:
    classes = problem.classes
    ends = classes.commodities[classes.commodity]
    return cheapest(
        problem.graph,
        source=ends[:, 0],
        target=ends[:, 1],
        minimum_fidelity=classes.minimum_fidelity,
        link_cost=link_cost,
        node_cost=np.where(problem.relay, node_cost, np.inf),
        budget=budget,
        hasty=hasty,
    )


def _feasible(network: Network, price: Floats, size: int) -> Duals:
    """Read the duals; a token is worth at least what a pair on any link of its node is."""
    m, n = len(network.links), len(network.nodes)
    classes, link, generation, swap = np.split(price, [size, size + m, size + m + n])
    generation = generation.copy()
    for side in (0, 1):
        np.maximum.at(generation, network.links[:, side], link)
    return Duals(classes=classes, link=link, generation=generation, swap=swap)


def _sums(index: list[int], weights: Floats, size: int) -> Floats:
    out = np.zeros(size)
    np.add.at(out, index, weights)
    return out


_Entries = tuple[Ints, Ints, Floats]


def _generation_part(network: Network, size: int) -> _Entries:
    """Rows, columns and values of the (m, 2) generation variables, columns from 0."""
    m = len(network.links)
    number = np.arange(2 * m)
    rows = np.concatenate([size + number // 2, size + m + network.links.ravel()])
    return rows, np.concatenate([number, number]), np.repeat([-1.0, 1.0], 2 * m)


def _matrix(
    graph: Arcs, pool: list[Column], fixed: _Entries, rows: int, size: int, m: int, n: int
) -> csr_matrix:
    """Rows: classes (C), links (m), generation (n), swaps (n). Columns: paths, then generation."""
    lengths = np.array([len(column.arcs) for column in pool])
    every = np.array([a for column in pool for a in column.arcs])
    owner = np.repeat(np.arange(len(pool)), lengths)
    relayed = np.ones(len(every), dtype=np.bool_)
    relayed[np.cumsum(lengths) - 1] = False
    row = np.concatenate(
        [
            np.array([column.number for column in pool]),
            size + graph.link[every],
            size + m + n + graph.to[every[relayed]],
            fixed[0],
        ]
    )
    col = np.concatenate([np.arange(len(pool)), owner, owner[relayed], len(pool) + fixed[1]])
    value = np.concatenate(
        [
            np.ones(len(pool)),
            np.exp2(graph.rounds[every]),
            np.ones(int(relayed.sum())),
            fixed[2],
        ]
    )
    return csr_matrix((value, (row, col)), shape=(rows, len(pool) + 2 * m))


def _flows(problem: Problem, pool: list[Column], amounts: Floats) -> tuple[PathFlow, ...]:
    classes, graph = problem.classes, problem.graph
    flows = []
    for index in np.flatnonzero(amounts[: len(pool)] > _NOISE):
        column = pool[index]
        way = np.array(column.arcs)
        commodity = int(classes.commodity[column.number])
        flows.append(
            PathFlow(
                commodity=commodity,
                minimum_fidelity=float(classes.minimum_fidelity[column.number]),
                nodes=(int(classes.commodities[commodity, 0]), *graph.to[way].tolist()),
                links=tuple(graph.link[way].tolist()),
                rounds=tuple(graph.rounds[way].tolist()),
                pairs=float(amounts[index]),
            )
        )
    return tuple(flows)

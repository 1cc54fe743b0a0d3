"""The linear program of the fluid bound: all amounts of a run in one window.

Rows: demand of each class, pairs of each link, generation tokens and swap tokens of each node.
Columns: paths, priced in until none is missing (:mod:`quantum.bound_master`), and the pairs that
each end makes on each link.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, vstack

from quantum.bound_columns import Arcs, arcs
from quantum.bound_master import GAP, Master, Solved, generate, price_paths
from quantum.bound_values import Bound, Classes, Column, Duals, PathFlow
from quantum.errors import InputError
from quantum.network import Network

__all__ = [
    "LARGE",
    "Problem",
    "check_tokens",
    "generation_part",
    "prepare",
    "repaired",
    "solve",
    "sums",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: From so many rows on, the interior-point method is faster than the simplex.
LARGE = 2500
#: Flows below this are the solver's noise.
_NOISE = 1e-10


@dataclass(frozen=True, eq=False)
class Problem:
    """A network with its classes, ready to be solved for any amounts (see :func:`prepare`).

    ``reachable`` (C,) classes that have an admissible path; ``relay`` (n,) nodes that can swap;
    ``usable`` (m,) links that can be made.
    """

    network: Network
    classes: Classes
    graph: Arcs
    reachable: Bools
    relay: Bools
    usable: Bools
    columns: tuple[Column, ...]


def prepare(
    network: Network,
    classes: Classes,
    *,
    generates: Bools,
    swaps: Bools,
    max_rounds: int = 0,
    correlators: Floats | None = None,
    usable: Bools | None = None,
) -> Problem:
    """Build the graph of a problem and a first path for every class that has one.

    ``generates`` (n,) and ``swaps`` (n,) tell which nodes have any tokens at all. ``correlators``
    (m, 3) overrides those of fresh links (their best values, where links drift). ``usable`` (m,)
    leaves out links that are never up.
    """
    if not 0 <= max_rounds <= 8:
        raise InputError(f"max_rounds must be 0 to 8, got {max_rounds}")
    if len(classes.commodities) and not (
        classes.commodities.min() >= 0 and classes.commodities.max() < len(network.nodes)
    ):
        raise InputError(f"classes.commodities name nodes 0 to {len(network.nodes) - 1} only")
    m = len(network.links)
    if correlators is not None and (
        correlators.shape != (m, 3) or not np.all(np.isfinite(correlators))
    ):
        raise InputError(f"correlators must be finite, of shape ({m}, 3)")
    if usable is not None and (usable.shape != (m,) or usable.dtype != np.bool_):
        raise InputError(f"usable must be {m} booleans, one for each link")
    made = generates[network.links[:, 0]] | generates[network.links[:, 1]]
    made = made if usable is None else made & usable
    ends = classes.commodities[classes.commodity]
    graph = arcs(
        network,
        ends[:, 1],
        usable=made,
        relay=swaps,
        max_rounds=max_rounds,
        quality=correlators,
    )
    # The first paths shun scarce nodes; any positive weights would do.
    link_cost = 1.0 / np.maximum(network.generation_hz[network.links].sum(axis=1), 0.1)
    node_cost = 1.0 / np.maximum(network.swap_hz, 0.1)
    columns: list[Column] = []
    missing = np.ones(len(ends), dtype=np.bool_)
    every = np.arange(len(ends))
    for hasty in (True, False):
        budget = np.where(missing, np.inf, 0.0)
        priced = price_paths(
            graph, classes, every, swaps, link_cost, node_cost, budget, hasty=hasty
        )
        reached = np.flatnonzero(np.isfinite(priced.cost))
        columns += [Column(int(c), tuple(priced.path(int(c)).tolist())) for c in reached]
        missing &= ~np.isfinite(priced.cost)
    return Problem(network, classes, graph, ~missing, swaps, made, tuple(columns))


def solve(
    problem: Problem,
    pairs: Floats,
    *,
    generation: Floats,
    swaps: Floats,
    columns: Sequence[Column] | None = None,
    gap: float = GAP,
) -> Bound:
    """Solve a prepared problem for ``pairs`` (C,) wanted and token totals (n,).

    ``columns`` of an earlier solution of the same problem save pricing rounds. The total is a bound
    whatever the ``gap``; flows are within that share of it.
    """
    network, graph = problem.network, problem.graph
    check_tokens(network, generation, swaps)
    pool = problem.columns if columns is None else columns
    size, n, m = len(pairs), len(network.nodes), len(network.links)
    wanted = problem.reachable & (pairs > 0)
    if not wanted.any():
        zero = Duals(np.zeros(size), np.zeros(m), np.zeros(n), np.zeros(n))
        return Bound(0.0, np.zeros(size), (), np.zeros((m, 2)), zero, 0, tuple(pool))
    limits = np.concatenate([pairs, np.zeros(m), generation, swaps])
    rest = limits[size:]

    def bound(price: Floats, least: Floats) -> float:
        # Raising the price of each class by what a path would gain makes the prices feasible.
        return float(rest @ price[size:] + pairs @ np.maximum(0.0, 1.0 - least))

    every = np.arange(size)
    solved = generate(
        Master(
            graph=graph,
            classes=problem.classes,
            relay=problem.relay,
            number=every,
            window=np.zeros(size, dtype=np.int64),
            asked=wanted,
            worth=np.ones(size),
            heads=csc_matrix((np.ones(size), (every, every)), shape=(len(limits), size)),
            fixed=vstack([csc_matrix((size, 2 * m)), generation_part(network)], format="csc"),
            value=np.zeros(2 * m),
            limits=limits,
            link_row=size,
            swap_row=size + m + n,
            links=m,
            repair=lambda price: repaired(network, price, size, generation),
            bound=bound,
            interior=len(limits) > LARGE,
        ),
        pool,
        gap=gap,
    )
    _, link, made, swap = np.split(solved.prices, [size, size + m, size + m + n])
    return Bound(
        total=min(solved.bound, float(pairs[problem.reachable].sum())),
        delivered=sums([c.number for c in solved.columns], solved.paths, size),
        paths=_flows(problem, solved),
        generated=solved.fixed.reshape(m, 2),
        duals=Duals(np.maximum(0.0, 1.0 - solved.least), link, made, swap),
        rounds=solved.rounds,
        columns=solved.columns,
    )


def check_tokens(network: Network, generation: Floats, swaps: Floats) -> None:
    """Refuse token totals that are not n finite numbers >= 0."""
    for name, value in (("generation", generation), ("swaps", swaps)):
        if value.shape != (len(network.nodes),):
            raise InputError(f"{name} must have shape ({len(network.nodes)},), got {value.shape}")
        if not np.all(np.isfinite(value)) or value.min() < 0:
            raise InputError(f"{name} must be finite token totals >= 0")


def generation_part(network: Network) -> csc_matrix:
    """Return the columns (2m) of pairs made by each end; rows: links, generation, swaps."""
    n, m = len(network.nodes), len(network.links)
    number = np.arange(2 * m)
    rows = np.concatenate([number // 2, m + network.links.ravel()])
    return coo_matrix(
        (np.repeat([-1.0, 1.0], 2 * m), (rows, np.tile(number, 2))), shape=(m + 2 * n, 2 * m)
    ).tocsc()


def repaired(network: Network, price: Floats, size: int, tokens: Floats) -> Floats:
    """Make prices feasible for the pairs made (rows as in a solve); ``tokens`` (n,) of each node.

    A token is worth at least what a pair on any link of its node is. Then a pair may cost as much
    as the cheaper token that can make it: that is free, and keeps paths off links that only look
    cheap because no path has asked for them.
    """
    m, n = len(network.links), len(network.nodes)
    out = price.copy()
    link, generation = out[size : size + m], out[size + m : size + m + n]
    for side in (0, 1):
        np.maximum.at(generation, network.links[:, side], link)
    able = np.where(tokens > 0.0, generation, np.inf)[network.links].min(axis=1, initial=np.inf)
    link[:] = np.where(np.isfinite(able), np.maximum(link, able), link)
    for side in (0, 1):
        np.maximum.at(generation, network.links[:, side], link)
    return out


def sums(index: Sequence[int], weights: Floats, size: int) -> Floats:
    """Add up weights by index."""
    out = np.zeros(size)
    np.add.at(out, np.asarray(index, dtype=np.int64), weights)
    return out


def _flows(problem: Problem, solved: Solved) -> tuple[PathFlow, ...]:
    classes, graph = problem.classes, problem.graph
    flows = []
    for index in np.flatnonzero(solved.paths > _NOISE):
        column = solved.columns[index]
        way = np.array(column.arcs)
        commodity = int(classes.commodity[column.number])
        flows.append(
            PathFlow(
                commodity=commodity,
                minimum_fidelity=float(classes.minimum_fidelity[column.number]),
                nodes=(int(classes.commodities[commodity, 0]), *graph.to[way].tolist()),
                links=tuple(graph.link[way].tolist()),
                rounds=tuple(graph.rounds[way].tolist()),
                pairs=float(solved.paths[index]),
            )
        )
    return tuple(flows)

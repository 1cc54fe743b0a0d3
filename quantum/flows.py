"""What the flows of the bound say about a network: its knee, its targets, its shortest paths.

The *knee* is the load at which the bound falls to 95 % of the demand: presets put their loads
there. The flows at a mean load say how many pairs of each link a commodity uses, which is what
the mean-rate allocator stocks. The shortest feasible paths define contention.
"""

import numpy as np
from numpy.typing import NDArray

from quantum.bell import correlators
from quantum.bound_columns import Arcs, Priced, arcs, cheapest, distilled
from quantum.bound_master import GAP
from quantum.bound_program import Problem, prepare, solve
from quantum.bound_scale import Groups, largest_scale
from quantum.bound_values import Bound, Classes
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.scenario import Scenario

__all__ = ["KNEE", "knee", "link_shares", "mean_classes", "shares_by_grade", "shortest_paths"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Share of the reachable demand that the bound still delivers at the knee.
KNEE = 0.95
#: Link share of a commodity that the flows do not serve, on each link of its cheapest path:
#: with 1 it would crowd out the others, with 0 it would never be served (measured on prototypes).
_UNSERVED = 0.3
#: Targets searched at a time; bounds the memory of a search in large networks.
_CHUNK = 256


def mean_classes(trace: Trace) -> Classes:
    """Return the mean demand of a trace by class, in shares that sum to 1.

    A commodity's share is its weight. Its mix of minimum fidelities is that of all pairs in the
    trace, because the few requests of one commodity would mostly tell the luck of the draw.
    Without requests there are no classes.
    """
    commodities = trace.commodities.reshape(-1, 2)
    asked, which = np.unique(trace.minimum_fidelity, return_inverse=True)
    mix = np.zeros(len(asked))
    np.add.at(mix, which.ravel(), trace.pairs)
    mix /= max(1.0, mix.sum())
    share: Floats = np.outer(trace.weights, mix).ravel()
    return Classes(
        commodities=commodities,
        commodity=np.repeat(np.arange(len(commodities)), len(asked)),
        minimum_fidelity=np.tile(asked, len(commodities)),
        pairs=share,
    )


def knee(network: Network, trace: Trace, *, max_rounds: int = 0, gap: float = GAP) -> float:
    """Return the load in pairs/s at which the bound falls to 95 % of the reachable demand.

    Mean rates throughout; reachable are the classes with an admissible path. The bound is a concave
    function of the load, so Newton's method from above, with the slope that the duals give, comes
    to the knee in a few steps and never below it. Raises :class:`InputError` where nothing is
    reachable, because then there is no knee.
    """
    problem = _problem(network, mean_classes(trace), max_rounds)
    share = problem.classes.pairs
    reach = float(share[problem.reachable].sum())
    if reach <= 0.0:
        raise InputError(f"no request of this demand is reachable in {network.name}: no knee")
    none = np.zeros(1)
    return largest_scale(
        problem,
        Groups(
            group=np.zeros(len(share), dtype=np.int64),
            base=np.zeros(len(share)),
            ramp=share,
            need=np.array([KNEE * reach]),
            floor=none,
        ),
        generation=network.generation_hz,
        swaps=network.swap_hz,
        gap=gap,
    ).bound


def link_shares(network: Network, trace: Trace, load_hz: float, *, max_rounds: int = 0) -> Floats:
    """Return the pairs of each link used per pair delivered of each commodity, shape (K, m).

    From the flows of the bound at the mean rates of ``load_hz`` pairs/s over all commodities; at
    1.5 times the knee they spread best (far below it the linear program has many solutions and
    picks narrow ones). A commodity without flow gets 0.3 on the links of its cheapest path that
    meets the strictest fidelity any can, and zeros if there is none. A distilled pair counts as the
    pairs that it was made of.
    """
    return shares_by_grade(network, trace, load_hz, max_rounds=max_rounds)[0]


def shares_by_grade(
    network: Network, trace: Trace, load_hz: float, *, max_rounds: int = 0
) -> tuple[Floats, Floats]:
    """Return :func:`link_shares` and how many distilled pairs there are in it, both (K, m)."""
    if not 0.0 < load_hz < np.inf:
        raise InputError(f"load_hz must be > 0 pairs/s, got {load_hz}")
    classes = mean_classes(trace)
    problem = _problem(network, classes, max_rounds)
    bound = _at(problem, load_hz, None)
    shares = np.zeros((len(classes.commodities), len(network.links)))
    refined = np.zeros_like(shares)
    delivered = np.zeros(len(classes.commodities))
    np.add.at(delivered, classes.commodity, bound.delivered)
    served = delivered > 1e-6 * load_hz * trace.weights
    for flow in bound.paths:
        if served[flow.commodity]:
            part, links = flow.pairs / delivered[flow.commodity], list(flow.links)
            np.add.at(shares[flow.commodity], links, part * np.exp2(flow.rounds))
            np.add.at(refined[flow.commodity], links, part * (np.array(flow.rounds) > 0))
    graph = problem.graph
    priced = _cheapest_paths(problem)
    # Classes come in rising fidelity: the strictest one that has a path is written last.
    for number in np.flatnonzero(np.isfinite(priced.cost) & ~served[classes.commodity]):
        way = priced.path(int(number))
        for row, used in (
            (shares[classes.commodity[number]], np.full(len(way), _UNSERVED)),
            (refined[classes.commodity[number]], _UNSERVED * (graph.rounds[way] > 0)),
        ):
            row[:] = 0.0
            row[graph.link[way]] = used
    return shares, refined


def shortest_paths(
    scenario: Scenario, commodity: Ints, fidelity: Floats, *, max_rounds: int = 0
) -> tuple[Ints, Ints]:
    """Return links and swap nodes (C, H) of the shortest feasible path of each class, -1 padded.

    ``commodity`` (C,) and ``fidelity`` (C,) name the classes. Shortest is fewest hops, then highest
    fidelity of fresh links, then lowest node numbers from the source on. A class that cannot be
    met has an empty row. With ``max_rounds`` a class that needs it gets a path of links distilled
    as seldom as possible.
    """
    network = scenario.network
    ends = scenario.trace.commodities.reshape(-1, 2)[commodity]
    fresh = np.abs(correlators(network.populations))
    found: list[tuple[Ints, Ints]] = [(np.zeros(0, np.int64),) * 2] * len(commodity)
    left = np.arange(len(commodity))
    for rounds in range(max_rounds + 1):
        quality = distilled(fresh, rounds)[0]
        for part in _chunks(ends[left, 1]):
            numbers = left[part]
            graph = _graph(network, ends[numbers, 1], quality)
            priced = _fewest_hops(network, graph, ends[numbers], fidelity[numbers])
            for index in np.flatnonzero(np.isfinite(priced.cost)):
                way = priced.path(int(index))
                found[numbers[index]] = (graph.link[way], graph.to[way[:-1]])
        left = np.array([c for c in left if not len(found[c][0])], dtype=np.int64)
    return _padded([links for links, _ in found]), _padded([nodes for _, nodes in found])


def _problem(network: Network, classes: Classes, max_rounds: int) -> Problem:
    return prepare(
        network,
        classes,
        generates=network.generation_hz > 0,
        swaps=network.swap_hz > 0,
        max_rounds=max_rounds,
    )


def _at(problem: Problem, load_hz: float, known: Bound | None) -> Bound:
    """Solve the mean rates of a load, starting from the paths already known."""
    network = problem.network
    return solve(
        problem,
        problem.classes.pairs * load_hz,
        generation=network.generation_hz,
        swaps=network.swap_hz,
        columns=None if known is None else known.columns,
    )


def _cheapest_paths(problem: Problem) -> Priced:
    """Find a path for each class that shuns nodes with few tokens."""
    network, classes = problem.network, problem.classes
    ends = classes.commodities[classes.commodity]
    made_hz = network.generation_hz[network.links].sum(axis=1)
    swaps = 1.0 / np.maximum(network.swap_hz, 0.05)
    return cheapest(
        problem.graph,
        source=ends[:, 0],
        target=ends[:, 1],
        minimum_fidelity=classes.minimum_fidelity,
        link_cost=1.0 + 0.5 / np.maximum(made_hz, 0.1),
        node_cost=np.where(problem.relay, swaps, np.inf),
        budget=np.full(len(ends), np.inf),
        hasty=bool(problem.graph.rounds.any()),
    )


def _graph(network: Network, targets: Ints, quality: Floats) -> Arcs:
    makes = network.generation_hz > 0
    return arcs(
        network,
        targets,
        usable=makes[network.links[:, 0]] | makes[network.links[:, 1]],
        relay=network.swap_hz > 0,
        quality=quality,
    )


def _fewest_hops(network: Network, graph: Arcs, ends: Ints, fidelity: Floats) -> Priced:
    """Find the hops needed first; only paths of that length are then compared."""
    links, nodes = np.ones(len(network.links)), np.where(network.swap_hz > 0, 0.0, np.inf)
    budget = np.full(len(ends), np.inf)
    priced = Priced(budget, budget, np.zeros(0, np.int64), np.zeros(0, np.int64))
    for best_of_ties in (False, True):
        priced = cheapest(
            graph,
            source=ends[:, 0],
            target=ends[:, 1],
            minimum_fidelity=fidelity,
            link_cost=links,
            node_cost=nodes,
            budget=budget,
            best_of_ties=best_of_ties,
        )
        budget = np.where(np.isfinite(priced.cost), priced.cost + 0.5, 0.0)
    return priced


def _chunks(targets: Ints) -> list[Ints]:
    """Split positions so that each part has few different targets."""
    order = np.argsort(targets, kind="stable")
    _, rank = np.unique(targets[order], return_inverse=True)
    cuts = np.flatnonzero(np.diff(rank.ravel() // _CHUNK)) + 1
    return [part for part in np.split(order, cuts) if len(part)]


def _padded(rows: list[Ints]) -> Ints:
    width = max([1, *(len(row) for row in rows)])
    out = np.full((len(rows), width), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return out

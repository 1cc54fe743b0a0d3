"""Pricing for the upper bound: the cheapest path whose fresh links can still meet a fidelity.

The bound is a linear program over paths, far too many to list. Column generation asks again and
again: given a price for every link and every swap, which admissible path is the cheapest? A wrong
"there is none" would turn the upper bound into a guess, so the answer here is exact.

A path is admissible when ``F = (1 + prod |c_xx| + prod |c_yy| + prod |c_zz|) / 4`` over its links
(and the loss of every swap) reaches the minimum fidelity. The search is label setting for the
resource-constrained shortest path (Desrosiers et al., 1995): a label at a node is dropped only
when another one there costs no more *and* has all three products at least as large. Prices are
>= 0 and factors are <= 1, so every continuation of the dropped label is matched by one of the
kept label, and no cycle can pay. Two bounds to the target, the least cost and the largest product
of each correlator on its own, prune the rest without losing anything.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum import werner
from quantum.bell import correlators
from quantum.kernels import kernel
from quantum.network import Network

__all__ = ["FIDELITY_SLACK", "Arcs", "Priced", "arcs", "cheapest", "distilled"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: A path this little below the fidelity asked still counts: rounding may only raise the bound.
FIDELITY_SLACK = 1e-9

#: Products that differ by less than this (relative) are equal to the dominance test, so that
#: the order of multiplication does not matter. Far inside the slack above for any path length.
_EQUAL = 1e-13


@dataclass(frozen=True, eq=False)
class Arcs:
    """The ways to cross a link in one direction, grouped by the node they leave.

    ``first`` (n+1,) marks the groups; per arc, neighbours in rising order: ``to`` node, ``link``,
    ``rounds`` of distillation (2^rounds pairs of the link are spent) and ``quality`` (A, 3), the
    absolute correlators of what comes out. ``swap`` (3,) is what one swap leaves of each of them.
    ``to_go`` (T, n, 3) is the largest product from a node, its own swap included, to the targets
    (T,); ``row`` (n,) finds a target there, -1 for nodes that are none.
    """

    first: Ints
    to: Ints
    link: Ints
    rounds: Ints
    quality: Floats
    swap: Floats
    targets: Ints
    row: Ints
    to_go: Floats


@dataclass(frozen=True, eq=False)
class Priced:
    """One path for each of C questions: ``cost`` (C,), infinite where there is none.

    ``fidelity`` (C,) of fresh links; the arcs of path ``i`` are
    ``arc[start[i]:start[i + 1]]``.
    """

    cost: Floats
    fidelity: Floats
    start: Ints
    arc: Ints

    def path(self, question: int) -> Ints:
        """Return the arcs of one path, from its source to its target."""
        return self.arc[self.start[question] : self.start[question + 1]]


def distilled(quality: Floats, rounds: int) -> list[Floats]:
    """Return absolute correlators (m, 3) after distillation of equal pairs, one per protocol.

    Perfect gates and certain success, so that a real distillation never does better.

    >>> distilled(np.full((1, 3), 0.8), 1)[0].round(4).tolist()
    [[0.7805, 0.7805, 0.9756]]
    """
    dejmps, bbpssw = quality, quality
    for _ in range(rounds):
        dejmps = np.clip(werner.dejmps(dejmps, dejmps)[0], 0.0, 1.0)
        bbpssw = np.clip(werner.bbpssw(bbpssw, bbpssw)[0], 0.0, 1.0)
    return [dejmps] if np.all(dejmps >= bbpssw - 1e-15) else [dejmps, bbpssw]


def arcs(
    network: Network,
    targets: Ints,
    *,
    usable: Bools,
    relay: Bools,
    max_rounds: int = 0,
    quality: Floats | None = None,
) -> Arcs:
    """Build the graph to search for paths to ``targets`` (T,) over ``usable`` (m,) links.

    ``relay`` (n,) tells which nodes can swap. ``quality`` (m, 3) overrides the correlators of fresh
    links, for instance by their best values where links drift. Each link may be crossed after 0 to
    ``max_rounds`` rounds, chosen link by link: that includes equal rounds on all links of a path.
    """
    fresh = correlators(network.populations) if quality is None else quality
    fresh = np.clip(np.abs(fresh), 0.0, 1.0)
    found = []
    links = np.flatnonzero(usable)
    for rounds in range(max_rounds + 1):
        for out in distilled(fresh, rounds):
            for tail, head in ((0, 1), (1, 0)):
                ends = network.links[links]
                found.append((ends[:, tail], ends[:, head], links, rounds, out[links]))
    leave, to, link = (np.concatenate([part[i] for part in found]) for i in range(3))
    spent = np.concatenate([np.full(len(part[2]), part[3], dtype=np.int64) for part in found])
    good = np.concatenate([part[4] for part in found]).reshape(-1, 3)
    order = np.lexsort((spent, to, leave))
    n = len(network.nodes)
    first = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(leave, minlength=n), out=first[1:])
    targets = np.unique(targets).astype(np.int64)
    row = np.full(n, -1, dtype=np.int64)
    row[targets] = np.arange(len(targets))
    swap = np.abs(werner.swap_factors(network.gates))
    # Werner links and ideal swaps: one product stands for all three.
    alike = bool(np.all(good == good[:, :1]) and np.all(swap == swap[0]))
    to, good = to[order], np.ascontiguousarray(good[order])
    return Arcs(
        first=first,
        to=to,
        link=link[order],
        rounds=spent[order],
        quality=good,
        swap=swap,
        targets=targets,
        row=row,
        to_go=_products_to_go(targets, first, to, good, swap, relay, 1 if alike else 3),
    )


def cheapest(
    graph: Arcs,
    *,
    source: Ints,
    target: Ints,
    minimum_fidelity: Floats,
    link_cost: Floats,
    node_cost: Floats,
    budget: Floats,
    best_of_ties: bool = False,
    hasty: bool = False,
) -> Priced:
    """Find the cheapest admissible path of each of C questions, exactly unless ``hasty``.

    ``link_cost`` (m,) >= 0 is paid 2^rounds times, ``node_cost`` (n,) >= 0 for every node between
    the ends (infinite: it cannot swap). A path is given only if it costs less than ``budget`` (C,).
    With ``best_of_ties`` the cheapest path of highest fidelity is given, and among those the one
    with the lowest node numbers; this order holds for integer costs. A ``hasty`` search compares
    labels by the sum of their products: what it finds is admissible, but may not be the cheapest,
    and finding nothing proves nothing.
    """
    cost = link_cost[graph.link] * np.exp2(graph.rounds)
    left = _costs_to_go(graph.targets, graph.first, graph.to, cost, node_cost)
    floor = 4.0 * (minimum_fidelity - FIDELITY_SLACK) - 1.0
    price, total, start, found = _search(
        source,
        target,
        floor,
        budget,
        graph.first,
        graph.to,
        cost,
        graph.quality,
        node_cost,
        graph.swap,
        graph.row,
        left,
        graph.to_go,
        best_of_ties,
        hasty,
    )
    return Priced(cost=price, fidelity=(1.0 + total) / 4.0, start=start, arc=found)


@kernel
def _products_to_go(targets, first, to, quality, swap, relay, axes):  # type: ignore[no-untyped-def]
    """Largest product of each correlator from every node to each target (T, n, 3)."""
    n = len(first) - 1
    best = np.zeros((len(targets), n, 3))
    for t in range(len(targets)):
        best[t, targets[t]] = 1.0
        changed = True
        while changed:
            changed = False
            for v in range(n):
                if v == targets[t] or not relay[v]:
                    continue
                for a in range(first[v], first[v + 1]):
                    for axis in range(axes):
                        x = swap[axis] * quality[a, axis] * best[t, to[a], axis]
                        if x > best[t, v, axis]:
                            best[t, v, axis] = x
                            changed = True
        for axis in range(axes, 3):
            best[t, :, axis] = best[t, :, 0]
    return best


@kernel
def _costs_to_go(targets, first, to, cost, node_cost):  # type: ignore[no-untyped-def]
    """Least cost from every node, its own swap included, to each target (T, n)."""
    n = len(first) - 1
    least = np.full((len(targets), n), np.inf)
    for t in range(len(targets)):
        least[t, targets[t]] = 0.0
        changed = True
        while changed:
            changed = False
            for v in range(n):
                if v == targets[t]:
                    continue
                for a in range(first[v], first[v + 1]):
                    x = node_cost[v] + cost[a] + least[t, to[a]]
                    if x < least[t, v]:
                        least[t, v] = x
                        changed = True
    return least


@kernel
def _dominated(latest, previous, xx, yy, zz, x, y, z, hasty):  # type: ignore[no-untyped-def]
    """Tell whether a settled label of the node has all three products at least as large."""
    keep = 1.0 - _EQUAL
    label = latest
    while label >= 0:
        if hasty:
            if xx[label] + yy[label] + zz[label] >= (x + y + z) * keep:
                return True
        elif xx[label] >= x * keep and yy[label] >= y * keep and zz[label] >= z * keep:
            return True
        label = previous[label]
    return False


@kernel
def _search(  # type: ignore[no-untyped-def]
    source,
    target,
    floor,
    budget,
    first,
    to,
    cost,
    quality,
    node_cost,
    swap,
    row,
    left,
    to_go,
    best_of_ties,
    hasty,
):
    """Answer all questions one after the other; see :func:`cheapest`."""
    questions = len(source)
    n = len(first) - 1
    price = np.full(questions, np.inf)
    total = np.full(questions, -1.0)
    start = np.zeros(questions + 1, dtype=np.int64)
    found = [np.int64(0) for _ in range(0)]
    for q in range(questions):
        s, t = source[q], target[q]
        r = row[t]
        latest = np.full(n, -1, dtype=np.int64)
        at, came, parent = [s], [np.int64(-1)], [np.int64(-1)]
        paid, previous = [0.0], [np.int64(-1)]
        xx, yy, zz = [1.0], [1.0], [1.0]
        heap = [(0.0, 0.0, np.int64(0))]
        winner = np.int64(-1)
        while len(heap) > 0:
            key, _, label = heapq.heappop(heap)
            if winner >= 0 and (not best_of_ties or key > price[q] + 1e-9):
                break
            v = at[label]
            x, y, z = xx[label], yy[label], zz[label]
            if _dominated(latest[v], previous, xx, yy, zz, x, y, z, hasty):
                continue
            previous[label] = latest[v]
            latest[v] = label
            if v == t:
                if winner < 0 or x + y + z > total[q] + 1e-12:
                    winner = label
                    total[q] = x + y + z
                    price[q] = paid[label]
                continue
            here = paid[label]
            if v != s:
                here += node_cost[v]
                x, y, z = x * swap[0], y * swap[1], z * swap[2]
            if not here < budget[q]:
                continue
            for a in range(first[v], first[v + 1]):
                u = to[a]
                g = here + cost[a]
                if u == s or not g + left[r, u] < budget[q]:
                    continue
                nx, ny, nz = x * quality[a, 0], y * quality[a, 1], z * quality[a, 2]
                reach = nx * to_go[r, u, 0] + ny * to_go[r, u, 1] + nz * to_go[r, u, 2]
                if reach < floor[q]:
                    continue
                if _dominated(latest[u], previous, xx, yy, zz, nx, ny, nz, hasty):
                    continue
                new = np.int64(len(at))
                at.append(u)
                came.append(np.int64(a))
                parent.append(label)
                paid.append(g)
                previous.append(np.int64(-1))
                xx.append(nx)
                yy.append(ny)
                zz.append(nz)
                if best_of_ties:
                    # Plain cost and first come, first served: labels leave in the order of their
                    # node numbers.
                    heapq.heappush(heap, (g, 0.0, new))
                else:
                    # Among equal costs the most promising fidelity first: zero prices are common.
                    heapq.heappush(heap, (g + left[r, u], -reach, new))
        label = winner
        begin = len(found)
        while label >= 0 and came[label] >= 0:
            found.append(came[label])
            label = parent[label]
        path = found[begin:]
        for i in range(len(path)):
            found[begin + i] = path[len(path) - 1 - i]
        start[q + 1] = len(found)
    return price, total, start, np.array(found, dtype=np.int64)

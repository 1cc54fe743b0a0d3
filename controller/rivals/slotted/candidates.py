"""Candidate paths found before the run: Yen's algorithm, as a kernel.

J. Y. Yen, Management Science 17, 712 (1971): the k-th shortest loopless path leaves one of the
earlier ones at some node and comes home without it. Q-PASS keeps such paths for every pair of
nodes (arXiv:1909.09329).
"""

import numpy as np

from controller.rivals.slotted.state import Candidates, other_end
from quantum.kernels import kernel, small
from quantum.ledger.state import MAX_HOPS, Floats, Ints, World

__all__ = ["candidates", "no_candidates", "shortest_loopless"]


def no_candidates(classes: int) -> Candidates:
    """Return the candidates of a protocol that searches online: none."""
    return Candidates(
        links=np.zeros((classes, 1, MAX_HOPS), np.int64),
        length=np.zeros((classes, 1), np.int64),
        metric=np.zeros((classes, 1)),
    )


def candidates(world: World, cost: Floats, count: int, detour: int) -> Candidates:
    """Return the ``count`` cheapest loopless paths of every class by link ``cost`` (m,).

    Paths of more links than the class may have, or between whose links nobody can swap, are none.
    """
    found = no_candidates(len(world.cls))._replace(
        links=np.full((len(world.cls), count, MAX_HOPS), -1, np.int64),
        length=np.zeros((len(world.cls), count), np.int64),
        metric=np.zeros((len(world.cls), count)),
    )
    if len(world.cls):
        _all(world, cost, detour, found)
    return found


@kernel
def _all(world: World, cost: Floats, detour: int, found: Candidates) -> None:
    for row in range(len(world.cls)):
        wish, distance = world.cls[row], world.distance[world.cls[row].row]
        most = min(wish.hops, distance[wish.a] + detour)
        shortest_loopless(
            world,
            cost,
            distance,
            wish.a,
            wish.b,
            most,
            found.links[row],
            found.length[row],
            found.metric[row],
        )


@kernel
def shortest_loopless(
    world: World,
    cost: Floats,
    distance: Ints,
    source: int,
    target: int,
    most: int,
    links: Ints,
    length: Ints,
    total: Floats,
) -> int:
    """Write the cheapest loopless paths of at most ``most`` links; returns how many there are.

    ``cost`` (m,) above zero, ``distance`` (n,) hops to the target; ``links`` (S, MAX_HOPS),
    ``length`` (S,) and ``total`` (S,) are written, cheapest first; S paths are sought.
    """
    wanted, n = len(length), world.n
    barred_node, barred_link = np.zeros(n, np.bool_), np.zeros(world.m, np.bool_)
    value, via = np.empty((MAX_HOPS + 1, n)), np.empty((MAX_HOPS + 1, n), np.int64)
    # Deviations found and not yet taken; each found path adds one for each of its links at most.
    room = 1 + wanted * MAX_HOPS
    pool, alive = np.full((room, MAX_HOPS), -1, np.int64), np.zeros(room, np.bool_)
    pool_length, pool_total = np.zeros(room, np.int64), np.zeros(room)
    filled, count, deviated = 0, 0, 0
    bars = (barred_node, barred_link)
    pool_length[0] = _cheapest(world, cost, distance, bars, source, target, most, value, via)
    if pool_length[0] > 0:
        _trace(world, via, target, pool_length[0], pool[0], 0)
        pool_total[0], alive[0], filled = value[pool_length[0], target], True, 1
    while count < wanted:
        best = -1
        for spot in range(filled):
            if alive[spot] and (best < 0 or pool_total[spot] < pool_total[best]):
                best = spot
        if best < 0:
            break
        alive[best] = False
        links[count], length[count], total[count] = pool[best], pool_length[best], pool_total[best]
        count += 1
        node, so_far = source, 0.0
        barred_node[:] = False
        for spur in range(length[count - 1]):
            barred_link[:] = False
            for earlier in range(count):
                if _same_root(links[earlier], links[count - 1], spur):
                    barred_link[links[earlier, spur]] = True
            deviated = _cheapest(world, cost, distance, bars, node, target, most - spur, value, via)
            if deviated > 0 and filled < room:
                pool[filled] = -1
                pool[filled, :spur] = links[count - 1, :spur]
                _trace(world, via, target, deviated, pool[filled], spur)
                pool_length[filled] = spur + deviated
                pool_total[filled] = so_far + value[deviated, target]
                if not _is_known(pool, filled):
                    alive[filled] = True
                    filled += 1
            barred_node[node] = True
            number = links[count - 1, spur]
            so_far += cost[number]
            node = other_end(world.link[number], node)
    return count


@kernel
def _cheapest(
    world: World,
    cost: Floats,
    distance: Ints,
    bars: tuple[Ints, Ints],
    source: int,
    target: int,
    most: int,
    value: Floats,
    via: Ints,
) -> int:
    """Search by layers of hops; returns the links of the cheapest path, 0 where there is none.

    Costs are positive, so that the cheapest walk within a number of hops has no loop.
    """
    barred_node, barred_link = bars
    value[: max(0, most) + 1] = np.inf
    value[0, source] = 0.0
    best, hops = np.inf, 0
    for hop in range(most):
        for u in range(world.n):
            so_far = value[hop, u]
            if so_far >= best or u == target or (u != source and world.node[u].swap_rate <= 0.0):
                continue
            for k in range(world.node[u].degree):
                v, number = world.inc_node[u, k], world.inc_link[u, k]
                if barred_node[v] or barred_link[number] or hop + 1 + distance[v] > most:
                    continue
                total = so_far + cost[number]
                if total < value[hop + 1, v]:
                    value[hop + 1, v], via[hop + 1, v] = total, number
                    if v == target and total < best:
                        best, hops = total, hop + 1
    return hops


@kernel
def _trace(world: World, via: Ints, target: int, hops: int, path: Ints, start: int) -> None:
    node = target
    for hop in range(hops, 0, -1):
        path[start + hop - 1] = via[hop, node]
        node = other_end(world.link[via[hop, node]], node)


@small
def _same_root(one: Ints, other: Ints, spur: int) -> bool:
    """Tell whether two paths have the same first links, and another one after them."""
    same = one[spur] >= 0
    for hop in range(spur):
        same = same and one[hop] == other[hop]
    return bool(same)


@kernel
def _is_known(pool: Ints, filled: int) -> bool:
    known = False
    for spot in range(filled):
        known = known or bool(np.all(pool[spot] == pool[filled]))
    return bool(known)

"""P2: paths are committed one after the other, the best first, and what they use is set aside."""

import numpy as np

from controller.rivals.slotted.channels import WIDTH, at_least
from controller.rivals.slotted.search import best_path, extend, mean_new
from controller.rivals.slotted.state import (
    BOTTLENECK,
    OFFLINE,
    SUM_DISTANCE,
    Candidates,
    Protocol,
    Round,
    other_end,
)
from quantum.kernels import Table, kernel
from quantum.ledger.state import Floats, World

__all__ = ["commit_paths", "commit_recoveries"]

#: Paths that expect fewer pairs than this are not worth their tokens.
_FEWEST = 0.02


@kernel
def commit_paths(world: World, state: Round, plan: Protocol, found: Candidates) -> None:
    """Commit the best path over all requests, again and again, until none is left.

    What is left to commit only shrinks, so the value of a path never grows: a value that was found
    earlier is a bound, and only the largest has to be found anew.
    """
    entries, now = state.entry, state.now[0]
    while now.paths < len(state.path):
        best, which = 0.0, -1
        for index in range(now.entries):
            if entries[index].value > best:
                best, which = entries[index].value, index
        if which < 0:
            return
        entry = entries[which]
        if entry.want <= 0.0:
            entry.value = 0.0
            continue
        if _is_fresh(world, state, entry):
            entry.want -= _reserve(world, state, plan, entry)
            entry.seen = -1
            continue
        row = world.request[entry.request].cls
        part, wide = _part(world, state, plan, entry), min(WIDTH, int(np.ceil(entry.want)))
        if plan.kind == OFFLINE:
            value, length = _best_candidate(world, state, plan, found, row, wide, part)
        else:
            a, b = world.cls[row].a, world.cls[row].b
            most = min(world.cls[row].hops, world.distance[world.cls[row].row, a] + plan.detour)
            value, length = best_path(world, state, plan, a, b, row, most, wide, part, -1)
        if length == 0 or state.tail[:wide].sum() < _FEWEST:
            value = 0.0
        entry.value, entry.seen, entry.length = value, now.paths, length
        for hop in range(length):
            entry.links[hop] = state.chain[hop]
        for index in range(WIDTH):
            entry.tail[index] = state.tail[index]


@kernel
def _part(world: World, state: Round, plan: Protocol, entry: Table) -> float:
    """Return the part of the round that is left for a request: its deadline may come first."""
    first, request = state.now[0].first, world.request[entry.request]
    last = min(first + plan.round_slots - 1, request.deadline)
    return float(last - max(first, request.arrival) + 1) / plan.round_slots


@kernel
def _is_fresh(world: World, state: Round, entry: Table) -> bool:
    """Tell whether nothing was committed at the nodes of an entry's path since it was valued."""
    if entry.seen < 0:
        return False
    for hop in range(entry.length):
        ends = world.link[entry.links[hop]]
        if max(state.node[ends.a].touched, state.node[ends.b].touched) > entry.seen:
            return False
    return True


@kernel
def _reserve(world: World, state: Round, plan: Protocol, entry: Table) -> float:
    """Commit the path of an entry, set aside what it is expected to use; returns its pairs."""
    now, nodes, links = state.now[0], state.node, state.link
    path, part = state.path[now.paths], _part(world, state, plan, entry)
    now.paths += 1
    width, expected = 0, 0.0
    for index in range(WIDTH):
        if entry.tail[index] > 0.0:
            width, expected = index + 1, expected + entry.tail[index]
    path.request, path.length, path.width, path.left = entry.request, entry.length, width, width
    v = world.cls[world.request[entry.request].cls].b
    for hop in range(entry.length):
        number = entry.links[hop]
        path.links[hop] = number
        ends = world.link[number]
        u = ends.a if ends.b == v else ends.b
        _use_link(nodes, links[number], u, v, hop < entry.length - 1, hop > 0, part, width)
        links[number].used = now.paths - 1
        nodes[v].room -= width
        nodes[u].room -= width
        nodes[u].touched = nodes[v].touched = now.paths
        if hop > 0:
            nodes[v].swaps -= width
        v = u
    return expected


@kernel
def _use_link(
    nodes: Table,
    link: Table,
    u: int,
    v: int,
    through_u: bool,
    through_v: bool,
    part: float,
    width: int,
) -> None:
    """Take ``width`` pairs of a link: those in stock, and the tokens that the others need."""
    mean = part * mean_new(nodes[u].tokens, nodes[v].tokens, through_u, through_v)
    new = 0.0
    for count in range(link.stock + 1, width + 1):
        new += at_least(link.stock, mean, count)
    link.stock -= min(link.stock, width)
    if mean > 0.0 and new > 0.0:
        share = min(1.0, new / mean)
        nodes[u].tokens *= 1.0 - share * (0.5 if through_u else 1.0) * part
        nodes[v].tokens *= 1.0 - share * (0.5 if through_v else 1.0) * part


@kernel
def _best_candidate(
    world: World, state: Round, plan: Protocol, found: Candidates, row: int, wide: int, part: float
) -> tuple[float, int]:
    """Find the candidate of class ``row`` with the best metric among those that have a width.

    The metrics are costs; 1 / (1 + cost) is returned as the value, with the number of links.
    """
    best, length, spot = np.inf, 0, 0
    before, after, keep = np.empty(WIDTH), np.empty(WIDTH), np.zeros(WIDTH)
    for number in range(found.length.shape[1]):
        hops = found.length[row, number]
        if hops == 0:
            break
        # Most candidates need no closer look.
        if _least(world, state, plan, found, row, number) >= best:
            continue
        cost = _metric(world, state, plan, found, row, number, wide, part, before, after)
        if cost < best:
            best, length, spot = cost, hops, number
            keep[:] = before
    for back in range(length):
        state.chain[back] = found.links[row, spot, length - 1 - back]
    state.tail[:] = keep
    return 1.0 / (1.0 + best), length


@kernel
def _least(
    world: World, state: Round, plan: Protocol, found: Candidates, row: int, number: int
) -> float:
    """Bound the cost of a candidate from below: no link costs less than 1 by creation rate."""
    hops, u, scarce = found.length[row, number], world.cls[row].a, 0.0
    for hop in range(hops - 1):
        u = other_end(world.link[found.links[row, number, hop]], u)
        spot = state.node[u]
        if spot.swaps < 1.0 or spot.room < 2:
            return np.inf
        scarce += 1.0 / (1.0 + spot.swaps)
    cost = found.metric[row, number] if plan.metric == SUM_DISTANCE else float(hops)
    return float(cost * (1.0 + plan.thrift * scarce))


@kernel
def _metric(
    world: World,
    state: Round,
    plan: Protocol,
    found: Candidates,
    row: int,
    number: int,
    wide: int,
    part: float,
    tail: Floats,
    spare: Floats,
) -> float:
    """Return the cost of a candidate with what is left, inf without; its tail goes to ``tail``."""
    hops, links = found.length[row, number], found.links[row, number]
    c0, c1, c2 = 1.0, 1.0, 1.0
    for index in range(WIDTH):
        tail[index] = 1.0 if index < wide else 0.0
    u, cost, scarce = world.cls[row].a, 0.0, 0.0
    for hop in range(hops):
        via = links[hop]
        v = other_end(world.link[via], u)
        link = state.link[via]
        c0, c1, c2 = c0 * link.corr[0], c1 * link.corr[1], c2 * link.corr[2]
        if hop > 0:
            c0, c1, c2 = c0 * world.swap_xyz[0], c1 * world.swap_xyz[1], c2 * world.swap_xyz[2]
            scarce += 1.0 / (1.0 + state.node[u].swaps)
        one = tail[0]
        extend(state.node, link.stock, u, v, hop > 0, hop < hops - 1, part, wide, tail, spare)
        tail[:] = spare
        if tail[0] <= 0.0:
            return np.inf
        cost += one / tail[0]
        u = v
    if c0 + c1 + c2 < 4.0 * world.cls[row].fidelity - 1.0:
        return np.inf
    width = 0
    for index in range(WIDTH):
        if tail[index] > 0.0:
            width = index + 1
    if plan.metric == SUM_DISTANCE:
        cost = found.metric[row, number]
    elif plan.metric == BOTTLENECK:
        cost += 1e3 * (wide - width)
    return cost * (1.0 + plan.thrift * scarce)


@kernel
def commit_recoveries(world: World, state: Round, plan: Protocol) -> None:
    """Commit recovery paths of width one around up to ``reach`` hops of every path."""
    now = state.now[0]
    for bridged in range(1, plan.reach + 1):
        for number in range(now.paths):
            path = state.path[number]
            _bridge(world, state, plan, number, path, bridged)


@kernel
def _bridge(
    world: World, state: Round, plan: Protocol, number: int, path: Table, bridged: int
) -> None:
    row = world.request[path.request].cls
    now, node = state.now[0], world.cls[row].b
    # Recoveries avoid the links of their own path, not those of others.
    for hop in range(path.length):
        state.link[path.links[hop]].used = number
    for first in range(path.length - bridged + 1):
        target, source = node, node
        for hop in range(first, first + bridged):
            source = other_end(world.link[path.links[hop]], source)
        node = other_end(world.link[path.links[first]], node)
        if now.recoveries == len(state.recovery):
            return
        most = min(bridged + 2, world.cls[row].hops - path.length + bridged)
        tail, length = best_path(world, state, plan, source, target, row, most, 1, 1.0, number)
        if length == 0 or tail < _FEWEST:
            continue
        recovery = state.recovery[now.recoveries]
        now.recoveries += 1
        recovery.path, recovery.first, recovery.last = number, first, first + bridged
        recovery.length = length
        v = target
        for hop in range(length):
            via = state.chain[hop]
            recovery.links[hop] = via
            u = other_end(world.link[via], v)
            link = state.link[via]
            _use_link(state.node, link, u, v, True, True, 1.0, 1)
            state.node[u].room -= 1
            state.node[v].room -= 1
            if hop > 0:
                state.node[v].swaps -= 1.0
            v = u

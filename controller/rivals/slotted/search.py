"""The path of the most expected throughput: the extended Dijkstra of Q-CAST, by layers of hops.

EXT falls with every further link, so that labels can be cut as in a search for shortest paths. A
label carries P(all links so far have i pairs or more) for i up to the width that qubits, swap
tokens and demand allow: of one path the widest form expects the most, so that one search does the
work of one for each width.
"""

import numpy as np

from controller.rivals.slotted.channels import WIDTH, at_least
from controller.rivals.slotted.state import Protocol, Round, other_end
from quantum.kernels import Table, kernel, small
from quantum.ledger.state import Floats, World

__all__ = ["best_path", "extend", "mean_new"]


@small
def mean_new(from_a: float, from_b: float, through_a: bool, through_b: bool) -> float:
    """Return the pairs that a link can expect from the tokens of its ends.

    A node that the path goes through shares its tokens between two links.
    """
    mean = 0.5 * from_a if through_a else from_a
    mean += 0.5 * from_b if through_b else from_b
    return mean


@kernel
def extend(
    nodes: Table,
    stock: int,
    u: int,
    v: int,
    through_u: bool,
    through_v: bool,
    part: float,
    wide: int,
    before: Floats,
    after: Floats,
) -> float:
    """Extend the tail of a path by a link from u to v; returns its sum, the pairs expected.

    ``part`` of the round is left. The tail is cut at what the qubits of both ends and the swap
    tokens of the nodes gone through can carry.
    """
    most = min(wide, nodes[u].room // 2 if through_u else nodes[u].room)
    most = min(most, nodes[v].room // 2 if through_v else nodes[v].room)
    if through_u:
        most = min(most, int(nodes[u].swaps))
    if through_v:
        most = min(most, int(nodes[v].swaps))
    mean = part * mean_new(nodes[u].tokens, nodes[v].tokens, through_u, through_v)
    total = 0.0
    for index in range(WIDTH):
        chance = 0.0
        if index < most and before[index] > 0.0:
            chance = before[index] * at_least(stock, mean, index + 1)
        after[index] = chance
        total += chance
    return total


@kernel
def best_path(
    world: World,
    state: Round,
    plan: Protocol,
    source: int,
    target: int,
    row: int,
    most: int,
    wide: int,
    part: float,
    avoid: int,
) -> tuple[float, int]:
    """Find the best path; its links go to ``state.chain``, destination first.

    ``row`` is the class whose fidelity (and distances, where its destination is the target) count;
    links that path ``avoid`` uses are left out, -1 for none. Returns (score, links); the tail of
    the path goes to ``state.tail``.
    """
    nodes, links, labels, frontier = state.node, state.link, state.label, state.frontier
    inc_link, inc_node, fixed = world.inc_link, world.inc_node, world.node
    distance, wish = world.distance[world.cls[row].row], world.cls[row]
    need, guided = 4.0 * wish.fidelity - 1.0, target == wish.b
    x, y, z = world.swap_xyz[0], world.swap_xyz[1], world.swap_xyz[2]
    state.now[0].search += 1
    stamp = state.now[0].search
    start = labels[0, source]
    start.stamp, start.damp, start.score = stamp, 1.0, np.inf
    for index in range(WIDTH):
        start.tail[index] = 1.0 if index < wide else 0.0
    for axis in range(3):
        start.corr[axis] = 1.0
    frontier[0, 0] = source
    tail = np.empty(WIDTH)
    best, length, size = 0.0, 0, 1
    for hop in range(most):
        here, there, reached = hop % 2, (hop + 1) % 2, 0
        for index in range(size):
            u = frontier[here, index]
            label = labels[hop, u]
            if label.score <= best or (
                nodes[u].best_stamp == stamp and label.score <= nodes[u].best
            ):
                continue
            nodes[u].best_stamp, nodes[u].best = stamp, label.score
            inner = u != source
            c0, c1, c2, damp = label.corr[0], label.corr[1], label.corr[2], label.damp
            if inner:
                c0, c1, c2 = c0 * x, c1 * y, c2 * z
                damp *= world.swap_success
                damp *= 1.0 - plan.thrift / (1.0 + nodes[u].swaps)
            for k in range(fixed[u].degree):
                v, via = inc_node[u, k], inc_link[u, k]
                if v == source or (guided and hop + 1 + distance[v] > most):
                    continue
                end = v == target
                if not end and (hop + 1 >= most or nodes[v].swaps < 1.0 or nodes[v].room < 2):
                    continue
                link = links[via]
                if avoid >= 0 and link.used == avoid:
                    continue
                d0, d1, d2 = c0 * link.corr[0], c1 * link.corr[1], c2 * link.corr[2]
                if d0 + d1 + d2 < need:
                    continue
                total = extend(
                    nodes, link.stock, u, v, inner, not end, part, wide, label.tail, tail
                )
                score = total * damp
                other = labels[hop + 1, v]
                if score <= best or (other.stamp == stamp and score <= other.score):
                    continue
                if end:
                    best, length = score, hop + 1
                elif other.stamp != stamp:
                    frontier[there, reached] = v
                    reached += 1
                other.stamp, other.score, other.damp, other.via = stamp, score, damp, via
                other.corr[0], other.corr[1], other.corr[2] = d0, d1, d2
                for i in range(WIDTH):
                    other.tail[i] = tail[i]
        size = reached
        if size == 0:
            break
    node = target
    for back in range(length):
        via = labels[length - back, node].via
        state.chain[back] = via
        node = other_end(world.link[via], node)
    for index in range(WIDTH):
        state.tail[index] = labels[length, target].tail[index] if length > 0 else 0.0
    return best, length

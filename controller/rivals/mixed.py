"""The cheapest chain of stored pairs where some are composites, and its swaps.

The search of :mod:`quantum.ledger.paths` with two kinds of steps: over a link with stock, or over
one composite, which is priced like a link and brings its swaps with it.
"""

from typing import NamedTuple

import numpy as np

from quantum.kernels import Table, lean, small, table
from quantum.ledger.acts import FAILED, hand_over, join, state_of
from quantum.ledger.places import value_now
from quantum.ledger.prices import CLOSED, STOCK, least_prices, node_price, price_link
from quantum.ledger.state import MAX_HOPS, Floats, Ints, Ledger, Rule, World

__all__ = ["Board", "find_mixed", "new_board", "serve_mixed"]


class Board(NamedTuple):
    """Scratch of the search; P places, n nodes. Nothing on it is remembered."""

    value: Floats  # (P, 3) believed correlators of composites in this slot
    valued: Ints  # (P,) slot in which they were worked out
    mark: Table  # (n,)
    label: Table  # ((H + 1) * n + 1,)
    truth: Floats  # (3,)
    product: Floats  # (2, 3)
    order: Ints  # (R + 1,) requests in the order of their service


def new_board(world: World, places: int) -> Board:
    """Return a clean board for a ledger with so many places."""
    mark = table(world.n, reached=int, label=int, expanded=int, cost=float)
    label = table(
        (MAX_HOPS + 1) * world.n + 1,
        node=int,
        via=int,  # number of a link, or -1 - place of a composite
        before=int,
        leaves=int,
        cost=float,
        c=(float, 3),
    )
    return Board(
        value=np.zeros((places, 3)),
        valued=np.full(places, -1, dtype=np.int64),
        mark=mark,
        label=label,
        truth=np.zeros(3),
        product=np.zeros((2, 3)),
        order=np.zeros(len(world.request) + 1, dtype=np.int64),
    )


@small
def _value(world: World, ledger: Ledger, board: Board, place: int) -> None:
    """See to it that the value of a composite is that of this slot."""
    if board.valued[place] != ledger.now[0].clock:
        state_of(world, ledger, place, board.truth, board.value[place])
        board.valued[place] = ledger.now[0].clock


@lean
def find_mixed(
    world: World, ledger: Ledger, rule: Rule, board: Board, row: int, ready: float
) -> int:
    """Find the cheapest chain of class ``row``; it goes to ``ledger.chain``, last step first.

    A step is a link, or -1 - place of a composite, whose price is ``ready``. Returns the number of
    steps, 0 where there is no chain.
    """
    links, nodes, pairs, labels, marks = (
        ledger.link,
        ledger.node,
        ledger.pair,
        board.label,
        board.mark,
    )
    fixed, wish, slot = world.node, world.cls[row], ledger.now[0].clock
    distance, most = world.distance[wish.row], wish.hops
    need, loss_price = 4.0 * wish.fidelity - 1.0, rule.fidelity / wish.budget
    # Most composites are two links long.
    least = 0.5 * sum(least_prices(rule, STOCK, world.bucket))
    first = ledger.now[0].search + 1
    ledger.now[0].search += MAX_HOPS + 1
    start, stop, best, found, length = 0, 1, CLOSED, -1, 0
    labels[0].node, labels[0].cost, labels[0].leaves = wish.a, 0.0, 0
    labels[0].c[:] = 1.0
    for step in range(most):
        reached = stop
        for index in range(start, stop):
            here = labels[index]
            u, cost, mark = here.node, here.cost, marks[here.node]
            if cost >= best or (mark.expanded == first and cost >= mark.cost):
                continue
            mark.expanded, mark.cost = first, cost
            c0, c1, c2 = here.c[0], here.c[1], here.c[2]
            if step > 0:
                tokens = nodes[u].swap_tokens
                if tokens < 1.0:
                    continue
                cost += node_price(tokens, fixed[u].bucket, rule.bucket, rule.inverse)
                c0 *= world.swap_xyz[0]
                c1 *= world.swap_xyz[1]
                c2 *= world.swap_xyz[2]
            degree = fixed[u].degree
            for k in range(degree + nodes[u].used):
                if k < degree:
                    via = world.inc_link[u, k]
                    v, leaves, link = world.inc_node[u, k], here.leaves + 1, links[via]
                    if link.stock == 0 or leaves + distance[v] > most:
                        continue
                    if link.priced != slot:
                        price_link(world, ledger, rule, via)
                    total = cost + link.price + loss_price * link.loss
                    k0, k1, k2 = link.corr[0], link.corr[1], link.corr[2]
                else:
                    place = ledger.held[u, k - degree]
                    pair = pairs[place]
                    if pair.link >= 0:
                        continue
                    v, via = pair.v if pair.u == u else pair.u, -1 - place
                    leaves = here.leaves + ledger.leaves[place]
                    if leaves + distance[v] > most:
                        continue
                    _value(world, ledger, board, place)
                    value = board.value[place]
                    k0, k1, k2 = value[0], value[1], value[2]
                    old = rule.age * (slot - pair.birth) / world.cutoff
                    total = cost + max(0.01, ready - old)
                    total += loss_price * -np.log(max(1e-9, (k0 + k1 + k2) / 3.0))
                if total + distance[v] * least >= best:
                    continue
                mark = marks[v]
                new = mark.reached != first + step
                if not new and total >= labels[mark.label].cost:
                    continue
                d0, d1, d2 = c0 * k0, c1 * k1, c2 * k2
                if d0 + d1 + d2 < need * ledger.reach[distance[v]]:
                    continue
                if new:
                    mark.reached, mark.label = first + step, reached
                    reached += 1
                label = labels[mark.label]
                label.node, label.cost, label.via = v, total, via
                label.before, label.leaves = index, leaves
                label.c[0], label.c[1], label.c[2] = d0, d1, d2
                if v == wish.b:
                    best, found, length = total, mark.label, step + 1
        start, stop = stop, reached
        if start == stop:
            break
    for back in range(length):
        ledger.chain[back] = labels[found].via
        found = labels[found].before
    return length


@lean
def _pick(world: World, ledger: Ledger, board: Board, row: int, length: int) -> None:
    """Turn the steps in ``ledger.chain`` into places: of every link the oldest that will do."""
    chain, links, pairs, slot = ledger.chain, ledger.link, ledger.pair, ledger.now[0].clock
    need = 4.0 * world.cls[row].fidelity - 1.0
    c, rest = board.product[0], board.product[1]
    for axis in range(3):
        c[axis] = 1.0
        for back in range(length):
            via = chain[back]
            c[axis] *= links[via].corr[axis] if via >= 0 else board.value[-1 - via, axis]
            if back > 0:
                c[axis] *= world.swap_xyz[axis]
    for back in range(length):
        if chain[back] < 0:
            chain[back] = -1 - chain[back]
            continue
        link = links[chain[back]]
        for axis in range(3):
            value = link.corr[axis]
            rest[axis] = c[axis] / value if abs(value) > 1e-300 else 0.0
        place = link.oldest
        while True:
            held, total = world.decay[slot - pairs[place].birth], 0.0
            for axis in range(3):
                c[axis] = rest[axis] * value_now(link.belief[axis], axis, held)
                total += c[axis]
            if total >= need or place == link.youngest:
                break
            place = pairs[place].younger
        chain[back] = place


@lean
def serve_mixed(
    world: World, ledger: Ledger, rule: Rule, board: Board, request: int, ready: float
) -> None:
    """Deliver to a live request as long as there is a chain for it."""
    row = world.request[request].cls
    while ledger.request[request].left > 0:
        length = find_mixed(world, ledger, rule, board, row, ready)
        if length == 0:
            return
        _pick(world, ledger, board, row, length)
        node, whole = world.cls[row].b, ledger.chain[0]
        for back in range(length):
            place = ledger.chain[back]
            pair = ledger.pair[place]
            after = pair.u if pair.v == node else pair.v
            if back > 0:
                whole = join(world, ledger, node, whole, place)
                if whole < 0:
                    break
                board.valued[whole] = -1
            node = after
        if whole >= 0:
            hand_over(world, ledger, request, whole)
        elif whole != FAILED:
            return

"""Searches from both ends: whether stored pairs join two nodes, and the cheapest path.

Both leave something out, so what they say is true of the search by layers too (see
:mod:`quantum.ledger.paths`): :func:`connects` counts links only, and :func:`meet` knows neither the
most hops nor fidelity. Where there is no path for them there is none; and the cheapest path of all
that has few enough hops and is good enough is the cheapest of those. Meeting halfway, they see a
few nodes around each end instead of most nodes of the network.
"""

from quantum.kernels import Table, fetch, lean, small
from quantum.ledger.heap import pop, push
from quantum.ledger.prices import LEFT, STOCK, least_prices, making_price, node_price, price_link
from quantum.ledger.state import MAX_HOPS, WIDE, Ints, Ledger, Rule, World

__all__ = ["TOO_LONG", "connects", "levels_of", "meet"]

#: Instead of a number of links: the cheapest path does not meet the request, another one might.
TOO_LONG = -1
_FORTH, _BACK = 0, 1


@small
def levels_of(ledger: Ledger) -> int:
    """Return the mark of the destination in ``fan.seen[:, 1]`` after :func:`connects`.

    A node k links away from it, by stored pairs and swap tokens, has this mark and k.
    """
    return int(ledger.now[0].search - MAX_HOPS)


@lean
def connects(world: World, ledger: Ledger, row: int) -> int:
    """Tell whether a chain of stored pairs with swap tokens, short enough, joins a class's ends.

    To be called after :func:`~quantum.ledger.fans.begin_spending`. 0: none
    does. Otherwise at least as many links as this lead from nodes that were not seen from
    the destination to it (see :func:`levels_of`).
    """
    fan, lead, queue, wish = ledger.fan, ledger.lead, ledger.front, world.cls[row]
    distance, most, wide = world.distance[wish.row], wish.hops, world.n >= WIDE
    if wide:
        for node in range(0, world.n, 64):
            fetch(distance, node, 0)
    # Every level of every search has its own number, so that marks never have to be cleared.
    ledger.now[0].search += MAX_HOPS + 1
    stamp = levels_of(ledger)
    ends = (wish.a, wish.b)
    for side in range(2):
        fan[ends[side]].seen[side] = stamp
        queue[side, 0].node = ends[side]
    begin_0, stop_0, begin_1, stop_1 = 0, 1, 0, 1
    forth = 0
    for hop in range(most):
        side = _FORTH if stop_0 - begin_0 <= stop_1 - begin_1 else _BACK
        begin, stop = (begin_0, stop_0) if side == _FORTH else (begin_1, stop_1)
        reached, other, goal = stop, 1 - side, ends[1 - side]
        if side == _FORTH:
            forth += 1
        level = stamp + (forth if side == _FORTH else hop + 1 - forth)
        for index in range(begin, stop):
            u = queue[side, index].node
            for k in range(fan[u].count):
                v = lead[u, k].node
                spot = fan[v]
                if spot.seen[side] >= stamp:
                    continue
                if side == _FORTH and forth + distance[v] > most:
                    continue
                if v != goal and spot.able == 0:
                    continue
                if spot.seen[other] >= stamp:
                    return hop - forth + 2 if side == _FORTH else hop - forth + 1
                spot.seen[side] = level
                queue[side, reached].node = v
                reached += 1
                if wide:
                    fetch(lead, v, 0)
        if reached == stop:
            return 0
        if side == _FORTH:
            begin_0, stop_0 = stop, reached
        else:
            begin_1, stop_1 = stop, reached
    return 0


@lean
def meet(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    slack: int,
    kind: int,
    known: float,
    last: float,
) -> int:
    """Find the cheapest path that costs less than ``known``, whatever its hops and fidelity.

    ``last`` is the least that the last swap costs. Returns the number of links, which go
    to ``ledger.chain``, last link first; 0 where there is none; :data:`TOO_LONG` where it has too
    many or is not good enough. ``ledger.now.least`` is what it costs.
    """
    if rule.fidelity < 0.0 or rule.bucket < 0.0 or rule.inverse < 0.0 or rule.rate < 0.0:
        ledger.now[0].least = known
        return TOO_LONG
    links, nodes, sides, heap = ledger.link, ledger.node, ledger.side, ledger.front
    fixed, ends, lead, wish = world.node, world.link, world.lead, world.cls[row]
    distance, back = world.distance[wish.row], wish.back
    source, target = wish.a, wish.b
    loss_price = rule.fidelity / wish.budget
    link_least, node_least = least_prices(rule, kind, world.bucket)
    least = link_least + node_least
    last -= node_least
    ledger.now[0].search += 1
    stamp, slot, wide = ledger.now[0].search, ledger.now[0].clock, world.n >= WIDE
    room = heap.shape[1]
    if wide:
        for node in range(0, world.n, 64):
            fetch(distance, node, 0)
    for side in range(2):
        end = source if side == _FORTH else target
        sides[end].seen[side], sides[end].cost[side] = stamp, 0.0
        heap[side, 0].node, heap[side, 0].cost = end, 0.0
    size_0, size_1, best, where = 1, 1, known, -1
    while size_0 > 0 and size_1 > 0:
        top_0, top_1 = heap[_FORTH, 0].cost, heap[_BACK, 0].cost
        if top_0 + top_1 >= best:
            break
        side = _FORTH if size_0 <= size_1 else _BACK
        u, cost = heap[side, 0].node, top_0 if side == _FORTH else top_1
        size = pop(heap[side], size_0 if side == _FORTH else size_1)
        if cost <= sides[u].cost[side]:
            facing = top_1 if side == _FORTH else top_0
            if side == _BACK and u != target:
                cost += node_price(nodes[u].swap_tokens, nodes[u].bucket, rule.bucket, rule.inverse)
            for k in range(fixed[u].degree):
                v = lead[u, k].node
                total = cost + link_least
                if side == _FORTH:
                    left = distance[v]
                    if left > 0 and total + (left * least + last) >= best:
                        continue
                elif back >= 0 and total + world.distance[back, v] * least >= best:
                    continue
                spot = sides[v]
                met = spot.seen[1 - side] == stamp
                reached = spot.seen[side] == stamp
                if reached and total >= spot.cost[side]:
                    continue
                if not met and total + facing >= best:
                    continue
                via = lead[u, k].link
                link = links[via]
                if kind == STOCK:
                    if link.stock == 0:
                        continue
                    if link.priced != slot:
                        price_link(world, ledger, rule, via)
                    total = cost + link.price + loss_price * link.loss
                else:
                    price = 1.0
                    if link.stock <= (link.wanted if kind == LEFT else 0.0):
                        if link.open == 0:
                            continue
                        price += making_price(rule.rate, link.made_hz)
                    total = cost + price + loss_price * link.fresh_loss
                if v != source and v != target:
                    swaps = nodes[v]
                    tokens = swaps.swap_tokens
                    if tokens + swaps.swap_rate * slack < 1.0:
                        continue
                    if side == _FORTH:
                        total += node_price(tokens, swaps.bucket, rule.bucket, rule.inverse)
                if reached and total >= spot.cost[side]:
                    continue
                if met:
                    if total + spot.cost[1 - side] < best:
                        best, where = total + spot.cost[1 - side], v
                elif total + facing >= best:
                    continue
                if size == room:
                    ledger.now[0].least = known
                    return TOO_LONG
                spot.seen[side], spot.cost[side], spot.via[side] = stamp, total, via
                size = push(heap[side], size, v, total)
                if wide:
                    fetch(lead, v, 0)
                    fetch(lead, v, 64)
        if side == _FORTH:
            size_0 = size
        else:
            size_1 = size
    ledger.now[0].least = best
    if where < 0:
        return 0
    length = _walk(ends, sides, ledger.chain, source, target, where)
    return _meets(world, ledger, rule, row, slack, kind, known, length)


@lean
def _walk(ends: Table, sides: Table, chain: Ints, source: int, target: int, where: int) -> int:
    """Write the links on both sides of the node where the searches met; 0 where too many."""
    node, count, length = where, 0, 0
    while node != target:
        via = sides[node].via[_BACK]
        node = ends[via].a if ends[via].b == node else ends[via].b
        count += 1
    node = where
    while node != source:
        via = sides[node].via[_FORTH]
        node = ends[via].a if ends[via].b == node else ends[via].b
        length += 1
    length += count
    if length > len(chain):
        return 0
    node = where
    for back in range(count - 1, -1, -1):
        chain[back] = sides[node].via[_BACK]
        node = ends[chain[back]].a if ends[chain[back]].b == node else ends[chain[back]].b
    node = where
    for back in range(count, length):
        chain[back] = sides[node].via[_FORTH]
        node = ends[chain[back]].a if ends[chain[back]].b == node else ends[chain[back]].b
    return length


@lean
def _meets(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    slack: int,
    kind: int,
    known: float,
    length: int,
) -> int:
    """Check the path in ``ledger.chain`` link by link, as a search by layers would; see meet."""
    nodes, links, ends, wish = ledger.node, ledger.link, world.link, world.cls[row]
    distance, most = world.distance[wish.row], wish.hops
    if length == 0 or length > most:
        return TOO_LONG
    need, loss_price = 4.0 * wish.fidelity - 1.0, rule.fidelity / wish.budget
    node, total, c0, c1, c2 = wish.a, 0.0, 1.0, 1.0, 1.0
    for hop in range(length):
        via = ledger.chain[length - 1 - hop]
        if hop > 0:
            total += node_price(
                nodes[node].swap_tokens, nodes[node].bucket, rule.bucket, rule.inverse
            )
            c0 *= world.swap_xyz[0]
            c1 *= world.swap_xyz[1]
            c2 *= world.swap_xyz[2]
        link = links[via]
        if kind == STOCK:
            total = total + link.price + loss_price * link.loss
            c0, c1, c2 = c0 * link.corr[0], c1 * link.corr[1], c2 * link.corr[2]
        else:
            price = 1.0
            if link.stock <= (link.wanted if kind == LEFT else 0.0):
                price += making_price(rule.rate, link.made_hz)
            total = total + price + loss_price * link.fresh_loss
            c0, c1, c2 = c0 * link.belief[0], c1 * link.belief[1], c2 * link.belief[2]
        node = ends[via].a if ends[via].b == node else ends[via].b
        left = distance[node]
        if hop + 1 + left > most or c0 + c1 + c2 < need * ledger.reach[left]:
            return TOO_LONG
    # Sums in another order may make the path that is known look cheaper than itself.
    return length if total < known else 0

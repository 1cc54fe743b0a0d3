"""The cheapest path for a request: over links with stock (to serve) or over all (to claim).

A search from both ends finds most claims (see :mod:`quantum.ledger.ends`). What it cannot answer,
and chains of stock, is searched by layers of hops (Bellman-Ford with early cuts). A label carries
the product of the correlators so far. It is cut when the path cannot meet the fidelity asked, when
the destination is too many hops away, when even the cheapest way on costs as much as a path that is
known, or when a cheaper label with fewer hops is there. The last cut may hide a dearer path of
better fidelity, so loss of fidelity is part of the price, in units of what the request can afford.
"""

from quantum.kernels import fetch, lean
from quantum.ledger.ends import TOO_LONG, connects, levels_of, meet
from quantum.ledger.fans import begin_spending, opens
from quantum.ledger.prices import (
    AS_PRICED,
    CLAIMS,
    CLOSED,
    LEFT,
    STOCK,
    least_prices,
    least_stored,
    making_price,
    node_price,
    price_link,
)
from quantum.ledger.state import MAX_HOPS, WIDE, Ints, Ledger, Rule, World

__all__ = [
    "cheapest_path",
    "find_path",
    "find_stored",
    "is_usable",
    "path_cost",
    "search_layers",
]

#: Instead of a number of links: two paths cost the same, and sharp bounds may take the other one.
TIED = -2
#: What guesses allow a path to cost, over the cheapest of any length and fidelity.
_GUESS = 1.15
#: Sharp bounds leave room for sums that were rounded in another order.
_ROUNDED = 1.0 - 1e-12


@lean
def cheapest_path(world: World, ledger: Ledger, rule: Rule, row: int, slack: int) -> int:
    """Find the cheapest path of class ``row`` by the prices that stand on links and nodes.

    Its links go to ``ledger.chain``, last link first. Returns the number of links, 0 where there
    is no path. A node can swap if it has a token or will have one within ``slack`` slots.
    """
    return int(find_path(world, ledger, rule, row, slack, AS_PRICED, CLOSED))


@lean
def find_path(
    world: World, ledger: Ledger, rule: Rule, row: int, slack: int, kind: int, known: float
) -> int:
    """Find the cheapest path of class ``row`` that costs less than ``known``, as above.

    ``kind`` says which prices count. Those of claims and of stock are worked out for the links and
    nodes that the search meets; for claims a search from both ends goes before the one by layers.
    """
    if kind == STOCK:
        since = begin_spending(world, ledger)
        return int(find_stored(world, ledger, rule, row, known, since))
    last = 0.0
    if kind != AS_PRICED:
        last = _last_swap(world, ledger, rule, row, slack, kind)
        if last >= CLOSED and world.distance[world.cls[row].row, world.cls[row].a] > 1:
            return 0
        length = meet(world, ledger, rule, row, slack, kind, known, last)
        if length != TOO_LONG:
            return int(length)
        guess = _GUESS * ledger.now[0].least
        if guess < known:
            length = _layers(world, ledger, rule, row, slack, kind, guess, last, True, 0, 0)
            if length > 0:
                return int(length)
    return int(search_layers(world, ledger, rule, row, slack, kind, known, last))


@lean
def find_stored(
    world: World, ledger: Ledger, rule: Rule, row: int, known: float, since: int
) -> int:
    """Find the cheapest chain of stored pairs of class ``row`` that costs less than ``known``.

    ``since`` is the number of :func:`~quantum.ledger.ends.begin_spending`: a class whose ends
    nothing has joined since then is not searched again.
    """
    wish, tried = world.cls[row], ledger.vain[row]
    vain = ledger.vain[wish.first]
    if vain.search >= since and wish.hops <= vain.hops:
        return 0
    # Whatever is spent frees a place.
    if tried.tried >= since and tried.free == ledger.now[0].free:
        return 0
    if not opens(ledger, wish.a, wish.b):
        vain.search, vain.hops = ledger.now[0].search, MAX_HOPS
        return 0
    last = _last_swap(world, ledger, rule, row, 0, STOCK)
    if last >= CLOSED and world.distance[wish.row, wish.a] > 1:
        vain.search, vain.hops = ledger.now[0].search, MAX_HOPS
        return 0
    # Most chains that are there are not good enough: the layers see that sooner than a search from
    # both ends for the cheapest.
    beyond, levels = connects(world, ledger, row), levels_of(ledger)
    if beyond == 0:
        vain.search, vain.hops = ledger.now[0].search, wish.hops
        return 0
    length = _layers(world, ledger, rule, row, 0, STOCK, known, last, True, beyond, levels)
    if length == TIED:
        length = _layers(world, ledger, rule, row, 0, STOCK, known, last, False, beyond, levels)
    if length == 0 and known >= CLOSED:
        tried.tried, tried.free = ledger.now[0].search, ledger.now[0].free
    return int(length)


@lean
def search_layers(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    slack: int,
    kind: int,
    known: float,
    last: float,
) -> int:
    """Find the cheapest path by layers; ``last`` is the least that the last swap costs, if any."""
    return int(_layers(world, ledger, rule, row, slack, kind, known, last, False, 0, 0))


@lean
def _layers(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    slack: int,
    kind: int,
    known: float,
    last: float,
    sharp: bool,
    beyond: int,
    levels: int,
) -> int:
    """Do as :func:`search_layers`; what bounds may say decides which of two equal paths is found.

    ``sharp``: as much as is true, and :data:`TIED` where equal sums were met. Otherwise, the first
    path wins. ``beyond`` and ``levels``, if not 0, are what :func:`~quantum.ledger.ends.connects`
    and :func:`~quantum.ledger.ends.levels_of` said.
    """
    # All by themselves: reading tables through the tuples again and again is slower.
    links, nodes, labels, marks = ledger.link, ledger.node, ledger.label, ledger.fan
    fixed, lead, wide = world.node, world.lead, world.n >= WIDE
    if beyond > 0:
        lead = ledger.lead
    wish, slot = world.cls[row], ledger.now[0].clock
    distance, source, target, most = world.distance[wish.row], wish.a, wish.b, wish.hops
    need, loss_price = 4.0 * wish.fidelity - 1.0, rule.fidelity / wish.budget
    x, y, z = world.swap_xyz[0], world.swap_xyz[1], world.swap_xyz[2]
    claims = kind in (CLAIMS, LEFT)
    link_least, node_least = least_prices(rule, kind, world.bucket)
    # What it costs more than any swap; the source may need none.
    last -= node_least
    if sharp:
        link_least = _ROUNDED * (least_stored(rule) if kind == STOCK else link_least)
        node_least, last = _ROUNDED * node_least, _ROUNDED * last
    least = link_least + node_least
    # Only pairs as they were made are bounded so; distilled ones come with prices of their own.
    reach = ledger.reach
    # Every layer of every search has its own number, so that marks never have to be cleared.
    first = ledger.now[0].search + 1
    ledger.now[0].search += MAX_HOPS + 1
    labels[0].node, labels[0].cost = source, 0.0
    labels[0].c0, labels[0].c1, labels[0].c2 = 1.0, 1.0, 1.0
    best, found, length, start, stop = known, -1, 0, 0, 1
    for hop in range(most):
        reached = stop
        for index in range(start, stop):
            u, cost = labels[index].node, labels[index].cost
            mark = marks[u]
            if cost >= best or (mark.expanded == first and cost >= mark.cost):
                continue
            mark.expanded, mark.cost = first, cost
            if wide and index + 1 < stop:
                after = labels[index + 1].node
                for k in range(marks[after].count if beyond > 0 else fixed[after].degree):
                    for byte in range(0, 192, 64):
                        fetch(links, lead[after, k].link, byte)
            c0, c1, c2 = labels[index].c0, labels[index].c1, labels[index].c2
            if hop > 0:
                spot = nodes[u]
                if spot.swap_tokens + spot.swap_rate * slack < 1.0:
                    continue
                if kind == AS_PRICED:
                    cost += spot.price
                else:
                    cost += node_price(spot.swap_tokens, spot.bucket, rule.bucket, rule.inverse)
                c0, c1, c2 = c0 * x, c1 * y, c2 * z
            for k in range(mark.count if beyond > 0 else fixed[u].degree):
                v = lead[u, k].node
                mark = marks[v]
                left = distance[v]
                far = left
                if beyond > 0:
                    far = mark.seen[1] - levels
                    if far < 0:
                        far = max(left, beyond)
                if hop + 1 + far > most:
                    continue
                ahead = (far if sharp else left) * least + last if left > 0 else 0.0
                if cost + link_least + ahead >= best:
                    continue
                via = lead[u, k].link
                link = links[via]
                if claims:
                    price, loss = 1.0, link.fresh_loss
                    if link.stock <= (link.wanted if kind == LEFT else 0.0):
                        if link.open == 0:
                            continue
                        price += making_price(rule.rate, link.made_hz)
                else:
                    if kind == STOCK and link.priced != slot:
                        price_link(world, ledger, rule, via)
                    price, loss = link.price, link.loss
                total = cost + price + loss_price * loss
                if total + ahead >= best:
                    if sharp and total == best and total < CLOSED:
                        return TIED
                    continue
                new = mark.reached != first + hop
                if not new and total >= labels[mark.label].cost:
                    if sharp and total == labels[mark.label].cost:
                        return TIED
                    continue
                if claims:
                    d0, d1, d2 = c0 * link.belief[0], c1 * link.belief[1], c2 * link.belief[2]
                else:
                    d0, d1, d2 = c0 * link.corr[0], c1 * link.corr[1], c2 * link.corr[2]
                if d0 + d1 + d2 < (need if kind == AS_PRICED else need * reach[left]):
                    continue
                if new:
                    mark.reached, mark.label = first + hop, reached
                    reached += 1
                    if wide:
                        fetch(nodes, v, 0)
                        fetch(lead, v, 0)
                label = labels[mark.label]
                label.node, label.cost, label.via, label.before = v, total, via, index
                label.c0, label.c1, label.c2 = d0, d1, d2
                if v == target:
                    best, found, length = total, mark.label, hop + 1
        start, stop = stop, reached
        if start == stop:
            break
    if found < 0:
        return 0
    for back in range(length):
        ledger.chain[back] = labels[found].via
        found = labels[found].before
    return length


@lean
def _last_swap(world: World, ledger: Ledger, rule: Rule, row: int, slack: int, kind: int) -> float:
    """Return the least price of a swap next to the destination, :data:`CLOSED` where none can."""
    nodes, target = ledger.node, world.cls[row].b
    stored, found = kind == STOCK, CLOSED
    lead = ledger.lead if stored else world.lead
    for k in range(ledger.fan[target].count if stored else world.node[target].degree):
        node = nodes[lead[target, k].node]
        tokens = node.swap_tokens
        if tokens + node.swap_rate * slack >= 1.0:
            price = node_price(tokens, node.bucket, rule.bucket, rule.inverse)
            found = min(found, price)
    return found


@lean
def is_usable(world: World, ledger: Ledger, row: int, slack: int, path: Ints, length: int) -> bool:
    """Tell whether a claimed path can still be used: whether :func:`path_cost` is not closed."""
    nodes, ends, node = ledger.node, world.link, world.cls[row].a
    for back in range(length - 1, -1, -1):
        via = path[back]
        if back < length - 1 and nodes[node].swap_tokens + nodes[node].swap_rate * slack < 1.0:
            return False
        if ledger.link[via].stock == 0 and ledger.link[via].open == 0:
            return False
        node = ends[via].a if ends[via].b == node else ends[via].b
    return True


@lean
def path_cost(
    world: World, ledger: Ledger, rule: Rule, row: int, slack: int, path: Ints, length: int
) -> float:
    """Return what a path costs now by the prices of claims, :data:`CLOSED` where it cannot be used.

    ``path`` holds its links, last first, as a search for claims would have found them.
    """
    nodes, ends, wish = ledger.node, world.link, world.cls[row]
    loss_price, node, total = rule.fidelity / wish.budget, wish.a, 0.0
    for back in range(length - 1, -1, -1):
        if node != wish.a:
            spot = nodes[node]
            if spot.swap_tokens + spot.swap_rate * slack < 1.0:
                return CLOSED
            total += node_price(spot.swap_tokens, spot.bucket, rule.bucket, rule.inverse)
        via = path[back]
        link, price = ledger.link[via], 1.0
        if link.stock == 0:
            if link.open == 0:
                return CLOSED
            price += making_price(rule.rate, link.made_hz)
        total = total + price + loss_price * link.fresh_loss
        node = ends[via].a if ends[via].b == node else ends[via].b
    return total

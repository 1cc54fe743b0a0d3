"""The cheapest path for a request: over links with stock (to serve) or over all (to claim).

A search by layers of hops (Bellman-Ford with early cuts) over the prices that the caller has put
on links and nodes. A label carries the product of the correlators so far. It is cut when the path
cannot meet the fidelity asked, when the destination is too many hops away, or when a cheaper label
with fewer hops is there. The last cut may hide a dearer path of better fidelity, so loss of
fidelity is part of the price, in units of what the request can afford.
"""

from quantum.kernels import kernel
from quantum.ledger.prices import CLOSED
from quantum.ledger.state import Ledger, Rule, World

__all__ = ["cheapest_path", "claim_path"]


@kernel
def cheapest_path(world: World, ledger: Ledger, rule: Rule, row: int, slack: int) -> int:
    """Find the cheapest path of class ``row``; its links go to ``ledger.chain``, last link first.

    Returns the number of links, 0 where there is no path. A node can swap if it has a token or
    will have one within ``slack`` slots.
    """
    # Tables by themselves: reading them through the tuples would count references in the loops.
    links, nodes, labels, frontier = ledger.link, ledger.node, ledger.label, ledger.frontier
    fixed, inc_link, inc_node = world.node, world.inc_link, world.inc_node
    distance, wish = world.distance[world.cls[row].row], world.cls[row]
    source, target, most = wish.a, wish.b, wish.hops
    need, loss_price = 4.0 * wish.fidelity - 1.0, rule.fidelity / wish.budget
    x, y, z = world.swap_xyz[0], world.swap_xyz[1], world.swap_xyz[2]
    ledger.now[0].search += 1
    stamp = ledger.now[0].search
    labels[0, source].stamp, labels[0, source].cost = stamp, 0.0
    frontier[0, 0] = source
    best, length, size = CLOSED, 0, 1
    for hop in range(most):
        here, there, reached = hop % 2, (hop + 1) % 2, 0
        for index in range(size):
            u = frontier[here, index]
            spot = nodes[u]
            cost = labels[hop, u].cost
            if cost >= best or (spot.best_stamp == stamp and cost >= spot.best_cost):
                continue
            spot.best_stamp, spot.best_cost = stamp, cost
            c0, c1, c2 = 1.0, 1.0, 1.0
            if u != source:
                if spot.swap_tokens + fixed[u].swap_rate * slack < 1.0:
                    continue
                cost += spot.price
                c0, c1, c2 = labels[hop, u].c0 * x, labels[hop, u].c1 * y, labels[hop, u].c2 * z
            for k in range(fixed[u].degree):
                via = inc_link[u, k]
                link = links[via]
                total = cost + link.price + loss_price * link.loss
                v = inc_node[u, k]
                if total >= best or hop + 1 + distance[v] > most:
                    continue
                label = labels[hop + 1, v]
                if label.stamp == stamp and total >= label.cost:
                    continue
                d0, d1, d2 = c0 * link.corr[0], c1 * link.corr[1], c2 * link.corr[2]
                if d0 + d1 + d2 < need:
                    continue
                if v == target:
                    best, length = total, hop + 1
                elif label.stamp != stamp:
                    frontier[there, reached] = v
                    reached += 1
                label.stamp, label.cost, label.via = stamp, total, via
                label.c0, label.c1, label.c2 = d0, d1, d2
        size = reached
        if size == 0:
            break
    node = target
    for back in range(length):
        via = labels[length - back, node].via
        ledger.chain[back] = via
        node = world.link[via].a if world.link[via].b == node else world.link[via].b
    return length


@kernel
def claim_path(world: World, ledger: Ledger, rule: Rule, request: int) -> None:
    """Claim the links of a live request for its missing pairs.

    Along its fixed shortest path, or along the path that is cheapest to complete from stock whose
    swap nodes can have a token by the deadline.
    """
    row = world.request[request].cls
    missing = float(ledger.request[request].left)
    if rule.complete == 0:
        for hop in range(world.path_links.shape[1]):
            link = world.path_links[row, hop]
            if link < 0:
                return
            ledger.link[link].wanted += missing
        return
    slack = world.request[request].deadline - ledger.now[0].clock
    length = cheapest_path(world, ledger, rule, row, slack)
    for back in range(length):
        ledger.link[ledger.chain[back]].wanted += missing

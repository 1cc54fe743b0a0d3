"""Prices of links and nodes for the path search, from a rule and the state of the slot.

A search asks for the prices of the links and nodes that it meets; :func:`price_claims` and
:func:`price_stock` write all of them for allocators that want to change some before they search.
"""

import numpy as np

from quantum.kernels import Table, lean, small
from quantum.ledger.state import Ledger, Rule, World

__all__ = [
    "AS_PRICED",
    "CLAIMS",
    "CLOSED",
    "LEFT",
    "STOCK",
    "believe",
    "least_prices",
    "least_stored",
    "making_price",
    "node_price",
    "price_claims",
    "price_link",
    "price_node",
    "price_nodes",
    "price_stock",
    "price_stored",
]

#: Price of a link that cannot be used.
CLOSED = 1e17
#: Prices of a search: those that stand on the links and nodes, those of claims, those of stock,
#: those of claims where stock that others claim is gone.
AS_PRICED, CLAIMS, STOCK, LEFT = 0, 1, 2, 3
#: The cheapest that a stored pair gets.
_CHEAPEST = 0.01


@small
def node_price(tokens: float, bucket: float, empty: float, inverse: float) -> float:
    """Price a swap at a node: dear where its bucket is empty."""
    # While requests share out tokens, a node may have promised more than it has yet.
    return empty * (1.0 - tokens / bucket) + inverse / (max(0.0, tokens) + 0.3)


@small
def price_node(node: Table, bucket: float, empty: float, inverse: float) -> None:
    """Write the price of a swap at one node."""
    node.price = node_price(node.swap_tokens, bucket, empty, inverse)


@small
def making_price(rate: float, made_hz: float) -> float:
    """Price a link without stock above one with it: ``made_hz`` tokens a second could make one."""
    return rate / (0.2 + made_hz)


@lean
def least_prices(rule: Rule, kind: int, bucket: float) -> tuple[float, float]:
    """Return what a link and a swap cost at least; ``bucket`` is the largest of the network."""
    if kind == AS_PRICED or rule.fidelity < 0.0 or rule.bucket < 0.0 or rule.inverse < 0.0:
        return 0.0, 0.0
    link = _CHEAPEST if kind == STOCK else 1.0 + min(0.0, rule.rate / 0.2)
    return link, rule.inverse / (bucket + 0.3)


@small
def least_stored(rule: Rule) -> float:
    """Return what a stored pair costs at least: one at the cutoff, where there are plenty."""
    if rule.scarce < 0.0 or rule.fidelity < 0.0 or rule.bucket < 0.0 or rule.inverse < 0.0:
        return 0.0
    return max(_CHEAPEST, 1.0 - max(0.0, rule.age))


@small
def _loss(xx: float, yy: float, zz: float) -> float:
    return -np.log(max(1e-9, (xx + yy + zz) / 3.0))


@lean
def believe(world: World, ledger: Ledger) -> None:
    """Note what follows from the links' beliefs; call it whenever they change.

    ``ledger.reach[k]`` is the factor by which the correlators of a path must exceed the ones that
    are asked where it has k more links to go.
    """
    oldest, kept = world.decay[len(world.decay) - 1], 1e-9
    for number in range(world.m):
        link = ledger.link[number]
        link.fresh_loss = _loss(link.belief[0], link.belief[1], link.belief[2])
        kept = max(kept, link.belief[0], link.belief[1], link.belief[2])
        kept = max(kept, link.belief[2] * oldest.zz + oldest.shift)
    kept *= max(world.swap_xyz[0], world.swap_xyz[1], world.swap_xyz[2])
    ledger.reach[0] = 1.0
    for hops in range(1, len(ledger.reach)):
        ledger.reach[hops] = ledger.reach[hops - 1] / kept


@small
def price_stored(
    link: Table, decay: Table, slot: int, target: float, scarce: float, age_off: float
) -> None:
    """Scarce pairs are dear, pairs about to be dropped are cheap; the youngest sets the quality."""
    short = max(0.0, target + 1.0 - link.stock - 2.0 * link.refined) / (target + 1.0)
    age = slot - link.first
    link.price = max(_CHEAPEST, 1.0 + scarce * short - age_off * age / (len(decay) - 1))
    held = decay[slot - link.last]
    link.corr[0] = link.belief[0] * held.xy
    link.corr[1] = link.belief[1] * held.xy
    link.corr[2] = link.belief[2] * held.zz + held.shift
    link.loss = _loss(link.corr[0], link.corr[1], link.corr[2])
    link.priced = slot


@lean
def price_nodes(nodes: Table, fixed: Table, rule: Rule) -> None:
    """Write the price of a swap at every node."""
    empty, inverse = rule.bucket, rule.inverse
    for number in range(len(nodes)):
        price_node(nodes[number], fixed[number].bucket, empty, inverse)


@lean
def price_claims(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link for claims: one for stock, more where a pair has still to be made."""
    links = ledger.link
    for number in range(world.m):
        link = links[number]
        link.price = 1.0
        if link.stock == 0:
            link.price += making_price(rule.rate, world.link[number].made_hz)
            if link.open == 0:
                link.price = CLOSED
        for axis in range(3):
            link.corr[axis] = link.belief[axis]
        link.loss, link.priced = link.fresh_loss, -1
    price_nodes(ledger.node, world.node, rule)


@lean
def price_stock(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link by its stored pairs; links without stock are closed."""
    for number in range(world.m):
        price_link(world, ledger, rule, number)
    price_nodes(ledger.node, world.node, rule)


@lean
def price_link(world: World, ledger: Ledger, rule: Rule, number: int) -> None:
    """Price one link by its stored pairs, anew after one of them was used."""
    link, slot = ledger.link[number], ledger.now[0].clock
    if link.stock == 0:
        link.price, link.priced = CLOSED, slot
        return
    target = rule.targets[number]
    price_stored(link, world.decay, slot, target, rule.scarce, rule.age)

"""Prices of links and nodes for the path search, from a rule and the state of the slot.

Helpers in inner loops take the tables they need, not the whole ledger: passing a tuple of arrays
counts references to each of them, which costs more than the work.
"""

import numpy as np

from quantum.kernels import Table, kernel, small
from quantum.ledger.state import Ints, Ledger, Rule, World

__all__ = ["CLOSED", "price_claims", "price_link", "price_node", "price_stock"]

#: Price of a link that cannot be used.
CLOSED = 1e17


@small
def price_node(node: Table, bucket: float, weight_empty: float, weight_inverse: float) -> None:
    """Price a swap at one node: dear where its bucket is empty."""
    empty = 1.0 - node.swap_tokens / bucket
    node.price = weight_empty * empty + weight_inverse / (node.swap_tokens + 0.3)


@small
def count_on(link: Table, decay: Table) -> None:
    """Count on a link's believed quality after the decay of ``decay`` (a row of World.decay)."""
    link.corr[0] = link.belief[0] * decay.xy
    link.corr[1] = link.belief[1] * decay.xy
    link.corr[2] = link.belief[2] * decay.zz + decay.shift
    link.loss = -np.log(max(1e-9, (link.corr[0] + link.corr[1] + link.corr[2]) / 3.0))


@small
def _rank(links: Table, pairs: Table, place: int) -> None:
    """Note a stored pair if it is the oldest or the youngest of its link (ties by place)."""
    birth = pairs[place].birth
    link = links[pairs[place].link]
    if link.oldest < 0 or birth < pairs[link.oldest].birth:
        link.oldest = place
    if link.youngest < 0 or birth > pairs[link.youngest].birth:
        link.youngest = place


@small
def _price(
    link: Table, pairs: Table, decay: Table, slot: int, target: float, scarce: float, age_off: float
) -> None:
    """Scarce pairs are dear, pairs about to be dropped are cheap; the youngest sets the quality."""
    short = max(0.0, target + 1.0 - link.stock - 2.0 * link.refined) / (target + 1.0)
    age = slot - pairs[link.oldest].birth
    link.price = max(0.01, 1.0 + scarce * short - age_off * age / (len(decay) - 1))
    count_on(link, decay[slot - pairs[link.youngest].birth])


@kernel
def _price_nodes(nodes: Table, fixed: Table, rule: Rule) -> None:
    empty, inverse = rule.bucket, rule.inverse
    for number in range(len(nodes)):
        price_node(nodes[number], fixed[number].bucket, empty, inverse)


@kernel
def price_claims(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link for claims: one for stock, more where a pair has still to be made."""
    links, ends, fixed, fresh = ledger.link, world.link, world.node, world.decay[0]
    rate, slot_s = rule.rate, world.slot_s
    for number in range(world.m):
        link = links[number]
        link.price = 1.0
        if link.stock == 0:
            made = fixed[ends[number].a].generation + fixed[ends[number].b].generation
            link.price += rate / (0.2 + made / slot_s)
        count_on(link, fresh)
    _price_nodes(ledger.node, fixed, rule)


@kernel
def price_stock(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link by its stored pairs; links without stock are closed."""
    links, pairs, decay, targets = ledger.link, ledger.pair, world.decay, rule.targets
    slot, scarce, age_off = ledger.now[0].clock, rule.scarce, rule.age
    for number in range(world.m):
        link = links[number]
        link.price, link.oldest, link.youngest = CLOSED, -1, -1
    for place in range(len(pairs)):
        if pairs[place].u >= 0 and pairs[place].link >= 0 and pairs[place].spent < 0:
            _rank(links, pairs, place)
    for number in range(world.m):
        if links[number].oldest >= 0:
            _price(links[number], pairs, decay, slot, targets[number], scarce, age_off)
    _price_nodes(ledger.node, world.node, rule)


@kernel
def price_link(world: World, ledger: Ledger, rule: Rule, number: int) -> None:
    """Price one link anew after one of its pairs was used."""
    links, pairs = ledger.link, ledger.pair
    node = world.link[number].a
    _rank_held(links, pairs, ledger.held[node], ledger.node[node].used, number)
    if links[number].oldest >= 0:
        slot = ledger.now[0].clock
        target = rule.targets[number]
        _price(links[number], pairs, world.decay, slot, target, rule.scarce, rule.age)


@kernel
def _rank_held(links: Table, pairs: Table, held: Ints, fill: int, number: int) -> None:
    link = links[number]
    link.price, link.oldest, link.youngest = CLOSED, -1, -1
    for position in range(fill):
        if pairs[held[position]].link == number and pairs[held[position]].spent < 0:
            _rank(links, pairs, held[position])

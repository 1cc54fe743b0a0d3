"""Distilled pairs in claims and chains: what they cost, and where they are needed.

A class of requests that no path of pairs as they are made can meet claims the path that is
cheapest with distilled pairs on all its links, and then, link by link, pairs as they are made
wherever the rest is good enough. So do chains of stored pairs.
"""

import numpy as np

from quantum.kernels import lean
from quantum.ledger.heard import is_heard
from quantum.ledger.paths import cheapest_path
from quantum.ledger.places import believed_now
from quantum.ledger.prices import CLOSED, making_price, price_nodes
from quantum.ledger.refine import dejmps
from quantum.ledger.state import Ledger, Rule, World

__all__ = ["choose_best", "claim_best", "claim_refined", "price_best", "price_refined"]


@lean
def claim_refined(world: World, ledger: Ledger, rule: Rule, start: int) -> None:
    """Claim for every live request that needs distilled pairs and starts by the slot ``start``."""
    for number in range(world.m):
        ledger.link[number].wanted_refined = 0.0
    priced = False
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        row = world.request[request].cls
        if world.request[request].arrival > start or world.cls[row].refined == 0:
            continue
        if not priced:
            price_refined(world, ledger, rule)
            priced = True
        claim_best(world, ledger, rule, request, row)


@lean
def price_refined(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link for claims of distilled pairs: two pairs over the chance that it works.

    Links that distillation does not improve are closed.
    """
    work = ledger.product
    for number in range(world.m):
        link = ledger.link[number]
        link.priced = -1
        chance = dejmps(world.distil, link.belief, link.belief, work[0])
        raw, better = link.belief.sum(), work[0].sum()
        closed = link.open == 0 and link.refined == 0 and link.stock < 2
        if chance <= 0.0 or better <= raw or closed:
            link.price = CLOSED
            continue
        pairs = 2.0 / chance
        link.price = 1.0
        if link.refined == 0:
            lacking = max(0.0, pairs - link.stock) / pairs
            link.price = pairs + lacking * making_price(rule.rate, world.link[number].made_hz)
        for axis in range(3):
            link.corr[axis] = work[0, axis]
        link.loss = -np.log(max(1e-9, better / 3.0))
    price_nodes(ledger.node, world.node, rule)


@lean
def claim_best(world: World, ledger: Ledger, rule: Rule, request: int, row: int) -> None:
    """Claim the links of one request, distilled on as few of them as will do.

    Links must be priced (:func:`price_refined`).
    """
    links, chain, missing = ledger.link, ledger.chain, float(ledger.request[request].left)
    length, counted = 0, 0.0
    if rule.complete == 0:
        # Its shortest path was claimed already, for pairs as they are made.
        counted = missing
        while length < world.path_links.shape[1] and world.path_links[row, length] >= 0:
            chain[length] = world.path_links[row, length]
            length += 1
    else:
        slack = world.request[request].deadline - ledger.now[0].clock
        length = cheapest_path(world, ledger, rule, row, slack)
    if length == 0:
        return
    c, need = ledger.product[1], 4.0 * world.cls[row].fidelity - 1.0
    for axis in range(3):
        c[axis] = 1.0
        for back in range(length):
            c[axis] *= links[chain[back]].corr[axis]
            if back > 0:
                c[axis] *= world.swap_xyz[axis]
    for _ in range(length):
        found, best = -1, need
        for back in range(length):
            if chain[back] < 0:
                continue
            link, total = links[chain[back]], 0.0
            for axis in range(3):
                total += c[axis] / link.corr[axis] * link.belief[axis]
            if total >= best:
                found, best = back, total
        if found < 0:
            break
        link = links[chain[found]]
        for axis in range(3):
            c[axis] *= link.belief[axis] / link.corr[axis]
        link.wanted += missing - counted
        chain[found] = -1
    for back in range(length):
        if chain[back] >= 0:
            links[chain[back]].wanted += 2.0 * missing - counted
            links[chain[back]].wanted_refined += missing


@lean
def price_best(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link by the best pair that it holds; links without stock are closed."""
    slot = ledger.now[0].clock
    for number in range(world.m):
        link = ledger.link[number]
        link.price, link.priced, link.best = CLOSED, -1, _best_of(world, ledger, number)
        if link.best < 0:
            continue
        pair, target = ledger.pair[link.best], rule.targets[number]
        held, total = world.decay[slot - pair.birth], 0.0
        for axis in range(3):
            link.corr[axis] = believed_now(link, pair, axis, held)
            total += link.corr[axis]
        short = max(0.0, target + 1.0 - link.stock - 2.0 * link.refined) / (target + 1.0)
        age = (slot - pair.old) / world.cutoff
        link.price = max(0.01, 1.0 + rule.scarce * short - rule.age * age)
        link.loss = -np.log(max(1e-9, total / 3.0))
    price_nodes(ledger.node, world.node, rule)


@lean
def _best_of(world: World, ledger: Ledger, number: int) -> int:
    """Return the place of the best pair of a link, as it is believed to be now; -1 none."""
    link, slot = ledger.link[number], ledger.now[0].clock
    best, most = link.youngest, -1e18
    if link.refined == 0:
        return int(best)
    if best >= 0:
        most = _value(world, ledger, number, best, slot)
    node = world.link[number].a
    for position in range(ledger.node[node].used):
        place = ledger.held[node, position]
        if ledger.pair[place].link == number and ledger.pair[place].spent >= 0:
            if not is_heard(world, ledger, place):
                continue
            value = _value(world, ledger, number, place, slot)
            if value > most:
                best, most = place, value
    return int(best)


@lean
def _value(world: World, ledger: Ledger, number: int, place: int, slot: int) -> float:
    pair, total = ledger.pair[place], 0.0
    for axis in range(3):
        total += believed_now(ledger.link[number], pair, axis, world.decay[slot - pair.birth])
    return total


@lean
def choose_best(world: World, ledger: Ledger, row: int, length: int) -> None:
    """Turn the links in ``ledger.chain`` into stored pairs that are good enough.

    The path was found with the best pair of every link. Link by link, a pair that would be missed
    less takes its place: the oldest as it was made, or else the oldest distilled one.
    """
    links, pairs, chain, decay = ledger.link, ledger.pair, ledger.chain, world.decay
    slot, need = ledger.now[0].clock, 4.0 * world.cls[row].fidelity - 1.0
    c, rest = ledger.product[0], ledger.product[1]
    for axis in range(3):
        c[axis] = 1.0
        for back in range(length):
            c[axis] *= links[chain[back]].corr[axis]
            if back > 0:
                c[axis] *= world.swap_xyz[axis]
    for back in range(length):
        number = chain[back]
        link = links[number]
        chosen = link.best
        for axis in range(3):
            value = link.corr[axis]
            rest[axis] = c[axis] / value if abs(value) > 1e-300 else 0.0
        node = world.link[number].a
        for position in range(ledger.node[node].used):
            place = ledger.held[node, position]
            if pairs[place].link != number or not is_heard(world, ledger, place):
                continue
            plain, other = pairs[place].spent < 0, pairs[chosen].spent < 0
            if plain < other or (plain == other and pairs[place].old >= pairs[chosen].old):
                continue
            held, total = decay[slot - pairs[place].birth], 0.0
            for axis in range(3):
                total += rest[axis] * believed_now(link, pairs[place], axis, held)
            if total >= need:
                chosen = place
        held = decay[slot - pairs[chosen].birth]
        for axis in range(3):
            c[axis] = rest[axis] * believed_now(link, pairs[chosen], axis, held)
        chain[back] = chosen

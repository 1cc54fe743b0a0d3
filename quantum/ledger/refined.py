"""Distilled pairs in claims and chains: what they cost, and where a chain needs them."""

import numpy as np

from quantum.kernels import Table, kernel, small
from quantum.ledger.paths import cheapest_path
from quantum.ledger.places import value_now
from quantum.ledger.prices import CLOSED, price_node
from quantum.ledger.refine import dejmps
from quantum.ledger.serve import assemble, believed_now
from quantum.ledger.state import Floats, Ledger, Rule, World

__all__ = ["claim_refined", "price_refined", "serve_refined"]


@kernel
def price_refined(world: World, ledger: Ledger, rule: Rule) -> None:
    """Price every link for claims of distilled pairs."""
    links, ends, fixed = ledger.link, world.link, world.node
    both, flips = world.distil[0], world.distil[1]
    aged = world.decay[int(rule.claim_age * (len(world.decay) - 1))]
    raw, out = np.empty(3), np.empty(3)
    for number in range(world.m):
        link = links[number]
        for axis in range(3):
            raw[axis] = value_now(link.belief[axis], axis, aged)
        chance = dejmps(raw, raw, both, flips, out)
        link.cost_refined = 2.0 / max(1e-9, chance)
        if out.sum() <= raw.sum():
            link.price = CLOSED
            continue
        link.price = 1.0
        if link.refined == 0:
            made = fixed[ends[number].a].generation + fixed[ends[number].b].generation
            lacking = max(0.0, link.cost_refined - link.stock)
            link.price = 2.0 + 0.5 * lacking * rule.rate / (0.2 + made / world.slot_s)
        for axis in range(3):
            link.corr[axis] = value_now(out[axis], axis, aged)
        link.loss = -np.log(max(1e-9, link.corr.sum() / 3.0))


@kernel
def claim_refined(world: World, ledger: Ledger, rule: Rule, request: int) -> None:
    """Claim distilled pairs along the cheapest path, on as few links as will do."""
    row = world.request[request].cls
    missing = float(ledger.request[request].left)
    slack = world.request[request].deadline - ledger.now[0].clock
    length = cheapest_path(world, ledger, rule, row, slack)
    if length == 0:
        return
    links, chain = ledger.link, ledger.chain
    aged = world.decay[int(rule.claim_age * (len(world.decay) - 1))]
    need = 4.0 * world.cls[row].fidelity - 1.0
    c = np.ones(3)
    for back in range(length):
        for axis in range(3):
            c[axis] *= links[chain[back]].corr[axis]
            if back > 0:
                c[axis] *= world.swap_xyz[axis]
    plain = np.zeros(length, dtype=np.bool_)
    while True:
        found, best = -1, 0.0
        for back in range(length):
            if plain[back]:
                continue
            link = links[chain[back]]
            total = 0.0
            for axis in range(3):
                total += c[axis] / link.corr[axis] * value_now(link.belief[axis], axis, aged)
            if total >= need and total > best:
                found, best = back, total
        if found < 0:
            break
        plain[found] = True
        link = links[chain[found]]
        for axis in range(3):
            c[axis] *= value_now(link.belief[axis], axis, aged) / link.corr[axis]
    for back in range(length):
        link = links[chain[back]]
        if plain[back]:
            link.wanted += missing
        else:
            link.wanted += 2.0 * missing
            link.wanted_refined += missing


@kernel
def _rank_best(world: World, ledger: Ledger, rule: Rule) -> None:
    """Find the best pair of every link and price it."""
    links, pairs, decay = ledger.link, ledger.pair, world.decay
    slot = ledger.now[0].clock
    for number in range(world.m):
        links[number].price, links[number].best = CLOSED, -1
    for place in range(len(pairs)):
        pair = pairs[place]
        if pair.u < 0:
            continue
        link = links[pair.link]
        aged = decay[slot - pair.birth]
        c0 = believed_now(link, pair, 0, aged)
        c1 = believed_now(link, pair, 1, aged)
        c2 = believed_now(link, pair, 2, aged)
        if link.best < 0 or c0 + c1 + c2 > link.corr[0] + link.corr[1] + link.corr[2]:
            link.best = place
            link.corr[0], link.corr[1], link.corr[2] = c0, c1, c2
    for number in range(world.m):
        link = links[number]
        if link.best >= 0:
            target = rule.targets[number]
            short = max(0.0, target + 1.0 - link.stock - link.refined) / (target + 1.0)
            age = slot - pairs[link.best].old
            link.price = max(0.01, 1.0 + rule.scarce * short - rule.age * age / world.cutoff)
            if pairs[link.best].spent >= 0:
                link.price += rule.dear
            link.loss = -np.log(max(1e-9, (link.corr[0] + link.corr[1] + link.corr[2]) / 3.0))
    for node in range(world.n):
        price_node(ledger.node[node], world.node[node].bucket, rule.bucket, rule.inverse)


@kernel
def serve_refined(world: World, ledger: Ledger, rule: Rule) -> None:
    """Serve those for whom pairs as they were made would not do."""
    slot = ledger.now[0].clock
    stale = True
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival > slot or slot > world.request[request].deadline:
            continue
        row = world.request[request].cls
        a, b = world.cls[row].a, world.cls[row].b
        if ledger.node[a].used == 0 or ledger.node[b].used == 0:
            continue
        while ledger.request[request].left > 0:
            if stale:
                _rank_best(world, ledger, rule)
                stale = False
            length = cheapest_path(world, ledger, rule, row, 0)
            if length == 0:
                break
            _choose(world, ledger, row, length)
            assemble(world, ledger, rule, request, length)
            stale = True


@kernel
def _choose(world: World, ledger: Ledger, row: int, length: int) -> None:
    """Of every link take the pair that would be missed least and is good enough."""
    links, pairs, chain, decay = ledger.link, ledger.pair, ledger.chain, world.decay
    slot, need = ledger.now[0].clock, 4.0 * world.cls[row].fidelity - 1.0
    c, rest = np.ones(3), np.ones(3)
    for back in range(length):
        for axis in range(3):
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
            if pairs[place].link != number or not _rather(pairs, place, chosen):
                continue
            total = 0.0
            for axis in range(3):
                aged = decay[slot - pairs[place].birth]
                total += rest[axis] * believed_now(link, pairs[place], axis, aged)
            if total >= need:
                chosen = place
        for axis in range(3):
            aged = decay[slot - pairs[chosen].birth]
            c[axis] = rest[axis] * believed_now(link, pairs[chosen], axis, aged)
        chain[back] = chosen


@small
def _rather(pairs: Table, place: int, chosen: int) -> bool:
    """Whether a pair would be missed less than the one chosen: not distilled, then older."""
    plain, other = pairs[place].spent < 0, pairs[chosen].spent < 0
    if plain != other:
        return plain
    return pairs[place].old < pairs[chosen].old

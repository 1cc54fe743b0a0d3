"""Rounds as kernels: tokens follow quotas, links wait for the end of the round, leftovers go."""

import numpy as np

from quantum.draws import uniform
from quantum.kernels import kernel
from quantum.ledger import Ledger, Rule, World, close_slot, generate, open_slot
from quantum.ledger.claims import ANNOUNCED_S
from quantum.ledger.places import take
from quantum.ledger.refined import claim_refined
from quantum.ledger.serve import assemble, choose_pairs
from quantum.ledger.state import DROPPED, TIES, Floats, Ints, seed_at

__all__ = ["begin", "deliver", "drop_all", "end", "make_links", "spare_tokens"]

#: Added to what a link lacks of its quota proper, twice, and of claims for distilled pairs, once,
#: so that the one comes before the other, and both before any redundant pair.
_FIRST = 1e6


@kernel
def begin(
    world: World,
    ledger: Ledger,
    rule: Rule,
    better: Rule,
    quota: Floats,
    extra: Floats,
    busy: bool,
    stop: int,
) -> None:
    """Play slots up to ``stop`` in which links are made and nothing is swapped."""
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, rule)
        make_links(world, ledger, rule, better, quota, extra, busy)
        end(world, ledger)


@kernel
def make_links(
    world: World, ledger: Ledger, rule: Rule, better: Rule, quota: Floats, extra: Floats, busy: bool
) -> None:
    """Make the pairs of a slot.

    Requests that need distilled pairs claim them in every slot, by the rule ``better``.
    """
    for number in range(world.m):
        ledger.link[number].wanted = 0.0
    if better.rounds > 0:
        soon = ledger.now[0].clock + int(ANNOUNCED_S / world.slot_s)
        claim_refined(world, ledger, better, soon)
    spare_tokens(world, ledger, quota, extra, busy)
    generate(world, ledger, rule)


@kernel
def end(world: World, ledger: Ledger) -> None:
    """End a slot; nobody takes its events."""
    ledger.now[0].events = 0
    close_slot(world, ledger)


@kernel
def spare_tokens(world: World, ledger: Ledger, quota: Floats, extra: Floats, busy: bool) -> None:
    """Put every token on the link that lacks most of its ``quota`` (m,), if one with room does.

    Where none does, what requests claim for distilled pairs counts, then the redundant quota
    ``extra`` (m,). Where no link lacks that either, the token is idle, or, ``busy``, makes a pair
    on a link drawn evenly.
    """
    nodes, links, fixed = ledger.node, ledger.link, world.node
    for node in range(world.n):
        nodes[node].yields = -1
        degree = fixed[node].degree
        for number in range(nodes[node].tokens):
            slot = ledger.now[0].clock
            draw = uniform(seed_at(world, slot), TIES, node, slot, number)
            best, most, some = -1, 0.0, 0
            for k in range(degree):
                peer = world.inc_node[node, k]
                if nodes[node].used + number >= fixed[node].qubits:
                    continue
                if nodes[peer].used >= fixed[peer].qubits:
                    continue
                some += 1
                link = world.inc_link[node, k]
                stock = float(links[link].stock)
                for before in range(number):
                    if ledger.choice[node, before] == k:
                        stock += 1.0
                lacks = quota[link] - stock
                claimed = lacks + max(0.0, links[link].wanted - 2.0 * links[link].refined)
                if lacks > 1e-9:
                    lacks += 2.0 * _FIRST
                elif claimed > 1e-9:
                    lacks = _FIRST + claimed
                else:
                    lacks = extra[link] - stock
                if lacks > most + 1e-9:
                    best, most = k, lacks
            if best < 0 and busy and some > 0:
                skip = int(draw * some)
                for k in range(degree):
                    peer = world.inc_node[node, k]
                    if nodes[peer].used < fixed[peer].qubits:
                        if skip == 0:
                            best = k
                        skip -= 1
            ledger.choice[node, number] = best
            ledger.urgency[node, number] = 0.0


@kernel
def deliver(world: World, ledger: Ledger, rule: Rule, row: int, links: Ints, count: int) -> None:
    """Join the path ``links`` (destination first, -1 padded) ``count`` times for a class.

    The oldest requests of class ``row`` get the pairs; a path whose stored pairs have become too
    poor is left out. Links must be priced (:func:`quantum.ledger.prices.price_stock`).
    """
    length = 0
    while length < len(links) and links[length] >= 0:
        length += 1
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].cls != row:
            continue
        if world.request[request].arrival > ledger.now[0].clock:
            continue
        while count > 0 and ledger.request[request].left > 0:
            if not _can(world, ledger, row, links, length):
                return
            for back in range(length):
                ledger.chain[back] = links[back]
            choose_pairs(world, ledger, row, length)
            assemble(world, ledger, rule, request, length)
            count -= 1


@kernel
def _can(world: World, ledger: Ledger, row: int, links: Ints, length: int) -> bool:
    """Tell whether stored pairs, swap tokens and fidelity suffice for one more pair."""
    node, c = world.cls[row].b, np.ones(3)
    for back in range(length):
        link = ledger.link[links[back]]
        if link.stock == 0:
            return False
        a, b = world.link[links[back]].a, world.link[links[back]].b
        node = a if b == node else b
        for axis in range(3):
            c[axis] *= link.corr[axis]
        if back < length - 1:
            if ledger.node[node].swap_tokens < 1.0:
                return False
            for axis in range(3):
                c[axis] *= world.swap_xyz[axis]
    return bool(c.sum() >= 4.0 * world.cls[row].fidelity - 1.0)


@kernel
def drop_all(ledger: Ledger) -> None:
    """Drop every stored pair: the next round starts from nothing."""
    for place in range(len(ledger.pair)):
        if ledger.pair[place].u >= 0:
            take(ledger, place)
            ledger.totals[DROPPED] += 1

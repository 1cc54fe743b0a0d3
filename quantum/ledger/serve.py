"""Serving: live requests, first come first served, get the cheapest chains of stored pairs."""

from quantum.kernels import lean
from quantum.ledger.paths import find_path
from quantum.ledger.places import take, value_now
from quantum.ledger.prices import CLOSED, STOCK, price_link, price_node
from quantum.ledger.state import (
    ASSEMBLED,
    DELIVERED,
    HERALD,
    LOST,
    SWAPS,
    TEST_PAIR,
    TESTED,
    TESTS,
    Floats,
    Ledger,
    Rule,
    World,
)
from quantum.seeding import uniform

__all__ = ["assemble", "choose_pairs", "serve"]


@lean
def serve(world: World, ledger: Ledger, rule: Rule) -> None:
    """Assemble pairs for live requests until no chain is left for them."""
    slot = ledger.now[0].clock
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival > slot or slot > world.request[request].deadline:
            continue
        row = world.request[request].cls
        a, b = world.cls[row].a, world.cls[row].b
        while ledger.request[request].left > 0:
            if not _opens(world, ledger, a, b):
                break
            length = find_path(world, ledger, rule, row, 0, STOCK, CLOSED)
            if length == 0:
                break
            choose_pairs(world, ledger, row, length)
            assemble(world, ledger, rule, request, length)


@lean
def _opens(world: World, ledger: Ledger, end: int, other: int) -> bool:
    """Tell whether an end of a chain has a stored pair with a node that can swap, or the other."""
    links, nodes, inc_link, inc_node = ledger.link, ledger.node, world.inc_link, world.inc_node
    for k in range(world.node[end].degree):
        peer = inc_node[end, k]
        if links[inc_link[end, k]].stock > 0 and (peer == other or nodes[peer].swap_tokens >= 1.0):
            return True
    return False


@lean
def choose_pairs(world: World, ledger: Ledger, row: int, length: int) -> None:
    """Turn the links in ``ledger.chain`` into stored pairs: the oldest that are good enough.

    The path was found with the youngest pair of every link. Link by link, the oldest pair with
    which the chain still meets the fidelity takes its place, so that the young ones can wait.
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
        link = links[chain[back]]
        for axis in range(3):
            value = link.corr[axis]
            rest[axis] = c[axis] / value if abs(value) > 1e-300 else 0.0
        place = link.oldest
        while True:
            held, total = decay[slot - pairs[place].birth], 0.0
            for axis in range(3):
                c[axis] = rest[axis] * value_now(link.belief[axis], axis, held)
                total += c[axis]
            if total >= need or place == link.youngest:
                break
            place = pairs[place].younger
        chain[back] = place


@lean
def assemble(world: World, ledger: Ledger, rule: Rule, request: int, length: int) -> None:
    """Swap the stored pairs in ``ledger.chain`` into one: deliver it, test it, or lose it.

    ``length`` places, from the destination of the request to its source; every node between must
    have a swap token.
    """
    pairs, chain, nodes, decay = ledger.pair, ledger.chain, ledger.node, world.decay
    slot, row, asked = ledger.now[0].clock, world.request[request].cls, ledger.request[request]
    attempt = asked.attempts
    asked.attempts += 1
    true, believed = ledger.product[0], ledger.product[1]
    true[:] = 1.0
    believed[:] = 1.0
    alive = True
    node = world.cls[row].b
    for back in range(length):
        pair = pairs[chain[back]]
        held, link = decay[slot - pair.birth], ledger.link[pair.link]
        for axis in range(3):
            true[axis] *= value_now(pair.truth[axis], axis, held)
            believed[axis] *= value_now(link.belief[axis], axis, held)
        node = pair.u if pair.v == node else pair.v
        if back < length - 1:
            nodes[node].swap_tokens -= 1.0
            ledger.totals[SWAPS] += 1
            price_node(nodes[node], world.node[node].bucket, rule.bucket, rule.inverse)
            true *= world.swap_xyz
            believed *= world.swap_xyz
            if world.swap_success < 1.0:
                draw = uniform(world.seed, HERALD, request, attempt, back)
                alive = alive and draw < world.swap_success
    fidelity = (1.0 + true.sum()) / 4.0
    kind = LOST
    if alive:
        ledger.totals[ASSEMBLED] += 1
        if uniform(world.seed, TEST_PAIR, request, attempt, 0) < world.test_share:
            kind = TESTED
            ledger.totals[TESTS] += 1
        else:
            kind = DELIVERED
            asked.left -= 1
            asked.quality += fidelity
            arrival = world.request[request].arrival
            if world.warmup <= arrival < world.warmup + world.slots:
                ledger.waits[slot - arrival] += 1
            if fidelity >= world.cls[row].fidelity:
                asked.good += 1
    _record(world, ledger, request, attempt, kind, length, true, believed)
    _note_use(world, ledger, length)
    for back in range(length):
        link_number = pairs[chain[back]].link
        take(ledger, chain[back])
        price_link(world, ledger, rule, link_number)


@lean
def _record(
    world: World,
    ledger: Ledger,
    request: int,
    attempt: int,
    kind: int,
    length: int,
    true: Floats,
    believed: Floats,
) -> None:
    """Remember an assembled pair for execution, as long as there is room."""
    if ledger.now[0].events >= len(ledger.event):
        return
    pairs, chain, slot = ledger.pair, ledger.chain, ledger.now[0].clock
    event = ledger.event[ledger.now[0].events]
    ledger.now[0].events += 1
    event.kind, event.request, event.slot = kind, request, slot
    event.attempt, event.hops = attempt, length
    node = world.cls[world.request[request].cls].b
    for back in range(length):
        pair = pairs[chain[back]]
        hop = length - 1 - back
        event.links[hop], event.ages[hop] = pair.link, slot - pair.birth
        event.makers[hop] = pair.maker
        node = pair.u if pair.v == node else pair.v
        if back < length - 1:
            event.swaps[hop - 1] = node
    for axis in range(3):
        event.corr[axis] = true[axis]
    event.true, event.believed = (1.0 + true.sum()) / 4.0, (1.0 + believed.sum()) / 4.0


@lean
def _note_use(world: World, ledger: Ledger, length: int) -> None:
    """Raise the share of every used link at both its ends (adaptive generation learns from it)."""
    rate = 0.05
    for back in range(length):
        link = ledger.pair[ledger.chain[back]].link
        for end in range(2):
            node = world.link[link].a if end == 0 else world.link[link].b
            for k in range(world.node[node].degree):
                ledger.use[node, k] *= 1.0 - rate
                if world.inc_link[node, k] == link:
                    ledger.use[node, k] += rate

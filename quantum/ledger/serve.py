"""Serving: live requests, first come first served, get the cheapest chains of stored pairs."""

from quantum.draws import uniform
from quantum.kernels import lean
from quantum.ledger.fans import begin_spending
from quantum.ledger.heard import fails, listen, remember, show
from quantum.ledger.paths import cheapest_path, find_stored
from quantum.ledger.places import believed_now, take, value_now
from quantum.ledger.prices import CLOSED, price_link, price_node
from quantum.ledger.refine import refine
from quantum.ledger.refined import choose_best, price_best
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
    seed_at,
)

__all__ = ["assemble", "choose_pairs", "conclude", "note_use", "serve_best", "serve_live"]


@lean
def serve_live(world: World, ledger: Ledger, rule: Rule) -> None:
    """Assemble pairs for live requests until no chain is left for them.

    Where the rule allows distillation, it comes first, and those whom pairs as they were made do
    not serve get the best that their links hold.
    """
    if rule.rounds > 0:
        refine(world, ledger, rule)
    slot, heard = ledger.now[0].clock, -1
    since = begin_spending(world, ledger)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival > slot or slot > world.request[request].deadline:
            continue
        if len(ledger.ghost) > 0:
            before, heard = heard, listen(world, ledger, request, heard)
            if heard != before:
                since = begin_spending(world, ledger)
        row = world.request[request].cls
        while ledger.request[request].left > 0:
            length = find_stored(world, ledger, rule, row, CLOSED, since)
            if length == 0:
                break
            choose_pairs(world, ledger, row, length)
            if heard >= 0 and not _claims(ledger, heard, length):
                break
            assemble(world, ledger, rule, request, length)
    if heard >= 0:
        show(world, ledger)
    if rule.rounds > 0:
        serve_best(world, ledger, rule, False)


@lean
def serve_best(world: World, ledger: Ledger, rule: Rule, needy: bool) -> None:
    """Assemble the best stored pairs of links, distilled ones among them.

    ``needy``: only for requests that no path of pairs as they are made can meet.
    """
    slot, stale, heard = ledger.now[0].clock, True, -1
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival > slot or slot > world.request[request].deadline:
            continue
        row = world.request[request].cls
        if needy and world.cls[row].refined == 0:
            continue
        a, b = world.cls[row].a, world.cls[row].b
        if ledger.node[a].used == 0 or ledger.node[b].used == 0:
            continue
        if len(ledger.ghost) > 0:
            before, heard = heard, listen(world, ledger, request, heard)
            stale = stale or heard != before
        while ledger.request[request].left > 0:
            if stale:
                price_best(world, ledger, rule)
                stale = False
            length = cheapest_path(world, ledger, rule, row, 0)
            if length == 0:
                break
            choose_best(world, ledger, row, length)
            if heard >= 0 and not _claims(ledger, heard, length):
                break
            assemble(world, ledger, rule, request, length)
            stale = True
    if heard >= 0:
        show(world, ledger)


@lean
def _claims(ledger: Ledger, heard: int, length: int) -> bool:
    """Claim the pairs in ``ledger.chain`` for a source that decides; False where one is gone."""
    if fails(ledger, heard, length):
        return False
    for back in range(length):
        remember(ledger, ledger.chain[back], heard)
    return True


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
    attempt, seed = asked.attempts, seed_at(world, slot)
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
            believed[axis] *= believed_now(link, pair, axis, held)
        node = pair.u if pair.v == node else pair.v
        if back < length - 1:
            nodes[node].swap_tokens -= 1.0
            nodes[node].swaps += 1
            ledger.totals[SWAPS] += 1
            price_node(nodes[node], world.node[node].bucket, rule.bucket, rule.inverse)
            true *= world.swap_xyz
            believed *= world.swap_xyz
            if world.swap_success < 1.0:
                draw = uniform(seed, HERALD, request, attempt, back)
                alive = alive and draw < world.swap_success
    fidelity = (1.0 + true.sum()) / 4.0
    kind = conclude(world, ledger, request, attempt, fidelity) if alive else LOST
    _record(world, ledger, request, attempt, kind, length, true, believed)
    for back in range(length):
        note_use(world, ledger, pairs[chain[back]].link)
    for back in range(length):
        link_number = pairs[chain[back]].link
        take(ledger, chain[back])
        price_link(world, ledger, rule, link_number)


@lean
def conclude(world: World, ledger: Ledger, request: int, attempt: int, fidelity: float) -> int:
    """Deliver an assembled pair of a true fidelity, or test it where the key says so."""
    ledger.totals[ASSEMBLED] += 1
    seed = seed_at(world, ledger.now[0].clock)
    if uniform(seed, TEST_PAIR, request, attempt, 0) < world.test_share:
        ledger.totals[TESTS] += 1
        return TESTED
    asked, wish = ledger.request[request], world.request[request]
    asked.left -= 1
    asked.quality += fidelity
    if world.warmup <= wish.arrival < world.warmup + world.slots:
        ledger.waits[ledger.now[0].clock - wish.arrival] += 1
    if fidelity >= world.cls[wish.cls].fidelity:
        asked.good += 1
    return DELIVERED


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
        age = slot - pair.birth
        event.links[hop], event.ages[hop], event.ages_right[hop] = pair.link, age, age
        event.births[hop], event.makers[hop] = pair.birth, pair.maker
        event.kept[hop], event.spent[hop] = pair.kept, pair.spent
        event.spent_makers[hop] = pair.spent_maker
        node = pair.u if pair.v == node else pair.v
        if back < length - 1:
            event.swaps[hop - 1] = node
    for axis in range(3):
        event.corr[axis] = true[axis]
    event.true, event.believed = (1.0 + true.sum()) / 4.0, (1.0 + believed.sum()) / 4.0


@lean
def note_use(world: World, ledger: Ledger, link: int) -> None:
    """Raise the share of a used link at both its ends (adaptive generation learns from it)."""
    rate = 0.05
    for end in range(2):
        node = world.link[link].a if end == 0 else world.link[link].b
        for k in range(world.node[node].degree):
            ledger.use[node, k] *= 1.0 - rate
            if world.inc_link[node, k] == link:
                ledger.use[node, k] += rate

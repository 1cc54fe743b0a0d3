"""Swapping ahead: announced requests get whole pairs before they start, to be handed over then.

A swap token that comes while a bucket is full is lost, and a request with a short deadline finds
few of them. So what live requests leave over, stored pairs and swap tokens, goes to requests that
are known and start soon: the chain is swapped, its inner memories are free again, and the pair
waits at the two ends for its request. Only chains are swapped that will be good enough, and not
older than the cutoff, when the request starts; a pair that no longer is by then is dropped.
"""

from quantum.kernels import lean
from quantum.ledger.acts import discard, hand_over, join, state_of
from quantum.ledger.heard import fails, listen, remember, show
from quantum.ledger.paths import find_path
from quantum.ledger.places import believed_now
from quantum.ledger.leaves import value_after
from quantum.ledger.prices import CLOSED, STOCK, price_node
from quantum.ledger.serve import opens, serve_live
from quantum.ledger.state import Ledger, Rule, World

__all__ = ["serve"]


@lean
def serve(world: World, ledger: Ledger, rule: Rule) -> None:
    """Serve live requests, those with pairs that wait for them first, then swap ahead.

    Where the rule swaps nothing ahead, or the ledger keeps no composites, only the middle remains.
    """
    ahead = rule.ahead_s > 0.0 and len(ledger.leaf) > 0
    if ahead:
        _hand_waiting(world, ledger)
    serve_live(world, ledger, rule)
    if ahead:
        _swap_ahead(world, ledger, rule)


@lean
def _hand_waiting(world: World, ledger: Ledger) -> None:
    """Hand the pairs that wait for requests which start now to them."""
    slot = ledger.now[0].clock
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if ledger.request[request].ahead == 0 or world.request[request].arrival > slot:
            continue
        row = world.request[request].cls
        need, source = 4.0 * world.cls[row].fidelity - 1.0, world.cls[row].a
        position = ledger.node[source].used - 1
        while position >= 0 and ledger.request[request].ahead > 0:
            # The last one held takes the position of one that goes.
            place = ledger.held[source, position]
            position -= 1
            if ledger.pair[place].owner != request:
                continue
            state_of(world, ledger, place, ledger.product[0], ledger.product[1])
            if ledger.request[request].left > 0 and ledger.product[1].sum() >= need - 1e-12:
                hand_over(world, ledger, request, place)
            else:
                discard(world, ledger, place)


@lean
def _swap_ahead(world: World, ledger: Ledger, rule: Rule) -> None:
    """Swap chains for requests that start soon, as long as there are good ones."""
    slot, heard = ledger.now[0].clock, -1
    last = slot + int(rule.ahead_s / world.slot_s)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        start = world.request[request].arrival
        if start <= slot or start > last:
            continue
        row = world.request[request].cls
        a, b = world.cls[row].a, world.cls[row].b
        if len(ledger.ghost) > 0:
            heard = listen(world, ledger, request, heard)
        while ledger.request[request].left > ledger.request[request].ahead:
            if not opens(world, ledger, a, b):
                break
            length = find_path(world, ledger, rule, row, 0, STOCK, CLOSED)
            # A pair of neighbours is there as it is.
            if length < 2:
                break
            if not _choose_lasting(world, ledger, rule, row, start, length):
                break
            if heard >= 0 and fails(ledger, heard, length):
                break
            if not _join_chain(world, ledger, rule, request, heard, length):
                break
    if heard >= 0:
        show(world, ledger)


@lean
def _choose_lasting(
    world: World, ledger: Ledger, rule: Rule, row: int, start: int, length: int
) -> bool:
    """Turn the links in ``ledger.chain`` into stored pairs that will do in slot ``start``.

    Of every link the oldest that will not be dropped until then or, if those together are not
    good enough, the youngest. False where they are not either, or a node would keep too little.
    """
    links, pairs, chain = ledger.link, ledger.pair, ledger.chain
    node = world.cls[row].b
    for back in range(length - 1):
        ends = world.link[chain[back]]
        node = ends.a if ends.b == node else ends.b
        left = ledger.node[node].swap_tokens - 1.0
        if left < rule.spare * world.node[node].bucket - 1.0:
            return False
    for back in range(length):
        place = links[chain[back]].oldest
        while place >= 0 and pairs[place].old + world.cutoff < start:
            place = pairs[place].younger if place != links[chain[back]].youngest else -1
        if place < 0:
            return False
        ledger.held_chain[back] = place
    if not _lasts(world, ledger, row, start, length):
        for back in range(length):
            ledger.held_chain[back] = links[chain[back]].youngest
        if not _lasts(world, ledger, row, start, length):
            return False
    for back in range(length):
        chain[back] = ledger.held_chain[back]
    return True


@lean
def _lasts(world: World, ledger: Ledger, row: int, start: int, length: int) -> bool:
    """Tell whether pairs swapped now are believed to be good enough in slot ``start``."""
    total, slot = 0.0, ledger.now[0].clock
    for axis in range(3):
        value = 1.0
        for back in range(length):
            pair = ledger.pair[ledger.held_chain[back]]
            link = ledger.link[pair.link]
            now = slot - pair.birth
            # Only the qubits at the two ends go on waiting.
            left = start - pair.birth if back == length - 1 else now
            right = start - pair.birth if back == 0 else now
            fresh = link.belief[axis] if pair.spent < 0 else pair.belief[axis]
            value *= value_after(fresh, axis, world.decay[left], world.decay[right])
            if back > 0:
                value *= world.swap_xyz[axis]
        total += value
    return total >= 4.0 * world.cls[row].fidelity - 1.0


@lean
def _join_chain(
    world: World, ledger: Ledger, rule: Rule, request: int, heard: int, length: int
) -> bool:
    """Swap the pairs in ``ledger.chain`` into one that waits for the request; False: it failed."""
    pairs, chain = ledger.pair, ledger.chain
    node = world.cls[world.request[request].cls].b
    if heard >= 0:
        for back in range(length):
            remember(ledger, chain[back], heard)
    place, whole = chain[0], True
    for back in range(1, length):
        before = pairs[place].u if pairs[place].v == node else pairs[place].v
        place = join(world, ledger, before, place, chain[back])
        price_node(
            ledger.node[before], world.node[before].bucket, rule.bucket, rule.inverse
        )
        if place < 0:
            whole = False
            break
    if whole:
        pairs[place].owner = request
        ledger.request[request].ahead += 1
    return whole

"""Serving, and swapping ahead: announced requests get whole pairs before they start.

A swap token that comes while a bucket is full is lost, and a request with a short deadline finds
few of them. So what live requests leave over, stored pairs and swap tokens, goes to requests that
are known and start soon: a chain is swapped, the memories between its ends are free again, and the
pair waits at both ends for a request of its class. Only pairs that will be there and good enough
when the request starts are swapped; one that is not good enough after all is dropped.
"""

from quantum.kernels import lean
from quantum.ledger.acts import discard, hand_over, join, state_of
from quantum.ledger.fans import begin_spending
from quantum.ledger.heard import fails, listen_for, remember, show
from quantum.ledger.leaves import value_after
from quantum.ledger.paths import find_stored
from quantum.ledger.prices import CLOSED, price_node
from quantum.ledger.serve import serve_live
from quantum.ledger.shares import begin_ready, missing
from quantum.ledger.state import Ints, Ledger, Rule, World

__all__ = ["serve"]

#: Rounding that a fidelity computed in another order may have.
_ROUNDING = 1e-12


@lean
def serve(world: World, ledger: Ledger, rule: Rule) -> None:
    """Serve live requests, first with the pairs that wait for them, then swap ahead.

    Where the rule swaps nothing ahead, or the ledger keeps no composites, that is
    :func:`~quantum.ledger.serve.serve_live` alone.
    """
    ahead = rule.ahead_s > 0.0 and len(ledger.leaf) > 0
    if ahead:
        _hand_waiting(world, ledger)
    serve_live(world, ledger, rule)
    if ahead:
        _swap_ahead(world, ledger, rule)


@lean
def _hand_waiting(world: World, ledger: Ledger) -> None:
    """Hand the pairs that wait for a class to its requests that have started."""
    slot = ledger.now[0].clock
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        wish = world.request[request]
        if ledger.ready[wish.cls].pairs == 0 or wish.arrival > slot or wish.deadline < slot:
            continue
        need, source = 4.0 * world.cls[wish.cls].fidelity - 1.0, world.cls[wish.cls].a
        truth, hope = ledger.product[0], ledger.product[1]
        # When a pair goes, the last one held takes its position: backwards, none is passed over.
        position = ledger.node[source].used - 1
        while position >= 0 and ledger.request[request].left > 0:
            place = ledger.held[source, position]
            position -= 1
            if ledger.pair[place].owner != wish.cls:
                continue
            state_of(world, ledger, place, truth, hope)
            if hope.sum() >= need - _ROUNDING:
                hand_over(world, ledger, request, place)
            else:
                discard(world, ledger, place)


@lean
def _swap_ahead(world: World, ledger: Ledger, rule: Rule) -> None:
    """Swap chains for the requests that start soon, in the order in which they became known."""
    slot, heard, since = ledger.now[0].clock, -1, begin_spending(world, ledger)
    last = slot + int(rule.ahead_s / world.slot_s)
    begin_ready(ledger)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        start, row = world.request[request].arrival, world.request[request].cls
        if start <= slot or start > last:
            continue
        most = missing(ledger, row, ledger.request[request].left)
        if most > 0 and len(ledger.ghost) > 0:
            before, heard = heard, listen_for(world, ledger, row, heard)
            if heard != before:
                since = begin_spending(world, ledger)
        _swap_for(world, ledger, rule, row, start, most, heard, since)
    if heard >= 0:
        show(world, ledger)


@lean
def _swap_for(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    start: int,
    most: int,
    heard: int,
    since: int,
) -> None:
    """Swap up to ``most`` chains that will do for a class in slot ``start``."""
    for _ in range(most):
        length = find_stored(world, ledger, rule, row, CLOSED, since)
        # A pair of neighbours is there as it is.
        if length < 2 or not _choose_lasting(world, ledger, row, start, length):
            return
        if heard >= 0 and fails(ledger, heard, length):
            return
        if not _join_chain(world, ledger, rule, row, heard, length):
            return


@lean
def _choose_lasting(world: World, ledger: Ledger, row: int, start: int, length: int) -> bool:
    """Turn the links in ``ledger.chain`` into stored pairs that will do in slot ``start``.

    Of every link the oldest that the cutoff leaves there until then or, if those together are not
    good enough, the youngest. False where these are not either.
    """
    links, pairs, chain, lasting = ledger.link, ledger.pair, ledger.chain, ledger.lasting
    for back in range(length):
        place, youngest = links[chain[back]].oldest, links[chain[back]].youngest
        while place != youngest and pairs[place].old + world.cutoff < start:
            place = pairs[place].younger
        if pairs[place].old + world.cutoff < start:
            return False
        lasting[back] = place
    if not _lasts(world, ledger, row, start, lasting, length):
        for back in range(length):
            lasting[back] = links[chain[back]].youngest
        if not _lasts(world, ledger, row, start, lasting, length):
            return False
    for back in range(length):
        chain[back] = lasting[back]
    return True


@lean
def _lasts(world: World, ledger: Ledger, row: int, start: int, places: Ints, length: int) -> bool:
    """Tell whether stored pairs that are swapped now are believed to be good enough at ``start``.

    ``places`` from the destination to the source; only the two qubits at the ends go on waiting.
    """
    total, slot = 0.0, ledger.now[0].clock
    for axis in range(3):
        value = 1.0
        for back in range(length):
            pair = ledger.pair[places[back]]
            fresh = pair.belief[axis]
            if pair.spent < 0:
                fresh = ledger.link[pair.link].belief[axis]
            source = world.decay[(start if back == length - 1 else slot) - pair.birth]
            target = world.decay[(start if back == 0 else slot) - pair.birth]
            value *= value_after(fresh, axis, source, target)
            if back > 0:
                value *= world.swap_xyz[axis]
        total += value
    return total >= 4.0 * world.cls[row].fidelity - 1.0


@lean
def _join_chain(
    world: World, ledger: Ledger, rule: Rule, row: int, heard: int, length: int
) -> bool:
    """Swap the pairs in ``ledger.chain`` into one that waits for a class; False: a swap failed."""
    pairs, chain, node = ledger.pair, ledger.chain, world.cls[row].b
    if heard >= 0:
        for back in range(length):
            remember(ledger, chain[back], heard)
    place = chain[0]
    for back in range(1, length):
        middle = pairs[place].u if pairs[place].v == node else pairs[place].v
        place = join(world, ledger, middle, place, chain[back])
        price_node(ledger.node[middle], world.node[middle].bucket, rule.bucket, rule.inverse)
        if place < 0:
            return False
    pairs[place].owner = row
    ledger.ready[row].pairs += 1
    return True

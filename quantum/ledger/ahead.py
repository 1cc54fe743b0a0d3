"""Serving, and swapping ahead: some requests get whole pairs before they start.

A swap token that comes while a bucket is full is lost, and a request with a short deadline finds
few of them. So what live requests leave over, stored pairs and swap tokens, goes to requests that
are known and start soon: a chain is swapped, the memories between its ends are free again, and the
pair waits at both ends for a request of its class. Only pairs that will be there and good enough
when the request starts are swapped; one that is not good enough after all is dropped.

Then come requests that are only expected, where a batch is as good as sure. They get no tokens that
could still be of use to others: only chains are swapped whose buckets are nearly full. Their pairs
wait for any class of two nodes, and those that nobody asks for go with the cutoff.
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
#: A swap bucket is nearly full from this share on: its next token may be lost (measured).
_FULL = 0.9


@lean
def serve(world: World, ledger: Ledger, rule: Rule) -> None:
    """Serve live requests, first with the pairs that wait for them, then swap ahead.

    Where the rule swaps nothing ahead, or the ledger keeps no composites, that is
    :func:`~quantum.ledger.serve.serve_live` alone.
    """
    ahead = (rule.ahead_s > 0.0 or rule.sure > 0.0) and len(ledger.leaf) > 0
    if ahead:
        _hand_waiting(world, ledger)
    serve_live(world, ledger, rule)
    if ahead:
        _swap_ahead(world, ledger, rule)


@lean
def _hand_waiting(world: World, ledger: Ledger) -> None:
    """Hand the pairs that wait for a class, or for its two nodes, to requests that have started."""
    slot = ledger.now[0].clock
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        wish = world.request[request]
        alike = len(world.cls) + world.cls[wish.cls].first
        if ledger.ready[wish.cls].pairs == 0 and ledger.ready[alike].pairs == 0:
            continue
        if wish.arrival > slot or wish.deadline < slot:
            continue
        need, source = 4.0 * world.cls[wish.cls].fidelity - 1.0, world.cls[wish.cls].a
        truth, hope = ledger.product[0], ledger.product[1]
        # When a pair goes, the last one held takes its position: backwards, none is passed over.
        position = ledger.node[source].used - 1
        while position >= 0 and ledger.request[request].left > 0:
            place = ledger.held[source, position]
            position -= 1
            owner = ledger.pair[place].owner
            if owner != wish.cls and owner != alike:
                continue
            state_of(world, ledger, place, truth, hope)
            if hope.sum() >= need - _ROUNDING:
                hand_over(world, ledger, request, place)
            elif owner == wish.cls:
                discard(world, ledger, place)


@lean
def _swap_ahead(world: World, ledger: Ledger, rule: Rule) -> None:
    """Swap chains for the requests that start soon, in the order in which they became known.

    Then for those that are expected, the surest first.
    """
    slot, heard, since = ledger.now[0].clock, -1, begin_spending(world, ledger)
    last = slot + int(rule.ahead_s / world.slot_s)
    begin_ready(ledger)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        start, row = world.request[request].arrival, world.request[request].cls
        if start <= slot or start > last:
            continue
        most = missing(world, ledger, row, ledger.request[request].left)
        heard, since = _hear(world, ledger, row, most, heard, since)
        _swap_for(world, ledger, rule, row, row, start, most, heard, since)
    start = slot + int(rule.horizon_s / world.slot_s + 0.5)
    for index in range(ledger.now[0].soon):
        row = ledger.ready[index].row
        most = missing(world, ledger, row, ledger.ready[index].soon)
        heard, since = _hear(world, ledger, row, most, heard, since)
        alike = len(world.cls) + world.cls[row].first
        _swap_for(world, ledger, rule, row, alike, start, most, heard, since)
    if heard >= 0:
        show(world, ledger)


@lean
def _hear(
    world: World, ledger: Ledger, row: int, most: int, heard: int, since: int
) -> tuple[int, int]:
    """Let the queues be what the source of a class has heard of, where ``most`` pairs are missing.

    Returns whose they are, and the mark from which searches are of what he knows.
    """
    if most > 0 and len(ledger.ghost) > 0:
        before, heard = heard, listen_for(world, ledger, row, heard)
        if heard != before:
            since = begin_spending(world, ledger)
    return heard, since


@lean
def _swap_for(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    owner: int,
    start: int,
    most: int,
    heard: int,
    since: int,
) -> None:
    """Swap up to ``most`` chains that will do for a class in slot ``start``.

    They wait for ``owner``, the class or its two nodes, for whom only nearly full buckets give.
    """
    for _ in range(most):
        length = find_stored(world, ledger, rule, row, CLOSED, since)
        # A pair of neighbours is there as it is.
        if length < 2 or (owner != row and not _is_full(world, ledger, row, length)):
            return
        if not _choose_lasting(world, ledger, row, start, length):
            return
        if heard >= 0 and fails(ledger, heard, length):
            return
        if not _join_chain(world, ledger, rule, row, owner, heard, length):
            return


@lean
def _is_full(world: World, ledger: Ledger, row: int, length: int) -> bool:
    """Tell whether every swap bucket along the links in ``ledger.chain`` is nearly full."""
    node = world.cls[row].b
    for back in range(length - 1):
        ends = world.link[ledger.chain[back]]
        node = ends.a if ends.b == node else ends.b
        if ledger.node[node].swap_tokens < _FULL * ledger.node[node].bucket:
            return False
    return True


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
    world: World, ledger: Ledger, rule: Rule, row: int, owner: int, heard: int, length: int
) -> bool:
    """Swap the pairs in ``ledger.chain`` into one that waits for ``owner``; False: one failed."""
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
    pairs[place].owner = owner
    ledger.ready[owner].pairs += 1
    return True

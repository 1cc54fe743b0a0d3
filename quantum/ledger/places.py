"""Stored pairs: putting them into memory, taking them out, and what they are worth now."""

import numpy as np

from quantum.kernels import Table, kernel, lean, small
from quantum.ledger.fans import enter, leave
from quantum.ledger.leaves import is_whole, leaves_of, swaps_fit
from quantum.ledger.state import DROPPED, SWAPS, Ints, Ledger, World

__all__ = [
    "believed_now",
    "drop_expired",
    "is_sound",
    "put",
    "step_out",
    "store",
    "take",
    "unlink",
    "value_now",
]


@lean
def put(world: World, ledger: Ledger, link: int, maker: int) -> int:
    """Store a fresh pair of a link; both ends must have a free qubit. Returns its place."""
    clock = ledger.now[0].clock
    place = store(ledger, world.link[link].a, world.link[link].b, clock, link)
    pair = ledger.pair[place]
    pair.maker = maker
    block = min(clock // world.truth_slots, world.truth.shape[0] - 1)
    for axis in range(3):
        pair.truth[axis] = world.truth[block, link, axis]
    return place


@lean
def store(ledger: Ledger, u: int, v: int, birth: int, link: int) -> int:
    """Take a free place for a pair between two nodes that have a free qubit each; return it."""
    now, nodes, held = ledger.now[0], ledger.node, ledger.held
    now.free -= 1
    place = ledger.pair[now.free].free
    pair = ledger.pair[place]
    pair.u, pair.v, pair.birth, pair.old, pair.link, pair.spent = u, v, birth, birth, link, -1
    pair.owner = -1
    held[u, nodes[u].used] = place
    held[v, nodes[v].used] = place
    nodes[u].used += 1
    nodes[v].used += 1
    if link >= 0:
        _line_up(ledger.link[link], ledger.pair, place)
        if ledger.link[link].stock == 1:
            enter(ledger, u, v, link)
    _join_twins(ledger.ring, ledger.pair, place)
    return place


@lean
def take(ledger: Ledger, place: int) -> None:
    """Remove a stored pair from both memories."""
    pair, now = ledger.pair[place], ledger.now[0]
    _let_go(ledger.node, ledger.held, pair.u, place)
    _let_go(ledger.node, ledger.held, pair.v, place)
    if pair.link >= 0:
        if pair.spent < 0:
            step_out(ledger, pair.link, place)
        else:
            ledger.link[pair.link].refined -= 1
    if pair.owner >= 0:
        ledger.ready[pair.owner].pairs -= 1
    _leave_twins(ledger.ring, ledger.pair, place)
    pair.u = -1
    ledger.pair[now.free].free = place
    now.free += 1


@small
def _line_up(link: Table, pairs: Table, place: int) -> None:
    """Put a fresh pair at the young end of the queue of its link."""
    pairs[place].older, pairs[place].younger = link.youngest, -1
    link.last = pairs[place].birth
    if link.youngest >= 0:
        pairs[link.youngest].younger = place
    else:
        link.oldest, link.first = place, link.last
    link.youngest = place
    link.stock += 1
    link.priced = -1


@lean
def step_out(ledger: Ledger, number: int, place: int) -> None:
    """Take a pair out of the queue of its link, of which the young end may be hidden."""
    link, pairs = ledger.link[number], ledger.pair
    if ledger.now[0].hidden == 0:
        unlink(link, pairs, place)
        if link.stock == 0:
            leave(ledger, pairs[place].u, pairs[place].v, number)
        return
    whole, pair = ledger.behind[number], pairs[place]
    if link.youngest >= 0 and pair.birth <= link.last:
        unlink(link, pairs, place)
    else:
        if pair.older >= 0:
            pairs[pair.older].younger = pair.younger
        if pair.younger >= 0:
            pairs[pair.younger].older = pair.older
    if place == whole.oldest:
        whole.oldest = pair.younger
    if place == whole.youngest:
        whole.youngest = pair.older
    whole.stock -= 1


@small
def unlink(link: Table, pairs: Table, place: int) -> None:
    """Take a pair out of what is shown of the queue of its link."""
    older, younger = pairs[place].older, pairs[place].younger
    only = place == link.oldest and place == link.youngest
    if older >= 0:
        pairs[older].younger = younger
        if place == link.youngest:
            link.last = pairs[older].birth
    if younger >= 0:
        pairs[younger].older = older
        if place == link.oldest:
            link.first = pairs[younger].birth
    if place == link.oldest:
        link.oldest = -1 if only else younger
    if place == link.youngest:
        link.youngest = older
    link.stock -= 1
    link.priced = -1


@small
def _join_twins(ring: Ints, pairs: Table, place: int) -> None:
    """Add a pair to those of its slot of birth, which expire together."""
    spot = pairs[place].old % len(ring)
    pairs[place].before, pairs[place].after = -1, ring[spot]
    if ring[spot] >= 0:
        pairs[ring[spot]].before = place
    ring[spot] = place


@small
def _leave_twins(ring: Ints, pairs: Table, place: int) -> None:
    before, after = pairs[place].before, pairs[place].after
    if before >= 0:
        pairs[before].after = after
    else:
        ring[pairs[place].old % len(ring)] = after
    if after >= 0:
        pairs[after].before = before


@small
def _let_go(nodes: Table, held: Ints, node: int, place: int) -> None:
    """Take a pair out of one memory; the last one held takes its position."""
    last = nodes[node].used - 1
    position = last
    while held[node, position] != place:
        position -= 1
    held[node, position] = held[node, last]
    nodes[node].used = last


@small
def value_now(fresh: float, axis: int, decay: Table) -> float:
    """Decay one correlator of a link pair that waited at both ends (``decay``: a row of the table).

    T2 acts on xx and yy; T1 relaxes both qubits to the ground state, which is even in zz:
    c_zz -> (1 - g)^2 c_zz + g^2 with g = 1 - exp(-t / T1).
    """
    if axis == 2:
        return fresh * decay.zz + decay.shift
    return fresh * decay.xy


@small
def believed_now(link: Table, pair: Table, axis: int, decay: Table) -> float:
    """Decay what controllers believe of a correlator of a stored link pair."""
    fresh = link.belief[axis] if pair.spent < 0 else pair.belief[axis]
    return value_now(fresh, axis, decay)


@lean
def drop_expired(world: World, ledger: Ledger) -> None:
    """Drop every pair older than the cutoff."""
    now, ring = ledger.now[0], ledger.ring
    stop = now.clock - world.cutoff
    for birth in range(max(now.swept, stop - len(ring)), stop):
        while ring[birth % len(ring)] >= 0:
            ledger.totals[DROPPED] += leaves_of(ledger, ring[birth % len(ring)])
            take(ledger, ring[birth % len(ring)])
    now.swept = max(now.swept, stop)


@kernel
def is_sound(world: World, ledger: Ledger) -> bool:
    """Check conservation (used by tests and replay).

    Places, qubits, stock, swap buckets, the leaves of composites, and swap tokens spent.
    """
    alive = 0
    swapped = 0
    stock, refined = np.zeros(world.m, dtype=np.int64), np.zeros(world.m, dtype=np.int64)
    for place in range(len(ledger.pair)):
        if ledger.pair[place].u >= 0:
            alive += 1
            if ledger.pair[place].link >= 0 and ledger.pair[place].spent >= 0:
                refined[ledger.pair[place].link] += 1
            elif ledger.pair[place].link >= 0:
                stock[ledger.pair[place].link] += 1
            elif is_whole(world, ledger, place):
                swapped += ledger.leaves[place] - 1
            else:
                return False
    if not swaps_fit(world, ledger, swapped, ledger.totals[SWAPS]):
        return False
    if alive + ledger.now[0].free != len(ledger.pair) - len(ledger.ghost):
        return False
    used = 0
    for node in range(world.n):
        used += ledger.node[node].used
        if ledger.node[node].used > world.node[node].qubits or ledger.node[node].used < 0:
            return False
        if (
            ledger.node[node].swap_tokens < -1e-9
            or ledger.node[node].swap_tokens > world.node[node].bucket + 1e-9
        ):
            return False
    if used != 2 * alive:
        return False
    return bool(np.all(stock == ledger.link.stock) and np.all(refined == ledger.link.refined))

"""Stored pairs: putting them into memory, taking them out, and what they are worth now."""

import numpy as np

from quantum.kernels import Table, kernel, small
from quantum.ledger.leaves import is_whole, leaves_of, swaps_fit
from quantum.ledger.state import DROPPED, SWAPS, Ints, Ledger, World

__all__ = ["believed_now", "is_sound", "oldest_of", "put", "store", "take", "value_now"]


@kernel
def put(world: World, ledger: Ledger, link: int, maker: int) -> int:
    """Store a fresh pair of a link; both ends must have a free qubit. Returns its place."""
    clock = ledger.now[0].clock
    place = store(ledger, world.link[link].a, world.link[link].b, clock, link)
    pair = ledger.pair[place]
    pair.maker = maker
    block = min(clock // world.truth_slots, world.truth.shape[0] - 1)
    for axis in range(3):
        pair.truth[axis] = world.truth[block, link, axis]
    ledger.link[link].stock += 1
    return place


@kernel
def store(ledger: Ledger, u: int, v: int, birth: int, link: int) -> int:
    """Take a free place for a pair between two nodes that have a free qubit each; return it."""
    now, nodes, held = ledger.now[0], ledger.node, ledger.held
    now.free -= 1
    place = ledger.pair[now.free].free
    pair = ledger.pair[place]
    pair.u, pair.v, pair.birth, pair.old, pair.link, pair.spent = u, v, birth, birth, link, -1
    held[u, nodes[u].used] = place
    held[v, nodes[v].used] = place
    nodes[u].used += 1
    nodes[v].used += 1
    return place


@kernel
def take(ledger: Ledger, place: int) -> None:
    """Remove a stored pair from both memories."""
    pair, now = ledger.pair[place], ledger.now[0]
    _let_go(ledger.node, ledger.held, pair.u, place)
    _let_go(ledger.node, ledger.held, pair.v, place)
    if pair.link >= 0:
        if pair.spent < 0:
            ledger.link[pair.link].stock -= 1
        else:
            ledger.link[pair.link].refined -= 1
    pair.u = -1
    ledger.pair[now.free].free = place
    now.free += 1


@kernel
def _let_go(nodes: Table, held: Ints, node: int, place: int) -> None:
    last = nodes[node].used - 1
    for position in range(last + 1):
        if held[node, position] == place:
            held[node, position] = held[node, last]
            nodes[node].used = last
            return


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


@small
def oldest_of(pairs: Table, held: Ints, fill: int, link: int) -> int:
    """Return the place of the oldest pair of a link among those a node holds, -1 if none."""
    found = -1
    for position in range(fill):
        place = held[position]
        if pairs[place].link == link and (found < 0 or pairs[place].birth < pairs[found].birth):
            found = place
    return found


@kernel
def drop_expired(world: World, ledger: Ledger) -> None:
    """Drop every pair older than the cutoff."""
    pairs, oldest = ledger.pair, ledger.now[0].clock - world.cutoff
    for place in range(len(pairs)):
        if pairs[place].u >= 0 and pairs[place].old < oldest:
            ledger.totals[DROPPED] += leaves_of(ledger, place)
            take(ledger, place)


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
    if alive + ledger.now[0].free != len(ledger.pair):
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

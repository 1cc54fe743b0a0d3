"""Stored pairs: putting them into memory, taking them out, and what they are worth now."""

import numpy as np

from quantum.kernels import Table, kernel, small
from quantum.ledger.state import DROPPED, Ints, Ledger, World

__all__ = ["is_sound", "oldest_of", "put", "take", "value_now"]


@kernel
def put(world: World, ledger: Ledger, link: int, maker: int) -> int:
    """Store a fresh pair of a link; both ends must have a free qubit. Returns its place."""
    now, nodes, held = ledger.now[0], ledger.node, ledger.held
    now.free -= 1
    place = ledger.pair[now.free].free
    pair = ledger.pair[place]
    block = min(now.clock // world.truth_slots, world.truth.shape[0] - 1)
    pair.u, pair.v = world.link[link].a, world.link[link].b
    pair.birth, pair.old, pair.link, pair.maker = now.clock, now.clock, link, maker
    pair.spent = -1
    for axis in range(3):
        pair.truth[axis] = world.truth[block, link, axis]
    held[pair.u, nodes[pair.u].used] = place
    held[pair.v, nodes[pair.v].used] = place
    nodes[pair.u].used += 1
    nodes[pair.v].used += 1
    ledger.link[link].stock += 1
    return place


@kernel
def take(ledger: Ledger, place: int) -> None:
    """Remove a stored pair from both memories."""
    pair, now = ledger.pair[place], ledger.now[0]
    _let_go(ledger.node, ledger.held, pair.u, place)
    _let_go(ledger.node, ledger.held, pair.v, place)
    link = ledger.link[pair.link]
    link.stock -= 1
    if pair.spent >= 0:
        link.refined -= 1
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
            take(ledger, place)
            ledger.totals[DROPPED] += 1


@kernel
def is_sound(world: World, ledger: Ledger) -> bool:
    """Check conservation: places, qubits, stock and swap buckets (used by tests and replay)."""
    alive = 0
    stock = np.zeros(world.m, dtype=np.int64)
    for place in range(len(ledger.pair)):
        if ledger.pair[place].u >= 0:
            alive += 1
            stock[ledger.pair[place].link] += 1
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
    return bool(np.all(stock == ledger.link.stock))

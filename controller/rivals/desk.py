"""What an allocator that swaps ahead writes on while it plays: the path of one request.

Of one slot the next remembers the routes of requests only.
"""

from typing import NamedTuple

import numpy as np

from quantum.kernels import lean
from quantum.ledger.acts import state_of
from quantum.ledger.state import MAX_HOPS, Floats, Ints, Ledger, World

__all__ = ["Desk", "clear", "fits", "lay_out", "new_desk"]


class Desk(NamedTuple):
    """Scratch arrays; H + 1 positions of a path, P places, n nodes."""

    route: Ints  # (R, H) links of the path of each request, source first, -1 padded
    where: Ints  # (n,) position on the path, -1 elsewhere
    path: Ints  # (H + 1,) nodes from the source on
    via: Ints  # (H,) links
    before: Floats  # (H + 1, 3) believed fresh correlators of the path up to a position
    after: Floats  # (H + 1, 3) and from a position on
    cover: Ints  # (H,) composites over each link of the path
    cross: Ints  # (H + 1,) composites that lead past each position
    owner: Ints  # (P,) mark of the request that took the pair, see ``taken``
    truth: Floats  # (3,)
    hope: Floats  # (3,)
    joined: Floats  # (3,)


def new_desk(world: World, places: int) -> Desk:
    """Return a clean desk for a ledger with so many places."""
    return Desk(
        route=np.full((len(world.request), MAX_HOPS), -1, dtype=np.int64),
        where=np.full(world.n, -1, dtype=np.int64),
        path=np.zeros(MAX_HOPS + 1, dtype=np.int64),
        via=np.zeros(MAX_HOPS, dtype=np.int64),
        before=np.ones((MAX_HOPS + 1, 3)),
        after=np.ones((MAX_HOPS + 1, 3)),
        cover=np.zeros(MAX_HOPS, dtype=np.int64),
        cross=np.zeros(MAX_HOPS + 1, dtype=np.int64),
        owner=np.full(places, -1, dtype=np.int64),
        truth=np.zeros(3),
        hope=np.zeros(3),
        joined=np.zeros(3),
    )


@lean
def lay_out(world: World, ledger: Ledger, desk: Desk, request: int) -> int:
    """Lay out the path of a request; return its hops, 0 where there is none.

    Take it off with :func:`clear` before the next one.
    """
    hops, node = 0, world.cls[world.request[request].cls].a
    desk.path[0] = node
    while hops < MAX_HOPS and desk.route[request, hops] >= 0:
        link = desk.route[request, hops]
        node = world.link[link].b if world.link[link].a == node else world.link[link].a
        desk.via[hops] = link
        hops += 1
        desk.path[hops] = node
    for position in range(hops + 1):
        desk.where[desk.path[position]] = position
    for axis in range(3):
        value = 1.0
        for position in range(hops):
            desk.before[position, axis] = value
            value *= ledger.link[desk.via[position]].belief[axis] * world.swap_xyz[axis]
        value = 1.0
        for position in range(hops, 0, -1):
            desk.after[position, axis] = value
            value *= ledger.link[desk.via[position - 1]].belief[axis] * world.swap_xyz[axis]
    return hops


@lean
def clear(desk: Desk, hops: int) -> None:
    """Take a path of so many hops off the desk."""
    for position in range(hops + 1):
        desk.where[desk.path[position]] = -1


@lean
def fits(world: World, ledger: Ledger, desk: Desk, place: int, row: int) -> bool:
    """Tell whether a stored pair between two nodes of the path can still become what is asked.

    With fresh pairs on the rest of the path; an optimist's view, and one that only nodes of the
    path need.
    """
    pair = ledger.pair[place]
    p, q = desk.where[pair.u], desk.where[pair.v]
    if p > q:
        p, q = q, p
    state_of(world, ledger, place, desk.truth, desk.hope)
    total = 0.0
    for axis in range(3):
        total += desk.before[p, axis] * desk.hope[axis] * desk.after[q, axis]
    return bool(total >= 4.0 * world.cls[row].fidelity - 1.0 - 1e-12)

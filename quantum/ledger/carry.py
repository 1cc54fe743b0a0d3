"""Carrying stored pairs over from one ledger into another, of a network that was changed.

Of link pairs as they were made: no composites, and none that was distilled.
"""

from quantum.kernels import Table, lean
from quantum.ledger.places import store
from quantum.ledger.state import Ints, Ledger

__all__ = ["carry_pairs"]


@lean
def carry_pairs(pairs: Table, order: Ints, node_of: Ints, link_of: Ints, ledger: Ledger) -> None:
    """Store the pairs at the places ``order`` of another ledger, the oldest first.

    ``node_of`` and ``link_of`` give the new numbers of nodes and links. Memories must have room.
    """
    for index in range(len(order)):
        old = pairs[order[index]]
        u, v = node_of[old.u], node_of[old.v]
        place = store(ledger, u, v, old.birth, link_of[old.link])
        pair = ledger.pair[place]
        pair.maker = node_of[old.maker]
        for axis in range(3):
            pair.truth[axis] = old.truth[axis]

"""What a node sees: itself, its links, and its neighbours one hop away."""

import numpy as np

from quantum.kernels import kernel, lean
from quantum.ledger.state import RAW, Floats, Ints, Ledger, World

__all__ = [
    "FORECAST",
    "OLDEST",
    "OPEN",
    "PEER_BUCKET",
    "PEER_FILL",
    "STOCK",
    "WANTED",
    "gather",
    "note_past",
    "observe",
]

#: Columns of a view, one row for each incident link.
STOCK = 0  # stored pairs of the link
WANTED = 1  # pairs that live requests need on it
PEER_FILL = 2  # share of the neighbour's memory in use
PEER_BUCKET = 3  # share of the neighbour's swap bucket that is full
OLDEST = 4  # age of the oldest pair over the cutoff
FORECAST = 5  # pairs that requests want on it which are expected to come soon
OPEN = 6  # 1 where the link can make pairs


@lean
def observe(world: World, ledger: Ledger, node: int, view: Floats) -> None:
    """Write what ``node`` sees into ``view`` (K, 7), in as many rows as it has links."""
    nodes, links = ledger.node, ledger.link
    degree, slot = world.node[node].degree, ledger.now[0].clock
    for k in range(degree):
        peer, link = nodes[world.inc_node[node, k]], links[world.inc_link[node, k]]
        view[k, STOCK] = link.stock + 2.0 * link.refined
        view[k, WANTED] = link.wanted
        view[k, PEER_FILL] = peer.used / max(1, peer.qubits)
        view[k, PEER_BUCKET] = peer.swap_tokens / peer.bucket
        view[k, FORECAST] = link.forecast
        view[k, OPEN] = link.open
        view[k, OLDEST] = 0.0
        if link.stock > 0:
            view[k, OLDEST] = (slot - link.first) / world.cutoff
    if len(ledger.past) > 0:
        _look_back(world, ledger, node, view)


@lean
def _look_back(world: World, ledger: Ledger, node: int, view: Floats) -> None:
    """Write how the neighbours were when the light left them that the node sees now."""
    fixed, slot = world.node, ledger.now[0].clock
    for k in range(fixed[node].degree):
        peer = world.inc_node[node, k]
        past = ledger.past[(slot - world.peer_age[node, k]) % len(ledger.past), peer]
        view[k, PEER_FILL] = past.used / max(1, fixed[peer].qubits)
        view[k, PEER_BUCKET] = past.tokens / fixed[peer].bucket


@lean
def note_past(world: World, ledger: Ledger) -> None:
    """Keep what neighbours far away will see, where there are any; once in a slot."""
    if len(ledger.past) > 0:
        rows = ledger.past[ledger.now[0].clock % len(ledger.past)]
        for node in range(world.n):
            spot = ledger.node[node]
            rows[node].used, rows[node].tokens = spot.used, spot.swap_tokens


@kernel
def gather(
    world: World, ledger: Ledger, nodes: Ints, yielding: bool
) -> tuple[Ints, Ints, Ints, Floats]:
    """Collect what those of ``nodes`` see that have something to decide.

    Returns (nodes (B,), tokens (B,), fill (B,), views (B, K, 7)). A node is in it if it has a token
    or, with ``yielding``, if its memory is crowded.
    """
    found = np.empty(len(nodes), dtype=np.int64)
    size = 0
    for node in nodes:
        spot = ledger.node[node]
        if spot.tokens > 0 or (yielding and spot.used >= world.node[node].qubits - 1):
            found[size] = node
            size += 1
    tokens, fill = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
    views = np.zeros((size, world.inc_link.shape[1], RAW))
    for row in range(size):
        tokens[row], fill[row] = ledger.node[found[row]].tokens, ledger.node[found[row]].used
        observe(world, ledger, found[row], views[row])
    return found[:size], tokens, fill, views

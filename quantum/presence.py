"""What of a changing network is there in a stretch of slots; the bound counts with it."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum.changes import Changes
from quantum.network import Network

__all__ = ["Presence", "presence"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Presence:
    """What is there in the slots [first, stop).

    ``away`` (S, 3): a node, and the slots [from, to) for which it is away. ``slots`` (n,): how many
    slots each node is there. ``buckets`` (n,): how often it has a full swap bucket of its own: once
    if it is there in the first slot, and each time it joins later. ``opened`` (m,): links that can
    make pairs in at least one slot.
    """

    away: Ints
    slots: Ints
    buckets: Ints
    opened: Bools


def presence(
    changes: Changes, network: Network, *, slot_s: float, first: int, stop: int
) -> Presence:
    """Follow the changes of a network through the slots [first, stop).

    >>> from quantum.changes import Changes
    >>> from quantum.topology import load_topology
    >>> import numpy as np
    >>> gone = Changes(np.array([0.1, 0.5]), np.array([True] * 2), np.array([0, 0]),
    ...                np.array([False, True]))
    >>> here = presence(gone, load_topology("line-2", seed=0), slot_s=0.02, first=0, stop=50)
    >>> here.away.tolist(), here.slots.tolist(), here.buckets.tolist(), here.opened.tolist()
    ([[0, 5, 25]], [30, 50], [2, 1], [True])
    """
    n, m = len(network.nodes), len(network.links)
    incident = network.incidence
    node_up, link_up = np.ones(n, dtype=np.bool_), np.ones(m, dtype=np.bool_)

    def are_open(links: Ints) -> Bools:
        ends = node_up[network.links[links]]
        out: Bools = link_up[links] & ends[:, 0] & ends[:, 1]
        return out

    rows = [
        row
        for row in zip(
            np.maximum(changes.slots(slot_s), first).tolist(),
            changes.node.tolist(),
            changes.index.tolist(),
            changes.up.tolist(),
            strict=True,
        )
        if row[0] < stop
    ]
    # What was before the first slot only matters for what is there in it.
    early = sum(slot == first for slot, *_ in rows)
    for _, is_node, index, up in rows[:early]:
        (node_up if is_node else link_up)[index] = up
    opened, buckets = are_open(np.arange(m)), node_up.astype(np.int64)
    since = np.full(n, first)
    away: list[tuple[int, int, int]] = []
    for slot, group in itertools.groupby(rows[early:], key=lambda row: row[0]):
        touched: set[int] = set()
        for _, is_node, index, up in group:
            if not is_node:
                link_up[index] = up
                touched.add(index)
            elif up != node_up[index]:
                node_up[index] = up
                touched.update(incident.link[index, : incident.degree[index]].tolist())
                if up:
                    buckets[index] += 1
                    away.append((index, int(since[index]), slot))
                else:
                    since[index] = slot
        which = np.array(sorted(touched), dtype=np.int64)
        opened[which] |= are_open(which)
    away += [(node, int(since[node]), stop) for node in np.flatnonzero(~node_up).tolist()]
    gone = np.array(away, dtype=np.int64).reshape(-1, 3)
    slots = np.full(n, stop - first, dtype=np.int64)
    np.subtract.at(slots, gone[:, 0], gone[:, 2] - gone[:, 1])
    return Presence(away=gone, slots=slots, buckets=buckets, opened=opened)

"""What a topology source says about a network; whatever it leaves open is drawn or defaulted later.

A source (shape, file, shipped data) makes a :class:`Layout`. :mod:`quantum.topology` fills the gaps
with the keyed draws and the defaults of the presets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from quantum.errors import InputError
from quantum.program import Gates, Memory

__all__ = ["Layout", "arrange", "pieces", "require_connected"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """n nodes and m links in the order of :class:`quantum.network.Network`.

    ``key`` names the draws of this topology, ``name`` is for people. NaN in ``generation_hz``,
    ``swap_hz`` (n,) or ``populations`` (m, 4), -1 in ``qubits`` (n,) and None elsewhere mean "not
    said".
    """

    key: str
    name: str
    nodes: tuple[str, ...]
    position_km: Floats
    links: Ints
    length_km: Floats
    generation_hz: Floats
    swap_hz: Floats
    qubits: Ints
    populations: Floats
    memory: Memory | None = None
    cutoff_s: float | None = None
    gates: Gates | None = None


def arrange(
    key: str,
    nodes: tuple[str, ...],
    position_km: Floats,
    links: Ints,
    *,
    name: str | None = None,
    length_km: Floats | None = None,
) -> Layout:
    """Return a layout with its links in order and nothing else said.

    A link without a given length is as long as the straight line between its ends.
    """
    links = np.sort(np.asarray(links, dtype=np.int64).reshape(-1, 2), axis=1)
    order = np.lexsort((links[:, 1], links[:, 0]))
    links = links[order]
    if length_km is None:
        length_km = np.linalg.norm(position_km[links[:, 0]] - position_km[links[:, 1]], axis=1)
    else:
        length_km = length_km[order]
    n, m = len(nodes), len(links)
    return Layout(
        key=key,
        name=key if name is None else name,
        nodes=nodes,
        position_km=np.asarray(position_km, dtype=np.float64),
        links=links,
        length_km=np.asarray(length_km, dtype=np.float64),
        generation_hz=np.full(n, np.nan),
        swap_hz=np.full(n, np.nan),
        qubits=np.full(n, -1, dtype=np.int64),
        populations=np.full((m, 4), np.nan),
    )


def pieces(n: int, links: Ints) -> Ints:
    """Return the number of the connected piece of each node, shape (n,).

    >>> pieces(3, np.array([[0, 2]])).tolist()
    [0, 1, 0]
    """
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def require_connected(layout: Layout, where: str) -> Layout:
    """Refuse a network in several pieces; the message names a node that cannot be reached."""
    piece = pieces(len(layout.nodes), layout.links)
    if piece.size and piece.max() > 0:
        main = np.argmax(np.bincount(piece))
        lost = layout.nodes[int(np.flatnonzero(piece != main)[0])]
        raise InputError(
            f"{where}: node {lost!r} cannot be reached from "
            f"{layout.nodes[int(np.flatnonzero(piece == main)[0])]!r}; a network must be connected"
        )
    return layout

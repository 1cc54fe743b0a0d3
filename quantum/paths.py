"""How good the best path between two nodes can be: an upper bound from fresh links.

Correlators multiply along a path whose swaps are ideal, so a path of fresh links cannot give more
than ``F <= (1 + prod |c_xx| + prod |c_yy| + prod |c_zz|) / 4`` (Briegel et al., PRL 81, 5932, 1998,
for Werner states). Storage, gates and readout only take away from it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from quantum import werner
from quantum.bell import correlators, populations
from quantum.network import Network

__all__ = ["best_fidelity", "distilled"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Cost of a hop, far below that of any real loss: perfect links still prefer the shorter path.
_HOP = 1e-12


def best_fidelity(network: Network, sources: Ints, states: Floats | None = None) -> Floats:
    """Return the best fidelity from each source to every node, shape (S, n).

    0 where there is no path, 1 from a node to itself. ``states`` (m, 4) are the populations of the
    links where they are not the network's own. Exact for Werner links. For other Bell-diagonal
    links it is the best of the paths that are best in one basis or in the mean of all three, so it
    never promises more than a path can give.

    >>> from quantum.topology import load_topology
    >>> network = load_topology("line-3", seed=0, fidelity=(1.0, 1.0))
    >>> best_fidelity(network, np.array([0])).round(6).tolist()
    [[1.0, 1.0, 1.0]]
    """
    n = len(network.nodes)
    sources = np.asarray(sources, dtype=np.int64)
    itself = np.arange(n)[None, :] == sources[:, None]
    if not len(network.links) or not len(sources):
        return np.where(itself, 1.0, 0.0)
    signed = np.abs(correlators(network.populations if states is None else states))
    signed = np.minimum(signed, 1.0)
    mean = signed.mean(axis=1)
    if np.abs(signed - mean[:, None]).max() < 1e-12:
        distance = dijkstra(_graph(network, mean), indices=sources)
        return np.where(np.isfinite(distance), (1.0 + 3.0 * np.exp(-distance)) / 4.0, 0.0)
    best = np.where(itself, 1.0, 0.0)
    for weight in (mean, *signed.T):
        distance, before = dijkstra(
            _graph(network, weight), indices=sources, return_predecessors=True
        )
        value = (1.0 + _along(network, signed, before).sum(axis=2)) / 4.0
        best = np.maximum(best, np.where(np.isfinite(distance), value, 0.0))
    return best


def distilled(states: Floats, rounds: int) -> Floats:
    """Return Bell-diagonal states (..., 4) after rounds of ideal DEJMPS on equal pairs.

    >>> distilled(np.array([0.7, 0.1, 0.1, 0.1]), 1).round(4).tolist()
    [0.7353, 0.2059, 0.0294, 0.0294]
    """
    signed = correlators(states)
    for _ in range(rounds):
        signed = werner.dejmps(signed, signed)[0]
    return populations(signed)


def _graph(network: Network, weight: Floats) -> Any:
    """Return the links as a symmetric graph of -log weight."""
    n = len(network.nodes)
    a, b = network.links[:, 0], network.links[:, 1]
    # A link of weight 0 is a link still, only a bad one: its cost must stay finite.
    cost = np.maximum(-np.log(np.maximum(weight, 1e-300)), 0.0) + _HOP
    rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
    return csr_array((np.concatenate([cost, cost]), (rows, columns)), shape=(n, n))


def _along(network: Network, signed: Floats, before: NDArray[np.int32]) -> Floats:
    """Multiply correlators along shortest-path trees given by predecessors (S, n): (S, n, 3)."""
    n = len(network.nodes)
    code = network.links[:, 0] * n + network.links[:, 1]
    rank = np.argsort(code)
    node = np.broadcast_to(np.arange(n), before.shape)
    rooted = before < 0
    jump = np.where(rooted, node, before).astype(np.int64)
    wanted = np.minimum(node, jump) * n + np.maximum(node, jump)
    found = rank[np.minimum(np.searchsorted(code[rank], wanted), len(code) - 1)]
    product = np.where(rooted[..., None], 1.0, signed[found])
    row = np.arange(len(before))[:, None]
    # Pointer doubling: after k rounds every product spans 2^k links.
    while True:
        further = jump[row, jump]
        if np.array_equal(further, jump):
            return product
        product = product * product[row, jump]
        jump = further

"""Real origin-destination traffic of the Abilene network as a shape for demand.

28 days in slots of five minutes, 110 directed pairs of 11 sites; the days are in random order, so a
trace that runs over midnight jumps. Source and licence: ``quantum/data/README.md``.
"""

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from quantum.network import Network

__all__ = ["any_curves", "curves", "fits", "shares"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The sites of the measurement by their names in the Topology Zoo.
_SITES = {
    "Atlanta": "ATLA",
    "Chicago": "CHIN",
    "Denver": "DNVR",
    "Houston": "HSTN",
    "Indianapolis": "IPLS",
    "Kansas City": "KSCY",
    "Los Angeles": "LOSA",
    "New York": "NYCM",
    "Sunnyvale": "SNVA",
    "Seattle": "STTL",
    "Washington DC": "WASH",
}


def fits(network: Network) -> bool:
    """Say whether a network is the Abilene network: its nodes are the sites measured.

    >>> from quantum.topology import load_topology
    >>> fits(load_topology("abilene", seed=0)), fits(load_topology("nsfnet", seed=0))
    (True, False)
    """
    return set(network.nodes) == set(_SITES)


def shares(network: Network, pairs: Ints) -> Floats:
    """Return the mean traffic of node pairs (K, 2) in both directions, (K,)."""
    mean: Floats = _traffic(network, pairs).mean(axis=0)
    return mean


def curves(network: Network, pairs: Ints) -> Floats:
    """Return the traffic of node pairs (K, 2) over their mean, shape (8064 slots, K)."""
    return _relative(_traffic(network, pairs))


def any_curves(rng: np.random.Generator, size: int) -> Floats:
    """Return the traffic of ``size`` drawn directed pairs over their mean, (8064 slots, size)."""
    traffic, names = _load()
    return _relative(traffic[:, rng.integers(len(names), size=size)])


def _traffic(network: Network, pairs: Ints) -> Floats:
    traffic, names = _load()
    column = {name: number for number, name in enumerate(names)}
    site = [_SITES[name] for name in network.nodes]
    ends = [(site[a], site[b]) for a, b in pairs.tolist()]
    there = traffic[:, [column[f"{a}>{b}"] for a, b in ends]]
    back = traffic[:, [column[f"{b}>{a}"] for a, b in ends]]
    both: Floats = there + back
    return both


def _relative(traffic: Floats) -> Floats:
    relative: Floats = traffic / traffic.mean(axis=0)
    return relative


def _load() -> tuple[Floats, list[str]]:
    """Return the traffic (8064 slots, 110) in upstream's units and the names of the columns."""
    # Only plain arrays are in the file; np.load refuses anything else by default.
    path = files("quantum") / "data" / "abilene_od.npz"
    with path.open("rb") as file, np.load(file) as data:
        od, names = data["od"], data["pairs"]
    return od.reshape(-1, od.shape[-1]).astype(np.float64), names.tolist()

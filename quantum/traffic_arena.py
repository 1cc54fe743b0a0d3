"""Which node pairs of a network ask for entanglement, and in what shares: the fixed arena."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum import traffic_abilene as abilene
from quantum.errors import NoDemand
from quantum.network import Network
from quantum.paths import best_fidelity, distilled
from quantum.seeding import generator

__all__ = ["Arena", "arena"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Up to this many nodes every node is looked at for node pairs; beyond, a sample by gravity.
_ALL_SOURCES = 1000


@dataclass(frozen=True, eq=False)
class Arena:
    """K node pairs that ask: ``pairs`` (K, 2), sorted, and ``weights`` (K,), which sum to 1."""

    pairs: Ints
    weights: Floats


def arena(
    network: Network,
    network_seed: int,
    *,
    fidelity: float = 0.85,
    commodities: int = 150,
    distillation_rounds: int = 0,
    real: bool = False,
) -> Arena:
    """Choose the node pairs that ask, by gravity among those that can meet ``fidelity``.

    Every node has a mass (lognormal, sigma 1); pairs are drawn without replacement in proportion to
    the product of their masses, all of them where there are fewer than ``commodities``. A pair can
    meet the fidelity when its best path of fresh links, each distilled that many rounds, does.
    ``real`` takes the shares of the Abilene matrices instead of masses. Beyond 1000 nodes one end
    comes from a sample of the nodes by gravity, so that large networks stay cheap. Raises
    :class:`NoDemand` where no pair of several can.
    """
    n = len(network.nodes)
    if not len(network.links):
        return Arena(np.zeros((0, 2), dtype=np.int64), np.zeros(0))
    rng = generator(network_seed, "demand", network.name, "gravity")
    mass = rng.lognormal(0.0, 1.0, n)
    if n <= _ALL_SOURCES:
        sources = np.arange(n)
        partner = mass
    else:
        size = min(n, max(150, commodities // 10))
        sources = np.sort(rng.choice(n, size, replace=False, p=mass / mass.sum()))
        # Sources were drawn by their mass; counting it again would square it.
        partner = np.ones(n)
    states = distilled(network.populations, distillation_rounds) if distillation_rounds else None
    best = best_fidelity(network, sources, states)
    best[np.arange(len(sources)), sources] = 0.0
    row, other = np.nonzero(best >= fidelity - 1e-9)
    if not len(row):
        raise NoDemand(
            f"no node pair of {network.name} can meet fidelity {fidelity:g}; "
            f"the best is {best.max():.4f}"
        )
    ends = np.stack([np.minimum(sources[row], other), np.maximum(sources[row], other)], axis=1)
    code, first = np.unique(ends[:, 0] * n + ends[:, 1], return_index=True)
    chance = partner[sources[row[first]]] * mass[other[first]]
    # The smallest of exponential times with these rates: weighted draws without replacement.
    early = np.argsort(rng.exponential(size=len(code)) / chance, kind="stable")[:commodities]
    pairs = ends[first[np.sort(early)]]
    weights = abilene.shares(network, pairs) if real else mass[pairs[:, 0]] * mass[pairs[:, 1]]
    return Arena(pairs, weights / weights.sum())

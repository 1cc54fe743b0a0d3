"""Demand of two applications with needs of their own: distributed sensing and computing.

Both ask for the fidelity below which the application gains nothing from entanglement, by the closed
forms here; the fidelities and the deadline of a cell do not touch them, its load does. No trace of
either application was found, so times and sizes are ours.

*Sensing*: groups of up to four nodes share GHZ states on a common clock. One of them, the hub, asks
for pairs with each of the others at the same moment, every second, and says so two seconds ahead:
the states of a round are worth something together only (P. Komar et al., Nature Physics 10, 582,
2014, for clocks).

*Computing*: jobs arrive at random between two processors. A job is compiled, so it announces at its
start all of its ten layers of remote gates, two pairs each, one layer each tenth of a second; data
qubits wait meanwhile, so a layer has a fifth of a second.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum.demand import Trace
from quantum.errors import NoDemand
from quantum.network import Network
from quantum.paths import best_fidelity, distilled
from quantum.seeding import generator
from quantum.traffic_arena import arena

__all__ = [
    "COMPUTING_FIDELITY",
    "PROFILES",
    "SENSING_FIDELITY",
    "gate_fidelity",
    "least_sensing_fidelity",
    "make_profile",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROFILES = ("sensing", "computing")
#: Nodes that share a GHZ state, and how many groups there are.
SENSORS, GROUPS = 4, 8
#: Time between rounds of sensing, how long before they are told, and how long pairs are of use.
ROUND_S, TOLD_S, SENSING_DEADLINE_S = 1.0, 2.0, 0.5
#: A job: layers of remote gates, pairs of a layer, time between layers and for a layer.
LAYERS, LAYER_PAIRS, LAYER_S, LAYER_DEADLINE_S = 10, 2, 0.1, 0.2


def least_sensing_fidelity(nodes: int) -> float:
    """Return the fidelity of Werner pairs above which a GHZ state of ``nodes`` beats single probes.

    A hub merges n - 1 pairs of Werner parameter w = (4 F - 1) / 3 into a state whose parity fringe
    has contrast w^(n-1). Its Fisher information n^2 w^(2 (n-1)) beats the n of independent probes
    where w > n^(-1 / (2 (n - 1))) (for w = 1: J. J. Bollinger et al., Phys. Rev. A 54, R4649,
    1996).

    >>> round(least_sensing_fidelity(2), 4), round(least_sensing_fidelity(4), 4)
    (0.7803, 0.8453)
    """
    werner: float = nodes ** (-1.0 / (2.0 * (nodes - 1)))
    return (3.0 * werner + 1.0) / 4.0


def gate_fidelity(pair_fidelity: float) -> float:
    """Return the average fidelity (4 F + 1) / 5 of a CNOT teleported through a pair.

    A Pauli error of the pair is a Pauli error of the gate, so the process has the fidelity F of the
    pair (J. Eisert et al., Phys. Rev. A 62, 052317, 2000); d = 4 turns it into an average.

    >>> round(gate_fidelity(0.9), 3)
    0.92
    """
    return (4.0 * pair_fidelity + 1.0) / 5.0


#: What is asked: just above the least that is of use for four sensors ...
SENSING_FIDELITY = math.ceil(least_sensing_fidelity(SENSORS) * 100.0) / 100.0
#: ... and links with a tenth of noise, up to which distributed surface codes correct (N. H.
#: Nickerson, Y. Li, S. C. Benjamin, Nature Communications 4, 1756, 2013).
COMPUTING_FIDELITY = 0.90


@dataclass(frozen=True, eq=False)
class _Asked:
    """Requests in any order: times, which node pair, pairs, and when they are told."""

    time_s: Floats
    commodity: Ints
    pairs: Ints
    told_s: Floats


def make_profile(
    name: str,
    network: Network,
    *,
    load_hz: float,
    seed: int,
    network_seed: int,
    duration_s: float,
    commodities: int = 150,
    distillation_rounds: int = 0,
) -> Trace:
    """Make the requests of one of :data:`PROFILES`; arguments as in ``make_trace``.

    Groups, jobs' processors and their shares depend on the network seed alone. Raises
    :class:`NoDemand` where no path can meet what the application needs.
    """
    rng = generator(seed, "demand", network.name, name)
    if name == "sensing":
        ends = _groups(network, network_seed, distillation_rounds)
        weights = np.full(len(ends), 1.0 / max(1, len(ends)))
        asked = _rounds(len(ends), load_hz, duration_s, rng)
        fidelity, deadline_s = SENSING_FIDELITY, SENSING_DEADLINE_S
    else:
        found = arena(
            network,
            network_seed,
            fidelity=COMPUTING_FIDELITY,
            commodities=commodities,
            distillation_rounds=distillation_rounds,
        )
        ends, weights = found.pairs, found.weights
        asked = _jobs(weights, load_hz, duration_s, rng)
        fidelity, deadline_s = COMPUTING_FIDELITY, LAYER_DEADLINE_S
    order = np.lexsort((asked.commodity, asked.time_s))
    return Trace(
        name=name,
        commodities=ends,
        weights=weights,
        load_hz=load_hz,
        time_s=asked.time_s[order],
        commodity=asked.commodity[order],
        pairs=asked.pairs[order],
        minimum_fidelity=np.full(len(order), fidelity),
        deadline_s=np.full(len(order), deadline_s),
        told_s=asked.told_s[order],
    )


def _groups(network: Network, network_seed: int, distillation_rounds: int) -> Ints:
    """Draw hubs and their sensors; return their pairs (K, 2), sorted, none twice."""
    n = len(network.nodes)
    if not len(network.links):
        return np.zeros((0, 2), dtype=np.int64)
    rng = generator(network_seed, "demand", network.name, "sensing groups")
    hubs = np.sort(rng.choice(n, min(GROUPS, n), replace=False))
    states = distilled(network.populations, distillation_rounds) if distillation_rounds else None
    best = best_fidelity(network, hubs, states)
    best[np.arange(len(hubs)), hubs] = 0.0
    pairs = []
    for row, hub in enumerate(hubs.tolist()):
        able = np.flatnonzero(best[row] >= SENSING_FIDELITY - 1e-9)
        chosen = rng.permutation(able)[: SENSORS - 1]
        pairs += [(min(hub, other), max(hub, other)) for other in chosen.tolist()]
    if not pairs:
        raise NoDemand(
            f"no node pair of {network.name} can meet the fidelity {SENSING_FIDELITY:g} that "
            f"sensing needs; the best is {best.max():.4f}"
        )
    return np.unique(np.array(pairs, dtype=np.int64), axis=0)


def _rounds(size: int, load_hz: float, duration_s: float, rng: np.random.Generator) -> _Asked:
    """Ask for pairs of all groups at once, every round; the numbers of pairs keep the mean load."""
    start = np.arange(rng.uniform(0.0, ROUND_S), duration_s, ROUND_S)
    wanted = load_hz * ROUND_S / max(1, size)
    count = np.floor(wanted + rng.random((len(start), size))).astype(np.int64)
    row, commodity = np.nonzero(count)
    time = start[row]
    return _Asked(
        time, commodity.astype(np.int64), count[row, commodity], np.maximum(time - TOLD_S, 0.0)
    )


def _jobs(weights: Floats, load_hz: float, duration_s: float, rng: np.random.Generator) -> _Asked:
    """Draw jobs, also those that began before the run, and ask for their layers."""
    before_s = LAYERS * LAYER_S
    rate = load_hz / (LAYERS * LAYER_PAIRS)
    count = rng.poisson(rate * (duration_s + before_s) * weights)
    which = np.repeat(np.arange(len(weights)), count)
    start = rng.uniform(-before_s, duration_s, len(which))
    time = (start[:, None] + LAYER_S * np.arange(LAYERS)).ravel()
    commodity = np.repeat(which, LAYERS).astype(np.int64)
    told = np.maximum(np.repeat(start, LAYERS), 0.0)
    inside = (time >= 0.0) & (time < duration_s)
    pairs = np.full(int(inside.sum()), LAYER_PAIRS, dtype=np.int64)
    return _Asked(time[inside], commodity[inside], pairs, told[inside])

"""What an allocator may know before a run: mean demand, how it flows, and where a controller sits.

A plan is computed from the network and the long-run demand alone, never from the arrivals of the
run, so that knowing it is no forecast.
"""

import hashlib
from collections.abc import MutableMapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quantum.demand import Trace
from quantum.errors import InputError
from quantum.flows import knee, shares_by_grade
from quantum.ledger.state import Floats, Ints
from quantum.network import FIBRE_S_PER_KM, Network
from quantum.scenario import Scenario

__all__ = ["Flows", "Plan", "Plans", "controller_node", "delay_slots", "flows_of", "plan_of"]

#: The flows are solved at this multiple of the knee: far below it the program has many solutions
#: and picks narrow ones (measured: +0.7 % of the bound).
SPREAD = 1.5
#: Stock is planned for the demand of this time, whatever the cutoff (measured: +0.4 %).
STOCK_S = 1.0
#: Kept in stock beyond the mean.
RESERVE = 0.3
#: Shares of the minimum fidelities are known to one part in so many; the luck of a trace is not.
_MIX_PARTS = 20
#: Nodes whose distances are looked at together.
_CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Flows:
    """The load at the knee, and the pairs (K, m) of each link used per pair of each commodity.

    ``refined`` (K, m) are the distilled pairs among them. Zeros where nothing can be reached.
    """

    knee_hz: float
    shares: Floats
    refined: Floats


#: Flows by a digest of all that they depend on; passed along, so that runs can share them.
Plans = MutableMapping[str, Flows]


@dataclass(frozen=True, eq=False)
class Plan:
    """Knee in pairs/s, link shares (K, m), mean targets (m,) in pairs, node of the controller.

    ``rounds`` of distillation are allowed; ``refined`` (m,) distilled pairs are worth keeping.
    """

    knee_hz: float
    shares: Floats
    mean_targets: Floats
    controller: int
    rounds: int
    refined: Floats


def plan_of(scenario: Scenario, plans: Plans | None = None, *, max_rounds: int = 0) -> Plan:
    """Plan for the mean demand of a scenario.

    ``mean_targets`` is what the mean demand of one second uses of each link, plus 0.3 pairs.
    ``refined`` is what it uses of distilled pairs, plus one pair where it uses any: a distillation
    may fail, and a better pair does for every request (measured on preset fidelity).
    """
    network, trace = scenario.network, scenario.trace
    flows = flows_of(network, trace, plans, max_rounds=max_rounds)
    if flows.knee_hz > 0.0:
        targets = STOCK_S * trace.load_hz * (trace.weights @ flows.shares) + RESERVE
        refined = STOCK_S * trace.load_hz * (trace.weights @ flows.refined)
        refined = np.where(refined > 0.0, refined + 1.0, 0.0)
    else:
        targets = refined = np.zeros(len(network.links))
    middle = controller_node(network)
    return Plan(flows.knee_hz, flows.shares, targets, middle, max_rounds, refined)


def flows_of(
    network: Network, trace: Trace, plans: Plans | None = None, *, max_rounds: int = 0
) -> Flows:
    """Return the flows of the mean demand, from ``plans`` where they are known already."""
    none = np.zeros((len(trace.commodities), len(network.links)))
    if not len(trace.time_s) or not len(network.links):
        return Flows(0.0, none, none)
    usual = _typical(trace)
    key = _digest(network, usual, max_rounds)
    if plans is not None and key in plans:
        return plans[key]
    try:
        load_hz = knee(network, usual, max_rounds=max_rounds)
        shares = shares_by_grade(network, usual, SPREAD * load_hz, max_rounds=max_rounds)
        found = Flows(load_hz, *shares)
    except InputError:
        # Nothing is reachable: there is no knee, and nothing to keep in stock.
        found = Flows(0.0, none, none)
    if plans is not None:
        plans[key] = found
    return found


def _typical(trace: Trace) -> Trace:
    """Replace the requests by one for each minimum fidelity, in the rounded mix of the trace."""
    asked, which = np.unique(trace.minimum_fidelity, return_inverse=True)
    pairs = np.zeros(len(asked))
    np.add.at(pairs, which.ravel(), trace.pairs)
    parts = np.maximum(1, np.round(_MIX_PARTS * pairs / pairs.sum())).astype(np.int64)
    nothing = np.zeros(len(asked))
    return replace(
        trace,
        time_s=nothing,
        commodity=np.zeros(len(asked), dtype=np.int64),
        pairs=parts,
        minimum_fidelity=asked,
        deadline_s=np.ones(len(asked)),
        told_s=nothing,
    )


def _digest(network: Network, trace: Trace, max_rounds: int) -> str:
    digest = hashlib.sha256(f"{max_rounds} {network.gates}".encode())
    for part in (
        network.links,
        network.populations,
        network.generation_hz,
        network.swap_hz,
        trace.commodities,
        trace.weights,
        trace.pairs,
        trace.minimum_fidelity,
    ):
        digest.update(f"{part.dtype} {part.shape}".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def controller_node(network: Network) -> int:
    """Return the node with the least total distance to all others, the first of equal ones."""
    place = network.position_km
    total = np.concatenate(
        [_far(place[i : i + _CHUNK], place) for i in range(0, len(place), _CHUNK)]
    )
    return int(total.argmin())


def _far(some: Floats, place: Floats) -> Floats:
    total: Floats = np.hypot(
        some[:, None, 0] - place[None, :, 0], some[:, None, 1] - place[None, :, 1]
    ).sum(axis=1)
    return total


def delay_slots(scenario: Scenario, *, central: bool) -> Ints:
    """Return after how many slots a request is known to whoever decides, shape (R,), at least 1.

    Central: its source asks the controller, which needs its service time and tells the ends; the
    farther one counts. Decentralised: the word from the source to the destination. Straight fibre.
    """
    place = scenario.network.position_km
    ends = scenario.trace.commodities.reshape(-1, 2)[scenario.trace.commodity]
    source, target = place[ends[:, 0]], place[ends[:, 1]]
    if central:
        middle = place[controller_node(scenario.network)]
        ask = _km(source, middle)
        fibre_km = ask + np.maximum(ask, _km(middle, target))
        seconds = fibre_km * FIBRE_S_PER_KM + scenario.service_s
    else:
        seconds = _km(source, target) * FIBRE_S_PER_KM
    return np.maximum(1, np.ceil(seconds / scenario.slot_s - 1e-9)).astype(np.int64)


def _km(a: NDArray[np.float64], b: NDArray[np.float64]) -> Floats:
    distance: Floats = np.linalg.norm(a - b, axis=-1)
    return distance

"""From a scenario to the arrays of the kernels: the world that does not change."""

from collections.abc import Callable

import numpy as np

from quantum.bell import correlators
from quantum.errors import InputError
from quantum.kernels import Table, table
from quantum.ledger.reach import best_pair, distances, most_hops, needs_better
from quantum.ledger.state import Floats, Ints, World
from quantum.network import FIBRE_S_PER_KM, Network
from quantum.scenario import Scenario

__all__ = ["new_world", "no_paths"]

#: Links that a chain may have more than the shortest path; longer ones cost searches, not pairs.
DETOUR = 4


def new_world(
    scenario: Scenario,
    *,
    paths: Callable[[Scenario, Ints, Floats], tuple[Ints, Ints]],
    truth: Floats | None = None,
    truth_slots: int = 1,
    rounds: int = 0,
) -> World:
    """Turn a scenario into the arrays of the kernels.

    ``paths(scenario, commodity (C,), fidelity (C,))`` returns the links and the swap nodes of the
    shortest feasible path of each class, -1 padded. ``truth`` (blocks, m, 3) are the correlators of
    fresh pairs where they drift; by default they are the network's.
    """
    net, trace = scenario.network, scenario.trace
    inc = net.incidence
    n, m = len(net.nodes), len(net.links)
    cutoff = max(1, round(net.cutoff_s / scenario.slot_s))
    if cutoff > 10_000_000:
        raise InputError(f"network.cutoff_s = {net.cutoff_s:g} s is too many slots to keep")
    held = np.arange(cutoff + 1) * scenario.slot_s
    ground = 1.0 - np.exp(-held / net.memory.t1_s)
    gates = net.gates
    kept, flip = 1.0 - gates.gate_depolarizing, 1.0 - 2.0 * gates.readout_error
    fresh = correlators(net.populations)[None] if truth is None else truth
    keys = np.stack([trace.commodity.astype(np.float64), trace.minimum_fidelity], axis=1)
    classes, request_class = (
        np.unique(keys, axis=0, return_inverse=True)
        if len(keys)
        else (np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    )
    commodity = classes[:, 0].astype(np.int64)
    ends = trace.commodities[commodity] if len(commodity) else np.zeros((0, 2), dtype=np.int64)
    targets, row = np.unique(ends[:, 1], return_inverse=True)
    best = best_pair(fresh, rounds)
    hops = np.array(
        [most_hops(best, kept, flip, f) for f in classes[:, 1]], dtype=np.int64
    ).reshape(-1)
    path_links, path_nodes = paths(scenario, commodity, classes[:, 1])
    arrival = np.floor(trace.time_s / scenario.slot_s + 1e-9).astype(np.int64)
    deadline = np.floor((trace.time_s + trace.deadline_s) / scenario.slot_s + 1e-9).astype(np.int64)
    stop = scenario.warmup_slots + scenario.slots
    last = max([stop, *(deadline[arrival < stop] + 1).tolist()])
    node = table(
        n,
        degree=int,
        generation=float,
        no_token=float,
        swap_rate=float,
        bucket=float,
        qubits=int,
    )
    node.degree, node.qubits = inc.degree, net.qubits
    node.generation = net.generation_hz * scenario.slot_s
    node.no_token = np.exp(-node.generation)
    node.swap_rate = net.swap_hz * scenario.slot_s
    node.bucket = np.maximum(1.0, net.swap_hz)
    link = table(m, a=int, b=int, made_hz=float)
    link.a, link.b = net.links[:, 0], net.links[:, 1]
    link.made_hz = (node.generation[link.a] + node.generation[link.b]) / scenario.slot_s
    decay = table(cutoff + 1, xy=float, zz=float, shift=float)
    decay.xy = np.exp(-2.0 * held / net.memory.t2_s)
    decay.zz, decay.shift = (1.0 - ground) ** 2, ground**2
    cls = table(
        len(classes),
        a=int,
        b=int,
        fidelity=float,
        budget=float,
        hops=int,
        row=int,
        back=int,
        first=int,
        refined=int,
        heard=int,
    )
    cls.a, cls.b, cls.fidelity, cls.hops, cls.row = *ends.T, classes[:, 1], hops, row.reshape(-1)
    # Sources that are destinations of other classes have distances, too.
    if len(classes):
        where = np.minimum(np.searchsorted(targets, ends[:, 0]), len(targets) - 1)
        cls.back = np.where(targets[where] == ends[:, 0], where, -1)
    same, first = np.unique(commodity, return_index=True)
    cls.first = first[np.searchsorted(same, commodity)] if len(classes) else 0
    distance = distances(inc.degree, inc.neighbour, targets.astype(np.int64), n)
    if len(classes):
        nearest = distance[cls.row, cls.a].astype(np.int64)
        cls.hops = np.minimum(cls.hops, nearest + DETOUR)
    afford = np.clip((4.0 * cls.fidelity - 1.0) / 3.0, 1e-9, 1.0 - 1e-9)
    cls.budget = -np.log(afford)
    if rounds > 0 and m > 0:
        cls.refined = needs_better(net.populations, kept, flip, path_links, classes[:, 1])
    request = table(len(arrival), arrival=int, told=int, deadline=int, cls=int, pairs=int)
    request.arrival, request.deadline = arrival, deadline
    request.told = np.minimum(arrival, np.floor(trace.told_s / scenario.slot_s).astype(np.int64))
    request.cls, request.pairs = request_class.reshape(-1), trace.pairs
    changes = scenario.changes
    change = table(len(changes.time_s), slot=int, node=int, index=int, up=int)
    change.slot, change.node = changes.slots(scenario.slot_s), changes.node
    change.index, change.up = changes.index, changes.up
    return World(
        seed=scenario.seed,
        slot_s=scenario.slot_s,
        n=n,
        m=m,
        truth_slots=max(1, truth_slots),
        cutoff=cutoff,
        swap_success=gates.success,
        test_share=scenario.test_share,
        warmup=scenario.warmup_slots,
        slots=scenario.slots,
        horizon=int(last),
        node=node,
        link=link,
        bucket=float(node.bucket.max(initial=1.0)),
        inc_link=inc.link,
        inc_node=inc.neighbour,
        lead=_leads(inc.link, inc.neighbour),
        truth=np.ascontiguousarray(fresh),
        belief=np.ascontiguousarray(fresh[:1]),
        decay=decay,
        swap_xyz=np.array([kept * flip, kept * flip * flip, kept * flip]),
        distil=np.array([kept * kept, flip * flip]),
        cls=cls,
        distance=distance,
        path_links=path_links,
        path_nodes=path_nodes,
        request=request,
        change=change,
        age=np.zeros((0, m), dtype=np.int16),
        ghosts=0,
        peer_age=_peer_ages(net, scenario.slot_s),
    )


def _leads(links: Ints, neighbours: Ints) -> Table:
    """Return links and neighbours (n, K) side by side, each row from the start of a line on."""
    n, width = links.shape
    lead = table((n, -(-width // 8) * 8), node=np.int32, link=np.int32)
    lead.node[:, :width], lead.link[:, :width] = neighbours, links
    return lead


def _peer_ages(network: Network, slot_s: float) -> Ints:
    """Return for how many slots the light of each neighbour is on its way; no rows if for none."""
    inc, place = network.incidence, network.position_km
    far_km = np.linalg.norm(place[:, None] - place[inc.neighbour], axis=-1)
    age = np.floor(far_km * FIBRE_S_PER_KM / slot_s + 1e-9).astype(np.int64)
    age[inc.neighbour < 0] = 0
    return age if age.any() else age[:0]


def no_paths(scenario: Scenario, commodity: Ints, fidelity: Floats) -> tuple[Ints, Ints]:
    """Stand in for ``paths`` where nobody counts contention: no class has a path."""
    none = np.full((len(commodity), 1), -1, dtype=np.int64)
    return none, none

"""From a scenario to the arrays of the kernels: the constant world and a fresh ledger."""

from collections.abc import Callable

import numpy as np

from quantum.bell import correlators
from quantum.errors import InputError
from quantum.kernels import table
from quantum.ledger.prices import believe
from quantum.ledger.reach import best_pair, distances, most_hops, needs_better
from quantum.ledger.state import ACTION_TOKENS, MAX_HOPS, RAW, Floats, Ints, Ledger, World
from quantum.network import FIBRE_S_PER_KM, Network
from quantum.scenario import Scenario

__all__ = ["new_ledger", "new_world", "no_paths"]

#: Links that a chain may have more than the shortest path; longer ones cost searches, not pairs.
DETOUR = 4
#: A link pair in a composite; slots in which its qubits were measured, -1 while they wait.
_LEAF = {"link": int, "birth": int, "maker": int, "left": int, "right": int, "truth": (float, 3)}
#: How a distilled pair came to be.
_HISTORY = {
    "kept": int,  # slots that the pair that was kept had waited by then
    "spent": int,  # and the pair that was spent for it; -1: not distilled
    "spent_maker": int,
    "belief": (float, 3),  # correlators at ``birth``, as the controllers believe
}


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
        refined=int,
        heard=int,
    )
    cls.a, cls.b, cls.fidelity, cls.hops, cls.row = *ends.T, classes[:, 1], hops, row.reshape(-1)
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


def new_ledger(
    world: World,
    *,
    delay_slots: Ints | None = None,
    events: int = 4096,
    composites: bool = False,
) -> Ledger:
    """Return the ledger before the first slot: empty memories, full swap buckets.

    ``delay_slots`` (R,) is how long after its arrival (or announcement) a request becomes known to
    whoever decides; at least one slot. ``events`` is how many assembled pairs can be remembered
    until they are taken; 0 where nobody takes them. ``composites`` keeps room for pairs that are
    swapped before they are delivered, see :mod:`quantum.ledger.acts`.
    """
    n, m, requests = world.n, world.m, len(world.request)
    places = int(world.node.qubits.sum()) // 2 + 1
    delay = np.ones(requests, dtype=np.int64) if delay_slots is None else np.maximum(1, delay_slots)
    node = table(
        n,
        used=int,  # qubits in use
        swap_tokens=float,
        swaps=int,  # swap tokens spent
        tokens=int,  # generation tokens of this slot
        yields=int,  # action: position of the link whose oldest pair goes first, -1 none
        surplus=float,  # action: how little that pair would be missed
        claims=int,  # live requests that want to swap here
        price=float,  # cost of a swap here, in a path search
        up=int,  # whether the node is there
        given=float,  # swap tokens that came with joining the network
        saved=float,  # swap tokens, while requests share them out
    )
    node.swap_tokens, node.yields, node.up = world.node.bucket, -1, 1
    link = table(
        m,
        stock=int,  # stored pairs as they were made
        fresh_loss=float,  # -log of the mean correlator of a fresh pair
        belief=(float, 3),  # correlators of a fresh pair, as the controllers believe
        priced=int,  # slot in which price, loss and corr were worked out from stock
        price=float,
        loss=float,  # -log of the mean correlator
        corr=(float, 3),  # correlators that the path search counts on
        oldest=int,  # place of its oldest pair as it was made; -1 none
        youngest=int,
        wanted=float,  # pairs that live requests need
        forecast=float,  # pairs expected to be asked soon
        claims=int,
        refined=int,  # stored pairs that were distilled
        wanted_refined=float,  # distilled pairs that live requests need
        distilled=int,  # distillations so far
        best=int,  # place of its best pair, while serving; -1 none
        open=int,  # whether it makes pairs: it and both its ends are up
    )
    link.open = 1
    # What searches need not see, so that a link stays small.
    behind = table(
        m,
        up=int,  # whether the link works
        stock=int,  # what the link has, while its queue is what a decider has heard of
        oldest=int,
        youngest=int,
    )
    behind.up = 1
    link.belief, link.priced, link.oldest, link.youngest = world.belief[0], -1, -1, -1
    # Behind the places are those of pairs that were taken lately.
    pair = table(
        places + world.ghosts,
        u=int,  # -1 where the place is free
        v=int,
        birth=int,  # slot in which it was made, or distilled
        old=int,  # slot in which the oldest pair in it was made; the cutoff counts from here
        link=int,
        maker=int,  # node whose token made it
        truth=(float, 3),  # correlators at ``birth``
        older=int,  # place of the next older and younger pair of the link, -1 none
        younger=int,
        before=int,  # place of the previous and next pair as old as it, -1 none
        after=int,
        free=int,  # stack of free places; its height is now.free
        **_HISTORY,
    )
    pair.u, pair.free = -1, np.arange(places + world.ghosts)
    request = table(
        requests,
        visible=int,  # slot from which the controller knows it
        order=int,  # requests in the order in which they become visible
        left=int,  # pairs still to deliver
        good=int,  # delivered with the fidelity asked
        quality=float,  # true fidelity, summed over delivered pairs
        attempts=int,  # assembled pairs
        asked=int,  # whether its node has asked for it; only then it is served
        claimed=int,  # links of its claim
        claim=(int, MAX_HOPS),  # last link first
    )
    request.visible = world.request.told + delay
    request.order = np.argsort(request.visible, kind="stable")
    request.left, request.asked = world.request.pairs, 1
    now = table(
        1,
        clock=int,
        free=int,
        live=int,
        next_visible=int,
        next_arrival=int,
        events=int,
        claimants=int,
        shared=int,  # resources that two or more live requests want
        swept=int,  # slot up to which all births are dropped
        search=int,  # number of the last mark of a path search
        next_change=int,
        ghosts=int,  # pairs that were taken, ever
        hidden=int,  # 1 while queues are what a decider has heard of
        row=int,  # whose ages count meanwhile
        haunting=int,  # first ghost that stands in a queue, -1 none
    )
    now.free, now.haunting = places, -1
    event = table(
        events,
        kind=int,
        request=int,  # or the node of a link test
        slot=int,
        attempt=int,
        hops=int,
        links=(int, MAX_HOPS),  # in the order of the chain
        ages=(int, MAX_HOPS),  # slots that each pair waited, at its end towards the source
        ages_right=(int, MAX_HOPS),  # and at its other end
        births=(int, MAX_HOPS),  # slot in which each pair was made, or distilled
        makers=(int, MAX_HOPS),  # node whose token made each pair
        kept=(int, MAX_HOPS),  # slots that the two pairs of a distilled one waited before
        spent=(int, MAX_HOPS),  # -1 where a pair was not distilled
        spent_makers=(int, MAX_HOPS),
        swaps=(int, MAX_HOPS),  # swap nodes, one less than links
        corr=(float, 3),  # true correlators of the assembled pair
        true=float,  # fidelity
        believed=float,
    )
    mark = table(
        n,
        reached=int,  # number of the search's layer that has a label here
        label=int,
        expanded=int,  # number of the search that went on from here
        cost=float,  # at which it did
    )
    label = table(
        (MAX_HOPS + 1) * n + 1,
        node=int,
        via=int,  # link by which it came
        before=int,  # label from which it came
        cost=float,
        c0=float,  # correlators so far
        c1=float,
        c2=float,
    )
    past = table(
        (1 + world.peer_age.max() if len(world.peer_age) else 0, n), used=int, tokens=float
    )
    past.tokens = world.node.bucket
    width = max(1, int(world.node.qubits.max()))
    rows = len(pair) + 1 if composites else 0
    ledger = Ledger(
        now=now,
        node=node,
        link=link,
        pair=pair,
        request=request,
        queue=table(requests + 1, live=int, claimant=int),
        held=np.zeros((n, width), np.int64),
        use=np.zeros(world.inc_link.shape),
        totals=np.zeros(16, np.int64),
        waits=np.zeros(_longest_wait(world) + 1, np.int64),
        choice=np.full((n, ACTION_TOKENS), -1, np.int64),
        urgency=np.zeros((n, ACTION_TOKENS)),
        made=np.full((n, ACTION_TOKENS), -1, np.int64),
        event=event,
        chain=np.zeros(MAX_HOPS, np.int64),
        ring=np.full(world.cutoff + 2, -1, np.int64),
        mark=mark,
        label=label,
        sight=np.zeros((world.inc_link.shape[1], RAW)),
        scores=np.zeros(world.inc_link.shape[1]),
        product=np.zeros((4, 3)),
        leaf=table((rows, MAX_HOPS), **_LEAF, **_HISTORY),
        leaves=np.zeros(rows, np.int64),
        behind=behind,
        ghost=table(world.ghosts, slot=int, source=int, told=int, next=int, stands=int),
        past=past,
        reach=np.ones(MAX_HOPS + 1),
    )
    believe(world, ledger)
    return ledger


def _longest_wait(world: World) -> int:
    spans = world.request.deadline - world.request.arrival
    return int(spans.max(initial=0))

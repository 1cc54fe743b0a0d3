"""A chain of nodes by hand, and pairs that are swapped before requests of it start."""

import numpy as np

from quantum.demand import Trace
from quantum.flows import shortest_paths
from quantum.ledger import Rule, close_slot, new_world, open_slot, serve
from quantum.ledger.events import take_events
from quantum.ledger.places import is_sound
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.scenario import Scenario

__all__ = ["RULE", "line", "until", "waiting", "waiting_for"]

RULE = Rule(fill=0, complete=2, targets=np.zeros(8), ahead_s=0.5)


def line(*requests, hops=3, cutoff_s=0.6, fidelity=0.98, swaps=5.0, seed=1, success=1.0, **trace):
    """A chain of nodes; requests are (told, time, pairs, minimum fidelity) from end to end."""
    links = np.array([(i, i + 1) for i in range(hops)], dtype=np.int64)
    rest = (1.0 - fidelity) / 3.0
    net = Network(
        name="line",
        nodes=tuple(f"n{i}" for i in range(hops + 1)),
        position_km=np.zeros((hops + 1, 2)),
        links=links,
        length_km=np.ones(hops),
        populations=np.tile([fidelity, rest, rest, rest], (hops, 1)),
        generation_hz=np.full(hops + 1, 1e-9),
        swap_hz=np.full(hops + 1, swaps),
        qubits=np.full(hops + 1, 16),
        memory=Memory(t1_s=20.0, t2_s=10.0),
        cutoff_s=cutoff_s,
        gates=Gates(success=success, gate_depolarizing=0.01, readout_error=0.01),
    )
    told, time, pairs, least = np.array(requests, dtype=float).reshape(-1, 4).T
    demand = Trace(
        name="told",
        commodities=np.array([[0, hops]]),
        weights=np.ones(1),
        load_hz=1.0,
        time_s=time,
        commodity=np.zeros(len(time), dtype=np.int64),
        pairs=pairs.astype(np.int64),
        minimum_fidelity=least,
        deadline_s=np.full(len(time), 0.1),
        told_s=told,
    )
    scenario = Scenario(network=net, trace=demand, seed=seed, seconds=2.0, warmup_s=0.0)
    return new_world(scenario, paths=shortest_paths), net


def until(world, ledger, slot, rule=RULE):
    """Play to the end of ``slot``, making nothing; return the events of every slot that has any."""
    seen = {}
    while ledger.now[0].clock <= slot:
        if ledger.now[0].clock > 0:
            open_slot(world, ledger, rule)
        serve(world, ledger, rule)
        events = take_events(ledger)
        if len(events):
            seen[int(ledger.now[0].clock)] = events
        close_slot(world, ledger)
        assert is_sound(world, ledger)
        assert ledger.ready.pairs.sum() == (ledger.pair.owner[ledger.pair.u >= 0] >= 0).sum()
    return seen


def waiting(ledger):
    return int(ledger.ready.pairs.sum())


def waiting_for(world, ledger):
    """Check the books, and return how many pairs wait for each row of ``ready``."""
    assert is_sound(world, ledger)
    here = ledger.pair.owner[ledger.pair.u >= 0]
    counts = np.bincount(here[here >= 0], minlength=len(ledger.ready))
    assert counts.tolist() == ledger.ready.pairs.tolist()
    return counts

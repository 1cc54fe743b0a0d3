"""``dpem bench peers``: the same chains here and in other simulators, in one run.

The work: links of fidelity 0.95 without loss, one demand from end to end, pairs counted at the end,
CPU seconds of the process without the building of the network.
"""

import time
from statistics import median
from typing import Any

import numpy as np

from quantum import bell, werner
from quantum.chain import Setting, deliver
from quantum.peers.environment import PEERS, Peer, PeerError, ask, python_of
from quantum.program import Memory

__all__ = ["peers"]

FIDELITY = 0.95
#: Ours has what the peers leave out: attempts (drawn), and decay of every qubit that waits.
SUCCESS, ATTEMPT_S, MEMORY = 0.5, 20e-6, Memory(t1_s=3600.0, t2_s=60.0)
#: Pairs times links of a run of ours, but no more pairs than this.
WORK, MOST_PAIRS = 4_000_000, 400_000
RUNS = 3
OURS = (
    "attempts drawn from their law (success 1/2), a clock, T1 and T2 of every qubit that waits, "
    "exact end states"
)


def peers() -> dict[str, Any]:
    """Measure delivered pairs per CPU second of all peers, and of ours on the same chains."""
    sizes = sorted({nodes for peer in PEERS for nodes in peer.nodes})
    ours = [ours_on(nodes, min(MOST_PAIRS, WORK // (nodes - 1)), RUNS) for nodes in sizes]
    theirs = {peer: _measured(peer) for peer in PEERS}
    return report(ours, theirs)


def ours_on(nodes: int, pairs: int, runs: int) -> dict[str, Any]:
    """Return the record of a chain played here, as the scripts of peers write it."""
    setting = Setting(success_probability=np.full(nodes - 1, SUCCESS), attempt_s=ATTEMPT_S)
    fresh = bell.correlators(bell.werner(FIDELITY))
    done = deliver(setting, 1, 0, fresh, MEMORY)
    spent = []
    for run in range(runs):
        begin = time.process_time()
        done = deliver(setting, pairs, run, fresh, MEMORY)
        spent.append(time.process_time() - begin)
    fidelity = float(werner.fidelity(done.correlators).mean())
    return {"nodes": nodes, "pairs": pairs, "cpu_s": median(spent), "fidelity": fidelity}


def _measured(peer: Peer) -> list[dict[str, Any]] | PeerError:
    try:
        return ask(peer, python_of(peer), (RUNS, *peer.nodes))
    except PeerError as error:
        return error


def report(
    ours: list[dict[str, Any]], theirs: dict[Peer, list[dict[str, Any]] | PeerError]
) -> dict[str, Any]:
    """Put records together; a peer that could not be measured is a line that says why."""
    rate = {record["nodes"]: record["pairs"] / record["cpu_s"] for record in ours}
    fidelity = {record["nodes"]: record["fidelity"] for record in ours}
    results: dict[str, Any] = {}
    for nodes in rate:
        results[f"chain{nodes}_pairs_per_cpu_s"] = rate[nodes]
        results[f"chain{nodes}_fidelity"] = fidelity[nodes]
    results["ours"] = OURS
    reference: dict[str, Any] = {}
    ratio: dict[str, Any] = {}
    columns, cells = ["nodes", "DPEM"], {nodes: [_cell(rate[nodes])] for nodes in rate}
    for peer, found in theirs.items():
        columns += [f"{peer.name} {peer.version}", "ratio"]
        if isinstance(found, PeerError):
            reference[peer.key] = f"not measured: {found}"
            found = []
        else:
            reference[peer.key] = peer.differs
        by_nodes = {record["nodes"]: record for record in found}
        for nodes, row in cells.items():
            if nodes not in by_nodes:
                row += ["-", "-"]
                continue
            record = by_nodes[nodes]
            key, their_rate = f"{peer.key}_chain{nodes}", record["pairs"] / record["cpu_s"]
            reference[f"{key}_pairs_per_cpu_s"] = their_rate
            reference[f"{key}_fidelity"] = record.get("fidelity")
            ratio[key] = rate[nodes] / their_rate
            row += [_cell(their_rate), _cell(ratio[key])]
    return {
        "name": "peers",
        "results": results,
        "reference": reference,
        "ratio": ratio,
        "table": {
            "title": "pairs delivered end to end per CPU second",
            "columns": columns,
            "rows": [[str(nodes), *row] for nodes, row in cells.items()],
        },
    }


def _cell(value: float) -> str:
    """Write a rate with three digits that count.

    >>> _cell(12345678.0), _cell(1.254)
    ('12,300,000', '1.25')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 1000 else f"{value:.3g}"

"""A chain in SeQUeNCe, for the interpreter of its environment: ``sequence_chain.py RUNS NODES...``.

Writes a line of JSON for each number of nodes: pairs delivered and CPU seconds, the building of the
network apart. Nothing is lost and no detector counts in the dark: what is left to chance is the 1/2
of the optical Bell measurement.
"""

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

FIDELITY = 0.95
#: SeQUeNCe counts picoseconds.
MILLISECOND = 10**9
DELAY = 10**7
START_MS, STOP_MS = 5, 20
FORMALISM = "ket_vector"


def description(nodes: int, seed: int) -> dict[str, Any]:
    """Return the network as SeQUeNCe reads it; every two nodes need a classical channel."""
    names = [f"r{number}" for number in range(nodes)]
    return {
        "nodes": [
            {"name": name, "type": "QuantumRouter", "seed": seed + number, "memo_size": 2}
            for number, name in enumerate(names)
        ],
        "qconnections": [
            {
                "node1": left,
                "node2": right,
                "attenuation": 0.0,
                "distance": 1000,
                "type": "meet_in_the_middle",
                "seed": seed + 1000 + number,
            }
            for number, (left, right) in enumerate(pairwise(names))
        ],
        "cconnections": [
            {"node1": names[i], "node2": names[j], "delay": DELAY * (j - i)}
            for i in range(nodes)
            for j in range(i + 1, nodes)
        ],
        "stop_time": STOP_MS * MILLISECOND,
        "formalism": FORMALISM,
    }


def build(nodes: int, seed: int) -> tuple[Any, Any, list[float]]:
    """Return the timeline, the application that asks, and where fidelities will be noted."""
    from sequence.app.request_app import RequestApp
    from sequence.topology.router_net_topo import RouterNetTopo

    fidelities: list[float] = []

    class Noting(RequestApp):  # type: ignore[misc]
        def get_memory(self, info: Any) -> None:
            before, fidelity = self.memory_counter, info.fidelity
            super().get_memory(info)
            if self.memory_counter > before:
                fidelities.append(fidelity)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.json"
        path.write_text(json.dumps(description(nodes, seed)), encoding="utf-8")
        network = RouterNetTopo(str(path))
    routers = network.get_nodes_by_type(RouterNetTopo.QUANTUM_ROUTER)
    for router in routers:
        memories = router.get_components_by_type("MemoryArray")[0]
        for name, value in (
            ("frequency", 1e8),
            ("coherence_time", -1),
            ("efficiency", 1.0),
            ("raw_fidelity", FIDELITY),
        ):
            memories.update_memory_params(name, value)
    for middle in network.get_nodes_by_type(RouterNetTopo.BSM_NODE):
        for station in middle.get_components_by_type("SingleAtomBSM"):
            for name, value in (
                ("efficiency", 1.0),
                ("dark_count", 0),
                ("count_rate", 1e11),
                ("time_resolution", 1),
            ):
                station.update_detectors_params(name, value)
    for channel in network.get_qchannels():
        channel.frequency = 1e11
    by_name = {router.name: router for router in routers}
    asking, target = Noting(by_name["r0"]), f"r{nodes - 1}"
    RequestApp(by_name[target])
    timeline = network.get_timeline()
    timeline.init()
    asking.start(target, START_MS * MILLISECOND, STOP_MS * MILLISECOND, 1, 1e-12)
    return timeline, asking, fidelities


def measure(nodes: int, runs: int) -> dict[str, Any]:
    """Return the record of one chain, medians over ``runs`` networks."""
    spent, built, pairs, fidelity = [], [], [], 0.0
    for run in range(runs):
        begin = time.process_time()
        timeline, asking, fidelities = build(nodes, 10_000 * run)
        ready = time.process_time()
        timeline.run()
        spent.append(time.process_time() - ready)
        built.append(ready - begin)
        pairs.append(asking.memory_counter)
        fidelity = sum(fidelities) / max(1, len(fidelities))
    return {
        "nodes": nodes,
        "pairs": median(pairs),
        "cpu_s": median(spent),
        "build_cpu_s": median(built),
        "fidelity": fidelity,
    }


def main(arguments: list[str]) -> str | None:
    """Measure, or return a line that says why not."""
    runs, *chains = map(int, arguments)
    try:
        for nodes in chains:
            sys.stdout.write(json.dumps(measure(nodes, runs)) + "\n")
    except ImportError as error:
        return f"SeQUeNCe (package sequence) is not installed here: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A chain in SimQN, for the interpreter of its environment: ``simqn_chain.py RUNS NODES...``.

Writes a line of JSON for each number of nodes: pairs delivered and CPU seconds, the building of the
network apart.
"""

import json
import logging
import sys
import time
from statistics import median
from typing import Any

FIDELITY = 0.95
RATE_HZ = 1000.0
DELAY_S = 5e-6
CAPACITY = 50
#: Pairs times hops of a run.
WORK = 20_000


def build(nodes: int, seconds: float) -> tuple[Any, Any]:
    """Return the simulator and the application at the end node."""
    import qns.utils.log
    from qns.network import QuantumNetwork
    from qns.network.protocol.entanglement_distribution import EntanglementDistributionApp
    from qns.network.route.dijkstra import DijkstraRouteAlgorithm
    from qns.network.topology import LineTopology
    from qns.network.topology.topo import ClassicTopology
    from qns.simulator.simulator import Simulator

    qns.utils.log.logger.setLevel(logging.ERROR)
    line = LineTopology(
        nodes_number=nodes,
        nodes_apps=[EntanglementDistributionApp(init_fidelity=FIDELITY)],
        # The default bandwidth is one qubit per second, and what is above it waits in silence.
        qchannel_args={"delay": DELAY_S, "bandwidth": 0},
        cchannel_args={"delay": DELAY_S},
        memory_args=[{"capacity": CAPACITY, "decoherence_rate": 0.0}],
    )
    network = QuantumNetwork(
        topo=line, classic_topo=ClassicTopology.All, route=DijkstraRouteAlgorithm()
    )
    network.build_route()
    first, last = network.get_node("n1"), network.get_node(f"n{nodes}")
    network.add_request(src=first, dest=last, attr={"send_rate": RATE_HZ})
    simulator = Simulator(0, seconds, accuracy=10**9)
    network.install(simulator)
    return simulator, last.apps[-1]


def measure(nodes: int, runs: int) -> dict[str, Any]:
    """Return the record of one chain, medians over ``runs`` networks."""
    asked = max(300, WORK // (nodes - 1))
    spent, built, pairs, fidelity = [], [], [], 0.0
    for _ in range(runs):
        begin = time.process_time()
        simulator, end = build(nodes, asked / RATE_HZ)
        ready = time.process_time()
        simulator.run()
        spent.append(time.process_time() - ready)
        built.append(ready - begin)
        pairs.append(end.success_count)
        fidelity = sum(pair.fidelity for pair in end.success) / max(1, len(end.success))
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
        return f"SimQN (package qns) is not installed here: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

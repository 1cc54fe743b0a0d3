"""Error rate of a link from a YAML file, then swept over fidelities; the log goes to a file.

dpem squidasm examples/squidasm/error_rate.py [PAIRS]
"""

import sys
from pathlib import Path

import netsquid as ns
from squidasm.run.stack.config import DepolariseLinkConfig, StackNetworkConfig
from squidasm.run.stack.run import run
from squidasm.sim.stack.common import LogManager
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta

logger = LogManager.get_stack_logger("sweep")


class Measure(Program):
    """Make pairs and measure each in X."""

    def __init__(self, peer: str, pairs: int):
        self.peer, self.pairs = peer, pairs

    @property
    def meta(self) -> ProgramMeta:
        """Two qubits for no reason but to let the device have them."""
        return ProgramMeta("measure", csockets=[], epr_sockets=[self.peer], max_qubits=2)

    def run(self, context: ProgramContext):
        """Return the outcomes and how long all took."""
        epr, begun = context.epr_sockets[self.peer], ns.sim_time()
        outcomes = []
        for _ in range(self.pairs):
            half = epr.create_keep()[0] if self.peer == "bob" else epr.recv_keep()[0]
            half.H()
            outcomes.append(half.measure())
            yield from context.connection.flush()
        logger.info(f"{self.pairs} pairs with {self.peer}")
        return {"outcomes": [int(one) for one in outcomes], "ns": ns.sim_time() - begun}


def measure(network: StackNetworkConfig, pairs: int) -> tuple[float, float]:
    """Return the share of errors and the time of a pair."""
    programs = {"alice": Measure("bob", pairs), "bob": Measure("alice", pairs)}
    (alice,), (bob,) = run(network, programs)
    errors = sum(a != b for a, b in zip(alice["outcomes"], bob["outcomes"], strict=True))
    return errors / pairs, alice["ns"] / pairs


pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
LogManager.set_log_level("INFO")
logger.parent.handlers = []
LogManager.log_to_file("error_rate.log")

network = StackNetworkConfig.from_file(str(Path(__file__).with_name("noisy_link.yaml")))
errors, time = measure(network, pairs)
print(f"from file: error rate {errors:.4f}, {time:.0f} ns a pair")
for fidelity in (1.0, 0.85, 0.7):
    # Each success takes a cycle, so a pair takes 1000 ns, two messages and the device's time.
    network.links[0].cfg = DepolariseLinkConfig(fidelity=fidelity, prob_success=1, t_cycle=1000)
    errors, time = measure(network, pairs)
    print(f"fidelity {fidelity}: error rate {errors:.4f}, {time:.0f} ns a pair")

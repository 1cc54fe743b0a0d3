"""Quantum key distribution: each end measures each pair in one of two bases at random.

dpem squidasm examples/squidasm/key.py [FIDELITY] [PAIRS]
"""

import random
import sys

from netqasm.sdk.classical_communication.message import StructuredMessage
from netsquid_netbuilder.modules.qlinks.depolarise import DepolariseQLinkConfig
from squidasm.run.stack.run import run
from squidasm.sim.stack.csocket import ClassicalSocket
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util.util import create_complete_graph_network


class Party(Program):
    """Make a key of the pairs that both have measured in the same basis."""

    def __init__(self, peer: str, pairs: int):
        self.peer, self.pairs = peer, pairs

    @property
    def meta(self) -> ProgramMeta:
        """One pair at a time."""
        return ProgramMeta("party", csockets=[self.peer], epr_sockets=[self.peer], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return the outcomes that are left, by basis."""
        epr, outcomes = context.epr_sockets[self.peer], []
        mine = [random.choice("XZ") for _ in range(self.pairs)]
        for basis in mine:
            half = epr.create_keep()[0] if self.peer == "bob" else epr.recv_keep()[0]
            if basis == "X":
                half.H()
            outcomes.append(half.measure())
            yield from context.connection.flush()

        socket: ClassicalSocket = context.csockets[self.peer]
        socket.send_structured(StructuredMessage("bases", mine))
        theirs = (yield from socket.recv_structured()).payload
        key = {"X": [], "Z": []}
        for basis, other, outcome in zip(mine, theirs, outcomes, strict=True):
            if basis == other:
                key[basis].append(int(outcome))
        return key


fidelity = float(sys.argv[1]) if len(sys.argv) > 1 else 0.95
pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 400
link = DepolariseQLinkConfig(fidelity=fidelity, prob_success=1, t_cycle=1000)
network = create_complete_graph_network(["alice", "bob"], "depolarise", link)
(alice,), (bob,) = run(network, {"alice": Party("bob", pairs), "bob": Party("alice", pairs)})
for basis, bits in alice.items():
    errors = sum(a != b for a, b in zip(bits, bob[basis], strict=True))
    print(f"{basis}: {len(bits)} bits, {errors} errors")

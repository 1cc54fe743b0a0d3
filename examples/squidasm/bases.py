"""Pairs that the network stack measures itself, in the bases that the request names.

Halves of a Phi+ pair are equal in X and Z and different in Y; in directions at an angle of pi/4
they are equal with probability cos(pi/8)^2.

    dpem squidasm examples/squidasm/bases.py [PAIRS]
"""

import sys

from netqasm.sdk.build_epr import EprMeasBasis
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util import create_two_node_network

REQUESTS = {
    "X": {"basis_local": EprMeasBasis.X, "basis_remote": EprMeasBasis.X},
    "Y": {"basis_local": EprMeasBasis.Y, "basis_remote": EprMeasBasis.Y},
    "Z": {"basis_local": EprMeasBasis.Z, "basis_remote": EprMeasBasis.Z},
    # Rotations count in pi/16, about X, Y and X.
    "Z and Z + X": {"rotations_remote": (0, 4, 0)},
}


class Measure(Program):
    """Ask for measured pairs, or welcome them; who asks chooses the bases of both."""

    def __init__(self, peer: str, pairs: int):
        self.peer, self.pairs = peer, pairs

    @property
    def meta(self) -> ProgramMeta:
        """No qubit is kept."""
        return ProgramMeta("measure", csockets=[], epr_sockets=[self.peer], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return outcomes by request."""
        epr, results = context.epr_sockets[self.peer], {}
        for name, bases in REQUESTS.items():
            if self.peer == "bob":
                results[name] = epr.create_measure(number=self.pairs, **bases)
            else:
                results[name] = epr.recv_measure(number=self.pairs)
            yield from context.connection.flush()
        return {
            name: [int(result.raw_measurement_outcome) for result in some]
            for name, some in results.items()
        }


pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
network = create_two_node_network(["alice", "bob"])
(alice,), (bob,) = run(network, {"alice": Measure("bob", pairs), "bob": Measure("alice", pairs)})
for name, outcomes in alice.items():
    equal = sum(a == b for a, b in zip(outcomes, bob[name], strict=True))
    print(f"{name}: {equal} of {pairs} equal")

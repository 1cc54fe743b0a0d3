"""Two nodes measure halves of pairs: futures, and subroutines compiled before they are needed.

dpem squidasm examples/squidasm/pairs.py [RUNS]
"""

import sys

from squidasm.run.stack.config import LinkConfig, StackConfig, StackNetworkConfig
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta


class Measure(Program):
    """Measure two pairs, one in Z and one in X; then a qubit of one's own."""

    def __init__(self, peer: str, creates: bool):
        self.peer, self.creates = peer, creates

    @property
    def meta(self) -> ProgramMeta:
        """One qubit at a time is enough."""
        return ProgramMeta("measure", csockets=[self.peer], epr_sockets=[self.peer], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return outcomes, and what the peer told."""
        connection, epr = context.connection, context.epr_sockets[self.peer]

        half = epr.create_keep()[0] if self.creates else epr.recv_keep()[0]
        in_z = half.measure()
        yield from connection.flush()
        # A future has a value from here on, and is as good as a number.
        told = f"Z gave {in_z}"

        half = epr.create_keep()[0] if self.creates else epr.recv_keep()[0]
        half.H()
        in_x = half.measure()
        subroutine = connection.compile()
        yield from connection.commit_subroutine(subroutine)

        context.csockets[self.peer].send(told)
        heard = yield from context.csockets[self.peer].recv()
        return {"z": int(in_z), "x": int(in_x), "heard": heard}


runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
network = StackNetworkConfig(
    stacks=[StackConfig.perfect_generic_config(name) for name in ("alice", "bob")],
    links=[LinkConfig.perfect_config("alice", "bob")],
)
programs = {"alice": Measure("bob", creates=True), "bob": Measure("alice", creates=False)}
alice, bob = run(network, programs, num_times=runs)
for basis in "zx":
    equal = sum(a[basis] == b[basis] for a, b in zip(alice, bob, strict=True))
    ones = sum(a[basis] for a in alice)
    print(f"{basis}: {equal} of {runs} equal, {ones} ones")
told = sum(b["heard"] == f"Z gave {a['z']}" for a, b in zip(alice, bob, strict=True))
print(f"told: {told} of {runs}")

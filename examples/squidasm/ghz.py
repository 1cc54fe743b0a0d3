"""A GHZ state of a line of nodes, made of pairs between neighbours.

dpem squidasm examples/squidasm/ghz.py [NODES] [RUNS]
"""

import sys

import netsquid as ns
from netsquid_netbuilder.modules.clinks.default import DefaultCLinkConfig
from netsquid_netbuilder.modules.qlinks.perfect import PerfectQLinkConfig
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util.routines import create_ghz
from squidasm.util.util import create_complete_graph_network


class Member(Program):
    """One node of the line, with neighbours below and above."""

    def __init__(self, below: str | None, above: str | None, basis: str):
        self.below, self.above, self.basis = below, above, basis

    @property
    def meta(self) -> ProgramMeta:
        """Sockets to the neighbours that there are."""
        peers = [peer for peer in (self.below, self.above) if peer is not None]
        return ProgramMeta("member", csockets=peers, epr_sockets=peers, max_qubits=2)

    def run(self, context: ProgramContext):
        """Return the outcome in the basis that all have agreed on, and when it was there."""
        pairs, messages = context.epr_sockets, context.csockets
        qubit, _ = yield from create_ghz(
            context.connection,
            down_epr_socket=pairs[self.below] if self.below else None,
            up_epr_socket=pairs[self.above] if self.above else None,
            down_socket=messages[self.below] if self.below else None,
            up_socket=messages[self.above] if self.above else None,
            do_corrections=True,
        )
        if self.basis == "x":
            qubit.H()
        outcome = qubit.measure()
        yield from context.connection.flush()
        return {"outcome": int(outcome), "ns": ns.sim_time()}


nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 4
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 20
names = [f"node{number}" for number in range(nodes)]
network = create_complete_graph_network(
    names,
    "perfect",
    PerfectQLinkConfig(state_delay=100),
    clink_typ="default",
    clink_cfg=DefaultCLinkConfig(delay=50),
)
for basis in "zx":
    line = [None, *names, None]
    programs = {
        name: Member(line[place], line[place + 2], basis) for place, name in enumerate(names)
    }
    results = run(network, programs, num_times=runs)
    outcomes = [[result["outcome"] for result in shot] for shot in zip(*results, strict=True)]
    equal = sum(len(set(shot)) == 1 for shot in outcomes)
    even = sum(sum(shot) % 2 == 0 for shot in outcomes)
    print(f"{basis}: {equal} of {runs} all equal, {even} of {runs} with an even number of ones")

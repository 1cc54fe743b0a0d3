"""Ten pairs one after the other through the single electron of an NV centre, with faulty readout.

dpem squidasm examples/squidasm/nv_sequential.py [RUNS]
"""

import sys

from squidasm.run.stack.config import (
    DepolariseLinkConfig,
    LinkConfig,
    NVQDeviceConfig,
    StackConfig,
    StackNetworkConfig,
)
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta

PAIRS = 10


class Measure(Program):
    """Measure each pair when it is there; the first of each ten is flipped before."""

    def __init__(self, peer: str):
        self.peer = peer

    @property
    def meta(self) -> ProgramMeta:
        """The electron."""
        return ProgramMeta("measure", csockets=[], epr_sockets=[self.peer], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return ten outcomes."""
        outcomes = context.connection.new_array(length=PAIRS)

        def measure(_, half, pair):
            with pair.if_eq(0):
                half.X()
            half.measure(future=outcomes.get_future_index(pair))

        epr = context.epr_sockets[self.peer]
        request = epr.create_keep if self.peer == "bob" else epr.recv_keep
        request(PAIRS, sequential=True, post_routine=measure)
        yield from context.connection.flush()
        return [int(outcome) for outcome in outcomes]


runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
device = NVQDeviceConfig.perfect_config()
device.prob_error_0 = 0.05
device.prob_error_1 = 0.01
link = LinkConfig(
    stack1="alice",
    stack2="bob",
    typ="depolarise",
    cfg=DepolariseLinkConfig(fidelity=1, prob_success=0.2, t_cycle=1000),
)
stacks = [StackConfig(name=n, qdevice_typ="nv", qdevice_cfg=device) for n in ("alice", "bob")]
network = StackNetworkConfig(stacks=stacks, links=[link])
alice, bob = run(network, {"alice": Measure("bob"), "bob": Measure("alice")}, num_times=runs)
of_alice, of_bob = ([bit for one in runs_of for bit in one] for runs_of in (alice, bob))
errors = sum(a != b for a, b in zip(of_alice, of_bob, strict=True))
print(f"errors: {errors} of {runs * PAIRS}, ones: {sum(of_alice)} of {runs * PAIRS}")

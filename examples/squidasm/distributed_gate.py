"""A CNOT between two nodes entangles a qubit of one with a qubit of the other.

dpem squidasm examples/squidasm/distributed_gate.py
"""

from netqasm.sdk.qubit import Qubit
from netsquid.qubits.ketstates import BellIndex
from netsquid_netbuilder.util.fidelity import calculate_fidelity_epr
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util import create_two_node_network, get_qubit_state
from squidasm.util.routines import distributed_CNOT_control, distributed_CNOT_target


class Half(Program):
    """One side of the gate, with a qubit of its own."""

    def __init__(self, node: str, peer: str):
        self.node, self.peer = node, peer

    @property
    def meta(self) -> ProgramMeta:
        """Its qubit and half of a pair."""
        return ProgramMeta("half", csockets=[self.peer], epr_sockets=[self.peer], max_qubits=2)

    def run(self, context: ProgramContext):
        """Return the states of the own qubit and of both."""
        qubit, socket = Qubit(context.connection), context.csockets[self.peer]
        if self.node == "control":
            qubit.H()
            yield from distributed_CNOT_control(context, self.peer, qubit)
        else:
            yield from distributed_CNOT_target(context, self.peer, qubit)
        # The state is final when both have done their corrections.
        socket.send("done")
        yield from socket.recv()
        alone = get_qubit_state(qubit, self.node)
        both = get_qubit_state(qubit, self.node, full_state=True)
        socket.send("seen")
        yield from socket.recv()
        outcome = qubit.measure()
        yield from context.connection.flush()
        return {"alone": alone, "both": both, "outcome": int(outcome)}


network = create_two_node_network(["control", "target"])
programs = {"control": Half("control", "target"), "target": Half("target", "control")}
control, target = run(network, programs, num_times=20)
for control_run, target_run in zip(control, target, strict=True):
    assert control_run["outcome"] == target_run["outcome"]
fidelity = calculate_fidelity_epr(control[0]["both"], BellIndex.PHI_PLUS)
print(f"fidelity with a Bell pair {fidelity:.9f}")
print(f"one side alone: {control[0]['alone'].real.round(6).tolist()}")

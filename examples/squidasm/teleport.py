"""Teleportation over a noisy link, and how well the state arrives.

dpem squidasm examples/squidasm/teleport.py [NOISE] [RUNS]
"""

import sys

import numpy as np
from netqasm.sdk.qubit import Qubit
from netqasm.sdk.toolbox.state_prep import set_qubit_state
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util import create_two_node_network, get_qubit_state, get_reference_state
from squidasm.util.routines import teleport_recv, teleport_send

PHI, THETA = np.pi / 3, np.pi / 4


class Sender(Program):
    """Prepare a qubit and send it away."""

    @property
    def meta(self) -> ProgramMeta:
        """The qubit and half of a pair."""
        return ProgramMeta("sender", csockets=["bob"], epr_sockets=["bob"], max_qubits=2)

    def run(self, context: ProgramContext):
        """Teleport one qubit."""
        qubit = Qubit(context.connection)
        set_qubit_state(qubit, PHI, THETA)
        yield from teleport_send(qubit, context, peer_name="bob")
        return {}


class Receiver(Program):
    """Receive a qubit and look at it."""

    @property
    def meta(self) -> ProgramMeta:
        """Half of a pair."""
        return ProgramMeta("receiver", csockets=["alice"], epr_sockets=["alice"], max_qubits=2)

    def run(self, context: ProgramContext):
        """Return the density matrix that came."""
        qubit = yield from teleport_recv(context, peer_name="alice")
        state = get_qubit_state(qubit, "bob")
        qubit.free()
        yield from context.connection.flush()
        return {"state": state}


noise = float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 20
network = create_two_node_network(["alice", "bob"], link_noise=noise)
_, bob = run(network, {"alice": Sender(), "bob": Receiver()}, num_times=runs)
sent = get_reference_state(PHI, THETA)
fidelities = [np.trace(sent @ result["state"]).real for result in bob]
print(f"fidelity {np.mean(fidelities):.9f} +- {np.std(fidelities):.1e}")

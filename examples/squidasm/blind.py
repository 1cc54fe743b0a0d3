"""Blind computing: a server measures in a direction of which it learns nothing.

The client prepares Rz(theta)|+> at the server from afar, then asks for a measurement turned by
delta = alpha - theta + (its outcome) pi. The server finds 0 with probability cos(alpha/2)^2.

    dpem squidasm examples/squidasm/blind.py [ALPHA in units of pi] [RUNS]
"""

import math
import random
import sys

from netqasm.lang.operand import Template
from squidasm.run.stack.config import LinkConfig, StackConfig, StackNetworkConfig
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util.routines import recv_remote_state_preparation, remote_state_preparation


class Client(Program):
    """Hide the angle alpha behind a random one."""

    def __init__(self, eighths: int):
        self.eighths = eighths

    @property
    def meta(self) -> ProgramMeta:
        """Half of a pair, measured at once."""
        return ProgramMeta("client", csockets=["server"], epr_sockets=["server"], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return the hidden angle."""
        theta = random.randrange(8)
        outcome = remote_state_preparation(context.epr_sockets["server"], theta * math.pi / 8)
        yield from context.connection.flush()
        delta = (self.eighths - theta + 8 * int(outcome)) % 16
        context.csockets["server"].send_int(delta)
        return {"theta": theta}


class Server(Program):
    """Do as told, by a subroutine that is compiled before the angle is known."""

    @property
    def meta(self) -> ProgramMeta:
        """Half of a pair."""
        return ProgramMeta("server", csockets=["client"], epr_sockets=["client"], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return the outcome and the angle that was asked for, in eighths of pi."""
        connection = context.connection
        half = recv_remote_state_preparation(context.epr_sockets["client"])
        yield from connection.flush()
        half.rot_Z(n=Template("delta"), d=3)
        half.H()
        outcome = half.measure(store_array=False)
        subroutine = connection.compile()
        delta = yield from context.csockets["client"].recv_int()
        subroutine.instantiate(connection.app_id, {"delta": delta})
        yield from connection.commit_subroutine(subroutine)
        return {"outcome": int(outcome), "delta": delta}


alpha = float(sys.argv[1]) if len(sys.argv) > 1 else 0.25
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 200
network = StackNetworkConfig(
    stacks=[StackConfig.perfect_generic_config(name) for name in ("client", "server")],
    links=[LinkConfig.perfect_config("client", "server")],
)
_, server = run(network, {"client": Client(round(8 * alpha)), "server": Server()}, num_times=runs)
zeros = sum(result["outcome"] == 0 for result in server)
print(f"outcome 0: {zeros} of {runs}, expected {runs * math.cos(alpha * math.pi / 2) ** 2:.1f}")
print(f"different angles seen by the server: {len({result['delta'] for result in server})}")

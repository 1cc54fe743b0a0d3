"""The CHSH game: how often two players win who share a pair, and may not talk.

dpem squidasm examples/squidasm/chsh.py [NOISE] [ROUNDS]
"""

import math
import sys

from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta
from squidasm.util import create_two_node_network


class Player(Program):
    """Measure in a direction of the X-Z plane that depends on the question."""

    def __init__(self, peer: str, angle: float):
        self.peer, self.angle = peer, angle

    @property
    def meta(self) -> ProgramMeta:
        """Half of a pair and no messages."""
        return ProgramMeta("player", csockets=[], epr_sockets=[self.peer], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return the answer."""
        epr = context.epr_sockets[self.peer]
        half = epr.create_keep()[0] if self.peer == "bob" else epr.recv_keep()[0]
        half.rot_Y(angle=-self.angle)
        answer = half.measure()
        yield from context.connection.flush()
        return int(answer)


noise = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
network = create_two_node_network(["alice", "bob"], link_noise=noise)
won = 0
for x, alice_angle in enumerate((0.0, math.pi / 2)):
    for y, bob_angle in enumerate((math.pi / 4, -math.pi / 4)):
        programs = {"alice": Player("bob", alice_angle), "bob": Player("alice", bob_angle)}
        alice, bob = run(network, programs, num_times=rounds)
        for a, b in zip(alice, bob, strict=True):
            won += (a ^ b) == (x & y)
print(f"won {won} of {4 * rounds}: {won / (4 * rounds):.4f}")

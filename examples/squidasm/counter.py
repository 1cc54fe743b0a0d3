"""A subroutine in NetQASM text, with a loop and classical arithmetic, on one node.

It turns a qubit by STEPS times pi/16 about X, one step at a time, and measures it.

    dpem squidasm examples/squidasm/counter.py [STEPS] [RUNS]
"""

import math
import sys

from netqasm.lang.parsing.text import parse_text_protosubroutine
from squidasm.run.stack.config import StackConfig, StackNetworkConfig
from squidasm.run.stack.run import run
from squidasm.sim.stack.program import Program, ProgramContext, ProgramMeta

TEXT = """
# NETQASM 1.0
# APPID 0
array 2 @0
set Q0 0
qalloc Q0
init Q0
set R0 0
set R1 {steps}
set R2 1
LOOP:
beq R0 R1 DONE
rot_x Q0 1 4
add R0 R0 R2
jmp LOOP
DONE:
meas Q0 M0
qfree Q0
store M0 @0[0]
store R0 @0[1]
ret_arr @0
"""


class Counter(Program):
    """Run the text as it is."""

    def __init__(self, steps: int):
        self.steps = steps

    @property
    def meta(self) -> ProgramMeta:
        """One qubit and nobody to talk to."""
        return ProgramMeta("counter", csockets=[], epr_sockets=[], max_qubits=1)

    def run(self, context: ProgramContext):
        """Return the outcome and how many steps were counted."""
        subroutine = parse_text_protosubroutine(TEXT.replace("{steps}", str(self.steps)))
        yield from context.connection.commit_protosubroutine(subroutine)
        outcome, counted = context.connection.shared_memory.get_array(0)
        return {"outcome": outcome, "counted": counted}


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 8
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 100
network = StackNetworkConfig(stacks=[StackConfig.perfect_generic_config("alice")], links=[])
(results,) = run(network, {"alice": Counter(steps)}, num_times=runs)
ones = sum(result["outcome"] for result in results)
expected = runs * math.sin(steps * math.pi / 32) ** 2
print(f"counted {results[0]['counted']}; ones: {ones} of {runs}, expected {expected:.1f}")

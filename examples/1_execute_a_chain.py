"""Two noisy links, one swap, a wait: what fidelity comes out, and how sure are we?

Program -> Counts -> Estimate. Run it with ``python examples/1_execute_a_chain.py``.
"""

import numpy as np

from backends.analytic import AnalyticBackend
from backends.contract import plan_of
from quantum.batch import stack
from quantum.bell import fidelity, werner
from quantum.counts import Counts
from quantum.estimate import estimate, probability_at_least
from quantum.program import Gates, Generate, Measure, Memory, Program, Swap, Wait, check

# A program is plain data: two pairs, the first waits 0.5 s, a swap joins them, 20,000 tests.
program = check(
    Program(
        steps=(
            Generate(0, tuple(werner(0.95).tolist())),
            Generate(1, tuple(werner(0.97).tolist())),
            Wait(0, left_s=0.5, right_s=0.5),
            Swap(left=0, right=1),
            Measure(0, "random", shots=20_000),
        ),
        memory=Memory(t1_s=3600.0, t2_s=60.0),
        gates=Gates(gate_depolarizing=0.01, readout_error=0.002),
    )
)

# A backend gives raw counts, never a fidelity. Programs of one shape are executed as one batch.
[(_, batch)] = stack([program])
outcome = AnalyticBackend().run(batch, plan_of([program]), np.random.default_rng(7))
counts = Counts.from_array(outcome.counts[0])
found = estimate(counts)

print(f"{found.shots} tests: fidelity {found.best:.4f}, 95 % [{found.low:.4f}, {found.high:.4f}]")
print(f"probability that it is at least 0.90: {probability_at_least(counts, 0.90):.3f}")
print(f"exact, which only a simulator knows: {fidelity(outcome.truth.populations)[0]:.4f}")

"""An allocator of your own, played against the tuned mean-rate heuristic.

A heuristic is a ``Rule``: numbers that say what stock to keep and what a path costs. This one keeps
the same stock on every link, whatever is asked. Run it with ``python examples/3_own_allocator.py``.
"""

import numpy as np

from controller.game import play, prepare
from controller.plan import Plan
from controller.rivals.allocator import Allocator, find
from quantum.ledger import Rule
from quantum.presets import build, run_cell
from quantum.scenario import Scenario


def even_stock(scenario: Scenario, plan: Plan) -> Rule:
    """Keep 1.5 pairs on every link; generate where the gap to that is largest."""
    return Rule(fill=2, complete=1, targets=np.full(len(scenario.network.links), 1.5))


mine = Allocator(
    name="even-stock",
    central=True,  # decided at a controller: signalling there and back costs time
    sentence="Central, the same stock on every link.",
    rule=even_stock,
)

# Four networks, each with its own draws; both allocators see the same ones.
for seed in range(4):
    cell = run_cell("mesh-20", "scheduled", load_hz=25.0)
    game = prepare(build(cell, seed=seed, seconds=20.0, warmup_s=5.0))
    ours, theirs = (play(game, who, with_losses=False) for who in (mine, find("mean-rate")))
    print(
        f"seed {seed}: {mine.name} {ours.fraction_of_bound:.3f} of the bound, "
        f"mean-rate {theirs.fraction_of_bound:.3f}"
    )

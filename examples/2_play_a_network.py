"""Play two allocators on the same draws of a small network, and score them against the bound.

Run it with ``python examples/2_play_a_network.py``.
"""

from controller.game import play, prepare
from controller.rivals.allocator import find
from quantum.presets import build, run_cell

# The cell says what is played: a ring of eight nodes, requests at random, 6 pairs a second.
cell = run_cell("ring-8", "poisson", load_hz=6.0)
# The seed picks the network (seed mod 4) and everything random in it.
scenario = build(cell, seed=1, seconds=30.0, warmup_s=5.0)
# A game is a scenario with its world, its plan and its upper bound; playing changes nothing in it.
game = prepare(scenario)

print(f"{len(scenario.network.nodes)} nodes, {len(scenario.network.links)} links")
print(f"at most {game.bound:.1f} pairs can be delivered by anyone")
for name in ("on-demand", "uniform", "mean-rate"):
    result = play(game, find(name))
    score = result.score
    print(
        f"{name:10} delivered {score.pairs_delivered:3} of {score.pairs_requested} pairs, "
        f"{result.fraction_of_bound:.0%} of the bound, contention {score.contention:.4f}"
    )

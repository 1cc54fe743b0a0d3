"""Three applications on the same network, each with the fidelity it needs; two allocators each.

Run it with ``python examples/2_play_a_network.py``.
"""

from controller import api

net = api.network("grid-3x3", seed=1)
print(f"{net.name}: {len(net.nodes)} nodes, {len(net.links)} links")
# Key refresh asks for 0.75 and 0.85, sensing for what beats single probes, computing for what
# an error-correcting code can bear; each has its own rhythm and deadline.
for demand in ("scheduled", "sensing", "computing"):
    game = api.game(net, demand, load_hz=6.0, seconds=20.0, warmup_s=5.0, seed=1)
    needs = sorted(set(game.scenario.trace.minimum_fidelity.tolist()))
    print(f"{demand} asks for {needs}; at most {game.bound:.1f} pairs can be delivered by anyone")
    # Both meet the same requests, tokens and luck.
    for row in api.compare(game, ["on-demand", "mean-rate"]):
        print(
            f"  {row['allocator']:10} delivered {row['pairs_delivered']:3} of "
            f"{row['pairs_requested']} pairs, {row['fraction_of_bound']:.0%} of the bound, "
            f"contention {row['contention']:.4f}"
        )

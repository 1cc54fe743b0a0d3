"""``dpem bench ppo``: what trains the nodes, held against what others have published and measured.

Minutes: half a million steps of eight agents in two environments are the larger part.
"""

from typing import Any

import numpy as np
import torch

from controller.mlp import MLPLearner, MLPNetwork
from controller.ppo_bench.anchors import ANCHOR, train_anchor
from controller.ppo_bench.facades import microseconds_per_agent_step
from controller.ppo_bench.looped import Loop
from controller.ppo_bench.rates import (
    Random,
    crowded,
    library_rate,
    looped_rate,
    paper,
    stacked_rate,
    twin_rates,
)
from controller.setting import Setting

__all__ = ["difference_from_loop", "ppo"]

AGENTS, STEPS = 8, 500_000
#: CleanRL's ``ppo.py`` with the same settings, three seeds (its documentation, April 2026).
PUBLISHED = {"cleanrl_cartpole_return": 490.04, "cleanrl_acrobot_return": -86.36}


def ppo() -> dict[str, Any]:
    """Measure agent-steps per processor second, returns, and the distance from looped agents."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measured()
    finally:
        torch.set_num_threads(threads)


def _measured() -> dict[str, Any]:
    usual, dense = twin_rates(paper()), twin_rates(crowded())
    stacked, looped, library = stacked_rate(), looped_rate(), library_rate()
    facade = microseconds_per_agent_step(Setting(seconds=20.0, warmup_s=1.0))
    cartpole = train_anchor("CartPole-v1", agents=AGENTS, steps=STEPS, seed=1)
    acrobot = train_anchor("Acrobot-v1", agents=AGENTS, steps=STEPS, seed=1)
    return {
        "name": "ppo",
        "results": {
            "agent_steps_per_cpu_s": usual.agent_steps,
            "agent_step": "one of 100 nodes in a slot of the paper's network: looked at, what it "
            "can do, its reward; nine in a hundred have a token, and learn from its use",
            "decisions_per_cpu_s": usual.decisions,
            "crowded_agent_steps_per_cpu_s": dense.agent_steps,
            "crowded_decisions_per_cpu_s": dense.decisions,
            "networks_agent_steps_per_cpu_s": stacked,
            "stacked_minus_looped": difference_from_loop(),
            "cartpole_return": cartpole.mean,
            "cartpole_worst_seed": min(cartpole.returns),
            "acrobot_return": acrobot.mean,
            "acrobot_worst_seed": min(acrobot.returns),
            **{f"{name}_us_per_agent_step": cost for name, cost in facade.items()},
        },
        "reference": {
            "looped_modules_agent_steps_per_cpu_s": looped,
            "stable_baselines3_agent_steps_per_cpu_s": library,
            "networks": "100 agents, 64 numbers seen, 16 actions, 64 hidden; no environment",
            **PUBLISHED,
        },
        "ratio": {
            "networks_vs_looped": stacked / looped,
            "networks_vs_stable_baselines3": stacked / library if library else None,
            "agent_steps_vs_stable_baselines3": usual.agent_steps / library if library else None,
            "cartpole_vs_published": cartpole.mean / PUBLISHED["cleanrl_cartpole_return"],
            # Returns are negative there: less than 1 is better.
            "acrobot_vs_published": acrobot.mean / PUBLISHED["cleanrl_acrobot_return"],
        },
    }


def difference_from_loop(agents: int = 20, updates: int = 2) -> float:
    """Return the largest difference of a weight from that of looped modules after updates."""
    network = MLPNetwork(agents, 64, 16, 64, seed=0)
    learner, loop = MLPLearner(network, config=ANCHOR), Loop(network, ANCHOR, seed=0)
    world = Random(agents)
    for _ in range(updates):
        seen = world.experience()
        learner.update(seen)
        loop.update(seen)
    return float(np.abs(network.flat.numpy() - loop.parameters()).max())

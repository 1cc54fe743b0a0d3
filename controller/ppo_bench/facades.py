"""What it costs that environments speak in dictionaries."""

import time

import numpy as np

from controller.environments.episode import Episode
from controller.setting import Setting

__all__ = ["microseconds_per_agent_step"]


def microseconds_per_agent_step(setting: Setting, *, steps: int = 300) -> dict[str, float]:
    """Return the processor time of a step over its agents: arrays, and PettingZoo's dictionaries.

    The difference is the facade. Nobody learns, and all follow the heuristic.
    """
    inside = Episode(setting)

    def arrays() -> float:
        moment = inside.begin(0)
        began = time.process_time()
        for _ in range(steps):
            moment = inside.step(moment.heuristic)
        return time.process_time() - began

    costs = {"arrays": min(arrays(), arrays())}
    try:
        from controller.environments.pettingzoo_env import NodesEnv
    except ImportError:
        return {name: cost / steps / inside.nodes * 1e6 for name, cost in costs.items()}
    outside = NodesEnv(setting)

    def dictionaries() -> float:
        outside.reset(seed=0)
        began = time.process_time()
        for _ in range(steps):
            best = outside.heuristic()
            outside.step(dict(zip(outside.agents, map(np.int64, best), strict=True)))
        return time.process_time() - began

    costs["dictionaries"] = min(dictionaries(), dictionaries())
    return {
        name: float(np.round(cost / steps / inside.nodes * 1e6, 3)) for name, cost in costs.items()
    }

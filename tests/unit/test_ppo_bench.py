"""``dpem bench ppo``: its parts in small, and the whole of it against what is published."""

import numpy as np
import pytest
import torch

from controller.ppo_bench import bench
from controller.ppo_bench.anchors import train_anchor
from controller.ppo_bench.facades import microseconds_per_agent_step
from controller.ppo_bench.rates import crowded, twin_rates
from controller.setting import Setting


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_stacked_agents_are_looped_agents() -> None:
    assert 0.0 < bench.difference_from_loop(3, 1) < 1e-6


def test_cartpole_is_being_learned() -> None:
    """After a hundredth of the steps poles stand longer, with every seed the same way again."""
    returns = [train_anchor("CartPole-v1", agents=2, steps=n, seed=1).mean for n in (1024, 8192)]
    assert returns[0] < 35.0
    assert returns[1] > 1.5 * returns[0]
    assert train_anchor("CartPole-v1", agents=2, steps=1024, seed=1).mean == returns[0]


@pytest.mark.long
@pytest.mark.timeout(3600)  # half a million steps of eight agents, twice
def test_the_bench_reaches_what_is_published() -> None:
    result = bench.ppo()
    found = result["results"]
    assert found["cartpole_return"] >= 475.0
    assert found["acrobot_return"] >= -90.0
    assert found["stacked_minus_looped"] < 1e-6
    # Ratios of one run: rates alone say how busy the machine was.
    assert result["ratio"]["networks_vs_looped"] > 4.0
    assert result["ratio"]["agent_steps_vs_stable_baselines3"] > 10.0


@pytest.mark.long
def test_nodes_decide_nearly_always_in_the_crowded_network() -> None:
    rates = twin_rates(crowded(), block=20, blocks=1)
    assert 0.5 < rates.decisions / rates.agent_steps < 2.0
    costs = microseconds_per_agent_step(
        Setting(topology="mesh-20", load_hz=25.0, seconds=5.0, warmup_s=0.5), steps=20
    )
    assert all(np.isfinite(list(costs.values()))) and list(costs) == ["arrays", "dictionaries"]
    assert all(a > 0.0 for a in costs.values())

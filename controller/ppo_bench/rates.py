"""Agent-steps per second of processor time, in the twin and with networks alone."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from controller.decide import FEATURES, new_memory
from controller.environments.field import Field
from controller.game import Game, prepare
from controller.mlp import Experience, MLPLearner, MLPNetwork
from controller.ppo import Learner, PPOConfig
from controller.ppo_bench.looped import Loop
from controller.rollout import rollout_of
from controller.setting import Setting, scenario_of
from quantum.seeding import generator
from quantum.topology import load_topology, to_json

__all__ = [
    "Random",
    "Rates",
    "crowded",
    "library_rate",
    "looped_rate",
    "paper",
    "stacked_rate",
    "twin_rates",
]

#: Slots between two updates, and updates that are measured after one that is not.
_BLOCK, _BLOCKS = 250, 4
#: The networks of the measurements in public: 64 numbers seen, 16 actions, 64 hidden units.
_SEEN, _ACTIONS, _HIDDEN, _LENGTH = 64, 16, 64, 128
_TEMPERATURE, _GAMMA_SLOT = 0.05, 0.98


class Rates(NamedTuple):
    """Per second of processor time, playing and learning together."""

    agent_steps: float
    """Nodes times slots: each node is looked at, does what it can, and is paid, in every slot."""
    decisions: float
    """Tokens that a policy spent: seen, drawn, remembered, paid and learned from."""


def paper() -> Game:
    """Return the paper's network of 100 nodes at its load."""
    return prepare(scenario_of(Setting(seconds=40.0, warmup_s=1.0)))


def crowded() -> Game:
    """Return that network with ten times the tokens and swaps: nearly all nodes always decide."""
    network = load_topology("mesh", seed=0)
    with TemporaryDirectory(prefix="dpem-bench-") as folder:
        path = Path(folder) / "network.json"
        more = replace(
            network,
            name="mesh-crowded",
            generation_hz=network.generation_hz * 10.0,
            swap_hz=network.swap_hz * 10.0,
        )
        path.write_bytes(to_json(more))
        setting = Setting(
            topology=str(path), demand="poisson", load_hz=60.0, seconds=40.0, warmup_s=1.0
        )
        return prepare(scenario_of(setting))


def twin_rates(game: Game, *, block: int = _BLOCK, blocks: int = _BLOCKS) -> Rates:
    """Let every node of a game play and learn by a policy of its own.

    Each block of slots is played, then learned from: four epochs of four minibatches.
    """
    field = Field(game)
    config = PPOConfig(temperature=_TEMPERATURE)
    learner = Learner(field.nodes, len(FEATURES), config=config)
    memory = new_memory(field.nodes, 4 * block, field.candidates)
    decided, began, first = 0, 0.0, 0
    for number in range(blocks + 1):
        if number == 1:
            decided, began, first = 0, time.process_time(), field.slot
        decided += field.play(
            learner.actor(), memory, temperature=_TEMPERATURE, stop=field.slot + block
        )
        rollout = rollout_of(memory, _GAMMA_SLOT)
        if rollout is not None:
            learner.update(rollout)
        memory.taken[:], memory.pending[:] = 0, 0.0
    took = time.process_time() - began
    return Rates(field.nodes * (field.slot - first) / took, decided / took)


def stacked_rate(agents: int = 100) -> float:
    """Return agent-steps per second of stacked networks: acting, then learning."""
    network = MLPNetwork(agents, _SEEN, _ACTIONS, _HIDDEN, seed=0)
    learner = MLPLearner(network, config=PPOConfig(normalise_minibatches=True))
    world = Random(agents)

    def step() -> None:
        seen = world.experience()
        rng = generator(0, "bench", "acting")
        for t in range(_LENGTH):
            learner.act(seen.observation[:, :, t], seen.mask[:, :, t], rng)
        learner.update(seen)

    return _rate(step, agents * _LENGTH)


def looped_rate(agents: int = 10) -> float:
    """Return the same of a loop of modules, whose cost per agent does not depend on the others."""
    network = MLPNetwork(agents, _SEEN, _ACTIONS, _HIDDEN, seed=0)
    loop = Loop(network, PPOConfig(normalise_minibatches=True), seed=0)
    world = Random(agents)

    def step() -> None:
        seen = world.experience()
        for t in range(_LENGTH):
            loop.act(
                torch.from_numpy(seen.observation[:, :, t]), torch.from_numpy(seen.mask[:, :, t])
            )
        loop.update(seen)

    return _rate(step, agents * _LENGTH)


def library_rate(agents: int = 5) -> float | None:
    """Return the same of separate Stable-Baselines3 agents; None where it is not installed.

    Its environment costs next to nothing: it shows the same vector for ever.
    """
    try:
        import gymnasium
        from stable_baselines3 import PPO
    except ImportError:
        return None

    class Still(gymnasium.Env[np.ndarray[Any, Any], np.int64]):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (_SEEN,), np.float32)
        action_space = gymnasium.spaces.Discrete(_ACTIONS)
        _vector = np.zeros(_SEEN, dtype=np.float32)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            super().reset(seed=seed)
            return self._vector, {}

        def step(self, action: np.int64) -> Any:
            return self._vector, 1.0, False, False, {}

    each = [
        PPO("MlpPolicy", Still(), n_steps=_LENGTH, batch_size=32, n_epochs=4, device="cpu")
        for _ in range(agents)
    ]
    return _rate(lambda: [agent.learn(_LENGTH) for agent in each], agents * _LENGTH)


class Random:
    """Experience drawn at random: what networks cost does not depend on what they see."""

    def __init__(self, agents: int) -> None:
        self._shape = (agents, 1, _LENGTH)
        self._rng = generator(0, "bench", "experience")

    def experience(self) -> Experience:
        shape, rng = self._shape, self._rng
        nothing = np.zeros(shape, dtype=np.bool_)
        return Experience(
            observation=rng.standard_normal((*shape, _SEEN)).astype(np.float32),
            mask=np.ones((*shape, _ACTIONS), dtype=np.bool_),
            action=rng.integers(0, _ACTIONS, shape),
            log_probability=np.full(shape, -np.log(_ACTIONS), dtype=np.float32),
            reward=rng.standard_normal(shape),
            terminated=nothing,
            truncated=nothing,
            final=np.zeros((*shape, _SEEN), dtype=np.float32),
            last=rng.standard_normal((*shape[:2], _SEEN)).astype(np.float32),
        )


def _rate(work: Callable[[], object], size: int, runs: int = 3) -> float:
    """Return ``size`` over the least processor time of some runs, after one that is not counted."""
    work()
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return size / min(seconds)

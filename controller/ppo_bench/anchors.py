"""Anchors: what PPO is known to reach in two environments that everybody uses.

CleanRL's ``ppo.py`` with its defaults reaches 490 +- 6 in CartPole-v1 and -86 +- 1 in Acrobot-v1
(500,000 steps, mean of the last 100 episodes, three seeds; its documentation, 2026). Here the
seeds are the agents of one stack, so one run of the engine is a test on many seeds.
"""

from dataclasses import dataclass

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from controller.mlp import Experience, MLPLearner, MLPNetwork
from controller.ppo_config import PPOConfig
from quantum.seeding import generator

__all__ = ["ANCHOR", "Anchor", "train_anchor"]

#: The defaults of CleanRL's ``ppo.py``; its rate is annealed to zero.
ANCHOR = PPOConfig(learning_rate=2.5e-4, normalise_minibatches=True, leash_coefficient=0.0)
#: Copies of the environment for each agent, and steps in each between two updates.
_COPIES, _LENGTH = 4, 128
#: Episodes at the end of training whose mean return counts.
_LAST = 100


@dataclass(frozen=True)
class Anchor:
    """Mean return of the last episodes of every agent."""

    returns: tuple[float, ...]
    steps_each: int

    @property
    def mean(self) -> float:
        """Over the agents."""
        return float(np.mean(self.returns))


def train_anchor(name: str, *, agents: int, steps: int, seed: int) -> Anchor:
    """Train ``agents`` agents for about ``steps`` steps each in an environment of Gymnasium."""
    envs = SyncVectorEnv(
        [lambda: gymnasium.make(name)] * (agents * _COPIES),
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    try:
        return _train(envs, agents, max(1, steps // (_COPIES * _LENGTH)), seed)
    finally:
        envs.close()


def _train(envs: SyncVectorEnv, agents: int, updates: int, seed: int) -> Anchor:
    size = int(np.prod(envs.single_observation_space.shape or ()))
    actions = int(envs.single_action_space.n)  # type: ignore[attr-defined]
    network = MLPNetwork(agents, size, actions, 64, seed=seed)
    learner = MLPLearner(network, seed=seed, config=ANCHOR)
    rng = generator(seed, "anchor")
    seen = envs.reset(seed=seed)[0].reshape(agents, _COPIES, size).astype(np.float32)
    running = np.zeros((agents, _COPIES))
    ended: list[list[float]] = [[] for _ in range(agents)]
    for update in range(updates):
        parts = _collect(envs, learner, seen, rng, running, ended)
        learner.update(parts, scale=1.0 - update / updates)
        seen = parts.last
    return Anchor(
        returns=tuple(float(np.mean(all_[-_LAST:])) for all_ in ended),
        steps_each=updates * _COPIES * _LENGTH,
    )


def _collect(
    envs: SyncVectorEnv,
    learner: MLPLearner,
    seen: NDArray[np.float32],
    rng: np.random.Generator,
    running: NDArray[np.float64],
    ended: list[list[float]],
) -> Experience:
    """Play one rollout; returns of episodes that end in it are appended to ``ended``."""
    agents, copies, size = seen.shape
    shape = (agents, copies, _LENGTH)
    allowed = np.ones((agents, copies, learner.network.actions), dtype=np.bool_)
    out = Experience(
        observation=np.zeros((*shape, size), dtype=np.float32),
        mask=np.ones((*shape, learner.network.actions), dtype=np.bool_),
        action=np.zeros(shape, dtype=np.int64),
        log_probability=np.zeros(shape, dtype=np.float32),
        reward=np.zeros(shape),
        terminated=np.zeros(shape, dtype=np.bool_),
        truncated=np.zeros(shape, dtype=np.bool_),
        final=np.zeros((*shape, size), dtype=np.float32),
        last=np.zeros_like(seen),
    )
    for t in range(_LENGTH):
        action, log_p = learner.act(seen, allowed, rng)
        out.observation[:, :, t], out.action[:, :, t], out.log_probability[:, :, t] = (
            seen,
            action,
            log_p,
        )
        after, reward, terminated, truncated, info = envs.step(action.ravel())
        out.reward[:, :, t] = reward.reshape(agents, copies)
        out.terminated[:, :, t] = terminated.reshape(agents, copies)
        out.truncated[:, :, t] = truncated.reshape(agents, copies)
        running += out.reward[:, :, t]
        for row in np.flatnonzero(terminated | truncated).tolist():
            agent, copy = divmod(row, copies)
            out.final[agent, copy, t] = info["final_obs"][row]
            ended[agent].append(float(running[agent, copy]))
            running[agent, copy] = 0.0
        seen = after.reshape(agents, copies, size).astype(np.float32)
    out.last[:] = seen
    return out

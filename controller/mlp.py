"""A plain actor-critic for N agents with separate weights: vectors in, one of A actions out.

The policy of this project scores candidates; this one is what other people's environments and
published results are about, so that :mod:`controller.ppo_engine` can be held against them. Actor
and critic have trunks of their own, two tanh layers each, orthogonal starts with gains sqrt(2),
0.01 and 1 (Huang et al., 2022). float32, as in the implementations that it is compared with.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from controller.adam import views
from controller.gae import advantages, explained_variance, normalised
from controller.policy import orthogonal
from controller.ppo_config import PPOConfig
from controller.ppo_engine import MASKED, Engine, Inputs, Metrics, Steps, taken
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["Experience", "MLPLearner", "MLPNetwork"]

Single = NDArray[np.float32]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class MLPNetwork:
    """Weights of N agents; inputs are observations (N, M, D) and masks (N, M, A), true: allowed."""

    def __init__(
        self, agents: int, observations: int, actions: int, hidden: int, *, seed: int
    ) -> None:
        for name, value in (
            ("agents", agents),
            ("observations", observations),
            ("actions", actions),
            ("hidden", hidden),
        ):
            if value < 1:
                raise InputError(f"mlp.{name} must be >= 1, got {value}")
        self.agents, self.observations, self.actions = agents, observations, actions
        trunk = [(observations, hidden), (hidden, hidden)]
        ends = ((actions, 0.01), (1, 1.0))
        shapes, rows = [], []
        for out, _ in ends:
            for size in (*trunk, (hidden, out)):
                shapes += [size, (1, size[1])]
        for agent in range(agents):
            rng, parts = generator(seed, "mlp", agent), []
            for out, gain in ends:
                for size, factor in (
                    (trunk[0], 2.0**0.5),
                    (trunk[1], 2.0**0.5),
                    ((hidden, out), gain),
                ):
                    parts += [orthogonal(rng, *size, factor).ravel(), np.zeros(size[1])]
            rows.append(np.concatenate(parts))
        self.flat = torch.from_numpy(np.stack(rows).astype(np.float32))
        self.leaves = views(self.flat, shapes)

    def evaluate(
        self, inputs: Inputs, index: torch.Tensor, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masked logits (N, B, A) and values (N, B), whether inside or not."""
        observation, mask = taken(inputs, index)
        return self.logits(observation, mask), self.values(observation)

    def logits(self, observation: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the actors' logits, (N, M, A), :data:`MASKED` where not allowed."""
        return _trunk(self.leaves[:6], observation).masked_fill(~mask, MASKED)

    def values(self, observation: torch.Tensor) -> torch.Tensor:
        """Return what the critics expect, (N, M)."""
        return _trunk(self.leaves[6:], observation).squeeze(-1)


def _trunk(leaves: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    w1, b1, w2, b2, w3, b3 = leaves
    x = torch.tanh(torch.baddbmm(b1, x, w1))
    x = torch.tanh(torch.baddbmm(b2, x, w2))
    return torch.baddbmm(b3, x, w3)


@dataclass(frozen=True, eq=False)
class Experience:
    """T steps of N agents in E copies of an environment each; (N, E, T) where nothing else stands.

    ``observation`` (N, E, T, D) and ``mask`` (N, E, T, A); ``log_probability`` of ``action`` as it
    was taken. ``terminated``: nothing follows. ``truncated``: the episode was cut and went on from
    ``final`` (N, E, T, D), whose other rows have no effect. ``last`` (N, E, D) is what was seen
    after the last step.
    """

    observation: Single
    mask: Bools
    action: NDArray[np.int64]
    log_probability: Single
    reward: Floats
    terminated: Bools
    truncated: Bools
    final: Single
    last: Single

    def __post_init__(self) -> None:
        n, e, t, d = self.observation.shape
        shapes: dict[str, tuple[int, ...]] = {"final": (n, e, t, d), "last": (n, e, d)}
        shapes["mask"] = (n, e, t, self.mask.shape[-1])
        for name in ("action", "log_probability", "reward", "terminated", "truncated"):
            shapes[name] = (n, e, t)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"experience.{name} must have shape {shape}, got {getattr(self, name).shape}"
                )
        for name in ("observation", "log_probability", "reward", "last"):
            if not np.all(np.isfinite(getattr(self, name))):
                raise InputError(f"experience.{name} must be finite")
        if not np.all(np.take_along_axis(self.mask, self.action[..., None], axis=-1)):
            raise InputError("experience.action must be an action that is not masked")


class MLPLearner:
    """N agents that learn by PPO, each from its own experience."""

    def __init__(
        self,
        network: MLPNetwork,
        *,
        seed: int = 0,
        discount: float = 0.99,
        config: PPOConfig | None = None,
    ) -> None:
        if not 0.0 <= discount <= 1.0:
            raise InputError(f"mlp.discount must be between 0 and 1, got {discount}")
        self.network, self.config = network, config or PPOConfig()
        self._discount = discount
        self._engine = Engine(network, self.config, seed=seed)

    @torch.no_grad()
    def act(
        self, observation: Single, mask: Bools, rng: np.random.Generator | None
    ) -> tuple[NDArray[np.int64], Single]:
        """Choose an action for observations (N, E, D); returns it and its log-probability, (N, E).

        Without a generator the most probable action is taken.
        """
        logits = self.network.logits(torch.from_numpy(observation), torch.from_numpy(mask))
        log_p = torch.log_softmax(logits, dim=-1).numpy()
        scores = log_p if rng is None else log_p + rng.gumbel(size=log_p.shape)
        action: NDArray[np.int64] = scores.argmax(axis=-1)
        return action, np.take_along_axis(log_p, action[..., None], axis=-1)[..., 0]

    def update(self, seen: Experience, *, scale: float = 1.0) -> Metrics:
        """Learn from experience; ``scale`` multiplies the learning rate (annealing)."""
        steps, explained = self._prepare(seen)
        return self._engine.update(steps, explained_variance=explained, scale=scale)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything needed to go on learning, as arrays."""
        return self._engine.state()

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken; InputError if it is of another shape."""
        self._engine.load_state(state)

    def _prepare(self, seen: Experience) -> tuple[Steps, float]:
        agents, copies, length, _ = seen.observation.shape
        flat = (agents, copies * length)
        observation = _tensor(seen.observation.reshape(*flat, -1))
        final = np.where(seen.truncated[..., None], seen.final, np.float32(0.0))
        with torch.no_grad():
            value = self.network.values(observation).numpy()
            last = self.network.values(_tensor(seen.last)).numpy()
            at_cut = self.network.values(_tensor(final.reshape(*flat, -1))).numpy()
        # Copies follow one another in time by themselves: each is a row of its own here.
        rows = (agents * copies, length)
        valid = np.ones(rows, dtype=np.bool_)
        raw = advantages(
            seen.reward.reshape(rows).astype(np.float64),
            value.reshape(rows).astype(np.float64),
            last.reshape(-1).astype(np.float64),
            discount=np.full(rows, self._discount),
            terminated=seen.terminated.reshape(rows),
            valid=valid,
            lam=self.config.gae_lambda,
            truncated=(seen.truncated & ~seen.terminated).reshape(rows),
            final_value=at_cut.reshape(rows).astype(np.float64),
        ).reshape(flat)
        returns = raw + value
        every = valid.reshape(flat)
        scaled = raw if self.config.normalise_minibatches else normalised(raw, every)
        steps = Steps(
            inputs=(observation, _tensor(seen.mask.reshape(*flat, -1))),
            action=_tensor(seen.action.reshape(flat)),
            log_probability=_tensor(seen.log_probability.reshape(flat)),
            value=_tensor(value),
            advantage=_tensor(scaled.astype(np.float32)),
            returns=_tensor(returns.astype(np.float32)),
            anchor=None,
            valid=every,
        )
        return steps, explained_variance(value, returns, every)


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))

"""PPO for the policies of N nodes: separate weights, held as one stacked tensor.

:mod:`controller.ppo_engine` is the algorithm; here a rollout of decisions becomes what it learns
from. Nodes never mix: an update of N stacked nodes is N updates of one node.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from controller.candidate_network import CandidateNetwork, anchored, pool
from controller.gae import advantages, explained_variance, normalised
from controller.policy import Actor, from_parameters, parameters
from controller.ppo_config import PPOConfig
from controller.ppo_engine import Engine, Metrics, Steps
from controller.rollout import Rollout
from quantum.errors import InputError

__all__ = ["Learner", "Metrics", "PPOConfig", "Rollout"]


class Learner:
    """Actors and critics of N nodes, and how they learn.

    The critic reads the mean and the maximum over a node's candidates, through one tanh layer.
    Same seed and same rollouts: same bytes, on the same kind of machine.
    """

    def __init__(
        self,
        nodes: int,
        features: int,
        hidden: int = 8,
        critic_hidden: int = 16,
        *,
        seed: int = 0,
        config: PPOConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.nodes, self.features, self.hidden = nodes, features, hidden
        self.config = config or PPOConfig()
        self._device = torch.device(device)
        self._network = CandidateNetwork(
            nodes, features, hidden, critic_hidden, seed=seed, device=self._device
        )
        self._engine = Engine(self._network, self.config, seed=seed)
        self._anchor: Actor | None = None

    @property
    def rates(self) -> NDArray[np.float64]:
        """The learning rate of every node, (N,): ``kl_target`` moves it."""
        return self._engine.rates

    def actor(self) -> Actor:
        """Return a copy of the acting weights."""
        return self._network.actor()

    def load_actor(self, actor: Actor) -> None:
        """Take over acting weights, as after a federated round; Adam's moments are kept."""
        self._network.load_actor(actor)

    def set_anchor(self, actor: Actor | None) -> None:
        """Leash the policies to an actor of all nodes, or of one for all; None: the heuristic.

        ``leash_coefficient`` is the price of a nat away from it. It is part of :meth:`state`.
        """
        if actor is None:
            self._anchor = None
            return
        self._anchor = self._anchor_of(parameters(actor))

    def _anchor_of(self, flat: NDArray[np.float64]) -> Actor:
        if len(flat) == 1:
            flat = np.repeat(flat, self.nodes, axis=0)
        if len(flat) != self.nodes:
            raise InputError(f"anchor must be of 1 or {self.nodes} nodes, got {len(flat)}")
        return from_parameters(flat, self.features, self.hidden)

    def update(self, rollout: Rollout, *, scale: float = 1.0) -> Metrics:
        """Learn from a rollout; ``scale`` multiplies the learning rate (annealing).

        Raises InputError if the rollout is for other nodes, features, or values not finite.
        """
        if rollout.features.shape[0] != self.nodes or rollout.features.shape[3] != self.features:
            raise InputError(
                f"rollout.features must be of {self.nodes} nodes with {self.features} features, "
                f"got {rollout.features.shape}"
            )
        steps, explained = self._prepare(rollout)
        return self._engine.update(steps, explained_variance=explained, scale=scale)

    def values(self, features: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return what the critic of one agent says of states, (S,).

        ``features`` (S, C, F), ``mask`` (S, C) true where a candidate exists. InputError where the
        learner is not of one agent.
        """
        if self.nodes != 1:
            raise InputError(f"values are those of one agent, this learner has {self.nodes}")
        seen = self._tensor(self._seen(features[None], mask[None]))
        with torch.no_grad():
            found = self._network.values(pool(seen, self._tensor(mask[None])))
        values: NDArray[np.float64] = found.squeeze(0).cpu().numpy()
        return values

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything needed to go on learning, as arrays."""
        anchor = {} if self._anchor is None else {"anchor": parameters(self._anchor)}
        return {**self._engine.state(), **anchor}

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken; InputError if it is of another shape."""
        self._engine.load_state(state)
        found = state.get("anchor")
        self._anchor = None if found is None else self._anchor_of(found.astype(np.float64))

    def _prepare(self, rollout: Rollout) -> tuple[Steps, float]:
        valid = rollout.valid
        # A padded step gets one dummy candidate, so that its softmax is defined; it has no weight.
        mask = rollout.mask & valid[:, :, None]
        mask[:, :, -1] |= ~valid
        seen = mask & valid[:, :, None]
        features = self._tensor(self._seen(rollout.features, seen))
        pooled = pool(features, self._tensor(seen))
        last_seen = rollout.last_mask
        last = self._tensor(self._seen(rollout.last_features, last_seen))
        last_pooled = pool(last.unsqueeze(1), self._tensor(last_seen).unsqueeze(1))
        with torch.no_grad():
            value = self._network.values(pooled).cpu().numpy()
            last_value = self._network.values(last_pooled).squeeze(1).cpu().numpy()
        raw = advantages(
            np.where(valid, rollout.reward, 0.0),
            value,
            last_value,
            discount=np.where(valid, rollout.discount, 0.0),
            terminated=rollout.terminated,
            valid=valid,
            lam=self.config.gae_lambda,
        )
        returns = raw + value
        base = self._tensor(np.where(seen, rollout.base, 0.0) / self.config.temperature)
        masks = self._tensor(mask)
        scaled = raw if self.config.normalise_minibatches else normalised(raw, valid)
        steps = Steps(
            inputs=(features, masks, base, pooled),
            action=self._tensor(np.where(valid, rollout.action, mask.shape[2] - 1)),
            log_probability=self._tensor(np.where(valid, rollout.log_probability, 0.0)),
            value=self._tensor(value),
            advantage=self._tensor(scaled),
            returns=self._tensor(returns),
            anchor=anchored(self._anchor, features, masks, base),
            valid=valid,
        )
        return steps, explained_variance(value, returns, valid)

    def _seen(self, features: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Blank what is not seen; kernels never look at it, so for them nothing is copied."""
        if self._device.type == "cpu":
            return features
        return np.where(seen[..., None], features, 0.0)

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.require(array, requirements="W")).to(self._device)

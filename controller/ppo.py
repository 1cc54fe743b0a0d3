"""PPO for N agents with separate weights, held as one stacked tensor.

Schulman et al., arXiv:1707.06347, with the core details that make it work (Huang et al., "The 37
implementation details of PPO", 2022): orthogonal start, Adam with epsilon 1e-5, annealed rate,
generalised advantages, shuffled minibatches, normalised advantages, clipped surrogate, clipped
value loss, entropy bonus, one gradient norm per agent, separate actor and critic, and the debug
figures of :class:`Metrics`. Beside them a leash: the divergence from the heuristic costs.

Everything is float64. The networks are tiny, so the time goes into calls rather than arithmetic,
and the log-probabilities then agree with the acting kernels to rounding.

Nodes never mix: an update of N stacked nodes is N updates of one node. A node without decisions in
a minibatch sits that step out, moments included. Set ``torch.set_num_threads(1)`` once per process.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from controller.adam import Adam, copy_into, views
from controller.gae import advantages, explained_variance, normalised
from controller.policy import Actor, from_parameters, initial_actor, orthogonal, parameters
from controller.ppo_config import PPOConfig
from controller.rollout import Rollout, minibatch, shuffled
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["Learner", "Metrics", "PPOConfig", "Rollout"]

#: Stands for minus infinity in masked logits; its probability underflows to exactly zero.
_MASKED = -1e30


@dataclass(frozen=True)
class Metrics:
    """Means over all decisions of an update, in nats where they are divergences."""

    policy_loss: float
    value_loss: float
    entropy: float
    approximate_kl: float
    """From the policy that acted: mean of ratio - 1 - log ratio (Schulman 2020)."""
    clip_fraction: float
    explained_variance: float
    """Of the returns, by the critics as they were before the update."""
    kl_to_base: float
    first_ratio_error: float
    """Largest abs(ratio - 1) in the first minibatch: more than rounding means that the actor
    changed between acting and learning, or that the two disagree."""
    first_clip_fraction: float
    decisions: int


class _Batch(NamedTuple):
    features: torch.Tensor  # (N, M, C, F)
    mask: torch.Tensor  # (N, M, C)
    base: torch.Tensor  # (N, M, C), over temperature
    pooled: torch.Tensor  # (N, M, 2F)
    action: torch.Tensor  # (N, M), like all below
    log_probability: torch.Tensor
    value: torch.Tensor
    advantage: torch.Tensor
    returns: torch.Tensor


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
        if critic_hidden < 1:
            raise InputError(f"learner.critic_hidden must be >= 1, got {critic_hidden}")
        self.nodes, self.features, self.hidden = nodes, features, hidden
        self.config = config or PPOConfig()
        self._seed, self._updates, self._device = seed, 0, torch.device(device)
        actor = parameters(initial_actor(nodes, features, hidden, seed=seed))
        rng = generator(seed, "critic")
        critic = [
            orthogonal(rng, 2 * features, critic_hidden, 2.0**0.5).ravel(),
            np.zeros(critic_hidden),
            orthogonal(rng, critic_hidden, 1, 1.0).ravel(),
            np.zeros(1),
        ]
        start = np.concatenate([actor, np.tile(np.concatenate(critic), (nodes, 1))], axis=1)
        self._actor_size = actor.shape[1]
        self._flat = torch.from_numpy(start).to(self._device)
        shapes = [(features, hidden), (1, hidden), (hidden, 1)]
        shapes += [(2 * features, critic_hidden), (1, critic_hidden), (critic_hidden, 1), (1, 1)]
        self._leaves = views(self._flat, shapes)
        self._adam = Adam(
            self._flat,
            learning_rate=self.config.learning_rate,
            epsilon=self.config.adam_epsilon,
        )

    def actor(self) -> Actor:
        """Return a copy of the acting weights."""
        flat = self._flat[:, : self._actor_size].cpu().numpy()
        return from_parameters(flat, self.features, self.hidden)

    def load_actor(self, actor: Actor) -> None:
        """Take over acting weights, as after a federated round; Adam's moments are kept."""
        flat = parameters(actor)
        wanted = (self.nodes, self._actor_size)
        if flat.shape != wanted or not np.all(np.isfinite(flat)):
            raise InputError(f"actor parameters must be finite and have shape {wanted}")
        self._flat[:, : self._actor_size] = torch.from_numpy(flat).to(self._device)

    def update(self, rollout: Rollout, *, scale: float = 1.0) -> Metrics:
        """Learn from a rollout; ``scale`` multiplies the learning rate (annealing).

        Raises InputError if the rollout is for other nodes, features, or values not finite.
        """
        if rollout.features.shape[0] != self.nodes or rollout.features.shape[3] != self.features:
            raise InputError(
                f"rollout.features must be of {self.nodes} nodes with {self.features} features, "
                f"got {rollout.features.shape}"
            )
        if not 0.0 <= scale <= 1.0:
            raise InputError(f"scale must be between 0 and 1, got {scale}")
        batch, explained = self._prepare(rollout)
        counts = rollout.valid.sum(axis=1)
        totals = np.zeros(6)
        seen = 0
        first = (0.0, 0.0)
        for epoch in range(self.config.epochs if counts.any() else 0):
            order = shuffled(rollout.valid, self._seed, self._updates, epoch)
            for part in range(self.config.minibatches):
                index, inside = minibatch(order, counts, part, self.config.minibatches)
                many = int(inside.sum())
                if many == 0:
                    continue
                sums, worst = self._step(batch, index, inside, scale)
                if seen == 0:
                    first = (worst, sums[4] / many)
                totals += sums
                seen += many
        self._updates += 1
        mean = totals / max(seen, 1)
        return Metrics(
            policy_loss=float(mean[0]),
            value_loss=float(mean[1]),
            entropy=float(mean[2]),
            approximate_kl=float(mean[3]),
            clip_fraction=float(mean[4]),
            explained_variance=explained,
            kl_to_base=float(mean[5]),
            first_ratio_error=float(first[0]),
            first_clip_fraction=float(first[1]),
            decisions=int(counts.sum()),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything needed to go on learning, as arrays."""
        adam = {f"adam.{name}": part for name, part in self._adam.state().items()}
        progress = np.array([self._seed, self._updates], dtype=np.int64)
        return {"parameters": self._flat.cpu().numpy().copy(), "progress": progress, **adam}

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken; InputError if it is of another shape."""
        progress = state.get("progress")
        if progress is None or progress.shape != (2,):
            raise InputError("state.progress must hold two integers, seed and updates")
        copy_into(self._flat, state, "parameters")
        self._adam.load_state(
            {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        )
        self._seed, self._updates = (int(x) for x in progress)

    def _prepare(self, rollout: Rollout) -> tuple[_Batch, float]:
        valid = rollout.valid
        # A padded step gets one dummy candidate, so that its softmax is defined; it has no weight.
        mask = rollout.mask & valid[:, :, None]
        mask[:, :, -1] |= ~valid
        seen = mask & valid[:, :, None]
        features = self._tensor(np.where(seen[..., None], rollout.features, 0.0))
        pooled = _pool(features, self._tensor(seen))
        last_seen = rollout.last_mask
        last = self._tensor(np.where(last_seen[..., None], rollout.last_features, 0.0))
        last_pooled = _pool(last.unsqueeze(1), self._tensor(last_seen).unsqueeze(1))
        with torch.no_grad():
            value = self._value(pooled).cpu().numpy()
            last_value = self._value(last_pooled).squeeze(1).cpu().numpy()
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
        base = np.where(seen, rollout.base, 0.0) / self.config.temperature
        batch = _Batch(
            features=features,
            mask=self._tensor(mask),
            base=self._tensor(base),
            pooled=pooled,
            action=self._tensor(np.where(valid, rollout.action, mask.shape[2] - 1)),
            log_probability=self._tensor(np.where(valid, rollout.log_probability, 0.0)),
            value=self._tensor(value),
            advantage=self._tensor(normalised(raw, valid)),
            returns=self._tensor(returns),
        )
        return batch, explained_variance(value, returns, valid)

    def _step(
        self,
        batch: _Batch,
        index: NDArray[np.int64],
        inside: NDArray[np.bool_],
        scale: float,
    ) -> tuple[NDArray[np.float64], float]:
        """Take one optimiser step; return summed metrics and the largest abs(ratio - 1)."""
        cfg = self.config
        rows = torch.arange(self.nodes, device=self._device).unsqueeze(1)
        picked = self._tensor(index)
        b = _Batch(*(part[rows, picked] for part in batch))
        weight = self._tensor(inside.astype(np.float64))

        log_p = torch.log_softmax(self._logits(b), dim=-1)
        p = log_p.exp()
        log_base = torch.log_softmax(b.base.masked_fill(~b.mask, _MASKED), dim=-1)
        entropy = -(p * log_p).sum(-1)
        leash = (p * (log_p - log_base)).sum(-1)
        chosen = log_p.gather(-1, b.action.unsqueeze(-1)).squeeze(-1)
        # Beyond e^20 the ratio is clipped anyway; the bound keeps it finite.
        log_ratio = (chosen - b.log_probability).clamp(-20.0, 20.0)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - cfg.clip, 1.0 + cfg.clip)
        policy_loss = -torch.minimum(ratio * b.advantage, clipped * b.advantage)

        value = self._value(b.pooled)
        value_loss = (value - b.returns).square()
        if cfg.value_clip > 0.0:
            near = b.value + (value - b.value).clamp(-cfg.value_clip, cfg.value_clip)
            value_loss = torch.maximum(value_loss, (near - b.returns).square())
        value_loss = 0.5 * value_loss

        loss = policy_loss + cfg.value_coefficient * value_loss
        loss = loss - cfg.entropy_coefficient * entropy + cfg.leash_coefficient * leash
        count = weight.sum(1)
        # A sum over nodes of means over their own decisions: gradients stay separate.
        total = ((loss * weight).sum(1) / count.clamp_min(1.0)).sum()
        gradients = torch.autograd.grad(total, self._leaves)
        gradient = torch.cat([g.flatten(1) for g in gradients], dim=1)
        norm = gradient.square().sum(1, keepdim=True).sqrt()
        gradient = gradient * (cfg.max_gradient_norm / (norm + 1e-6)).clamp_max(1.0)
        self._adam.step(gradient, count > 0.0, scale=scale)

        with torch.no_grad():
            off = (ratio - 1.0).abs() * weight
            kl = ratio - 1.0 - log_ratio
            outside = (off > cfg.clip).to(weight.dtype)
            parts = (policy_loss, value_loss, entropy, kl, outside, leash)
            sums = torch.stack([(part * weight).sum() for part in parts])
            return sums.cpu().numpy(), float(off.max())

    def _logits(self, b: _Batch) -> torch.Tensor:
        w1, b1, w2 = self._leaves[:3]
        nodes, width, candidates, size = b.features.shape
        x = b.features.reshape(nodes, width * candidates, size)
        residual = torch.bmm(torch.tanh(torch.baddbmm(b1, x, w1)), w2)
        out = b.base + residual.reshape(nodes, width, candidates)
        return out.masked_fill(~b.mask, _MASKED)

    def _value(self, pooled: torch.Tensor) -> torch.Tensor:
        w1, b1, w2, b2 = self._leaves[3:]
        return torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, pooled, w1)), w2).squeeze(-1)

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _pool(features: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the mean and the maximum over the candidates seen, (N, M, 2F); zero if none."""
    some = seen.unsqueeze(-1)
    count = some.sum(dim=2).clamp_min(1)
    mean = (features * some).sum(dim=2) / count
    top = features.masked_fill(~some, -torch.inf).amax(dim=2)
    return torch.cat([mean, top.masked_fill(~some.any(dim=2), 0.0)], dim=-1)

"""PPO on stacked agents, whatever their networks are: losses, minibatches, clipping, steps.

Schulman et al., arXiv:1707.06347, with the core details that make it work (Huang et al., "The 37
implementation details of PPO", 2022): Adam with epsilon 1e-5, annealed rate, shuffled minibatches,
normalised advantages, clipped surrogate, clipped value loss, entropy bonus, one gradient norm per
agent, and the debug figures of :class:`Metrics`. Beside them a leash: divergence from an anchor
costs; and a rate for every agent that follows the divergence which its updates reach.

Agents never mix: an update of N stacked agents is N updates of one. An agent without decisions in
a minibatch sits that step out, moments included. Set ``torch.set_num_threads(1)`` once per process.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from controller.adam import Adam, copy_into
from controller.ppo_config import PPOConfig
from controller.rollout import minibatch, shuffled
from quantum.errors import InputError

__all__ = ["MASKED", "Engine", "Inputs", "Metrics", "Network", "Steps", "taken"]

#: Stands for minus infinity in masked logits; its probability underflows to exactly zero.
MASKED = -1e30
#: How far a rate may go from the configured one, and by how much it changes at once.
_SLOWEST, _FASTEST, _CHANGE = 1e-2, 10.0, 1.5

#: What networks read, each (N, M, ...).
Inputs = tuple[torch.Tensor, ...]


class Network(Protocol):
    """Actors and critics of N agents; ``leaves`` are views of ``flat`` (N, P) with gradients."""

    flat: torch.Tensor
    leaves: list[torch.Tensor]

    def evaluate(
        self, inputs: Inputs, index: torch.Tensor, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, B, A), :data:`MASKED` where not allowed, and values (N, B).

        ``index`` (N, B) says which of the M steps of each agent; only those ``inside`` (N, B)
        count, the others may be anything finite.
        """


def taken(inputs: Inputs, index: torch.Tensor) -> Inputs:
    """Return the steps at ``index`` (N, B) of each agent, (N, B, ...)."""
    rows = torch.arange(len(index), device=index.device).unsqueeze(1)
    return tuple(part[rows, index] for part in inputs)


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
    """From the anchor."""
    first_ratio_error: float
    """Largest abs(ratio - 1) in the first minibatch: more than rounding means that the actor
    changed between acting and learning, or that the two disagree."""
    first_clip_fraction: float
    decisions: int
    last_kl: float
    """Like ``approximate_kl``, in the last epoch only: what ``kl_target`` is about."""
    learning_rate: float
    """Mean over the agents, after the update."""


class Steps(NamedTuple):
    """What is learned from, (N, M) each; ``anchor`` (N, M, A) are the anchor's log-probabilities.

    ``valid`` says which steps happened. Invalid ones have finite numbers of no effect.
    """

    inputs: Inputs
    action: torch.Tensor
    log_probability: torch.Tensor
    value: torch.Tensor
    advantage: torch.Tensor
    returns: torch.Tensor
    anchor: torch.Tensor | None
    valid: NDArray[np.bool_]


class Engine:
    """Moves the parameters of a network; same seed and same steps, same bytes on one machine."""

    def __init__(self, network: Network, config: PPOConfig, *, seed: int) -> None:
        self._network, self.config = network, config
        self._seed, self._updates = seed, 0
        self._device = network.flat.device
        self._adam = Adam(
            network.flat, learning_rate=config.learning_rate, epsilon=config.adam_epsilon
        )
        self._pace = torch.ones(
            (len(network.flat), 1), dtype=network.flat.dtype, device=self._device
        )

    @property
    def rates(self) -> NDArray[np.float64]:
        """The learning rate of every agent, (N,), before any annealing."""
        pace = self._pace.squeeze(1).cpu().numpy().astype(np.float64)
        return self.config.learning_rate * pace

    def update(self, steps: Steps, *, explained_variance: float, scale: float = 1.0) -> Metrics:
        """Learn from steps; ``scale`` between 0 and 1 multiplies the learning rates (annealing)."""
        if not 0.0 <= scale <= 1.0:
            raise InputError(f"scale must be between 0 and 1, got {scale}")
        config = self.config
        counts = steps.valid.sum(axis=1)
        totals, first = np.zeros(6), (0.0, 0.0)
        seen, last_kl = 0, 0.0
        epochs = config.epochs if counts.any() else 0
        for epoch in range(epochs):
            order = shuffled(steps.valid, self._seed, self._updates, epoch)
            divergence = np.zeros(len(counts))
            for part in range(config.minibatches):
                index, inside = minibatch(order, counts, part, config.minibatches)
                many = int(inside.sum())
                if many == 0:
                    continue
                sums, worst, kl = self._step(steps, index, inside, scale)
                if seen == 0:
                    first = (worst, sums[4] / many)
                totals += sums
                divergence += kl
                seen += many
            last_kl = float(divergence.sum() / counts.sum())
            if config.kl_target > 0.0:
                self._keep_pace(divergence, counts, last=epoch == epochs - 1)
        self._updates += 1
        mean = totals / max(seen, 1)
        return Metrics(
            policy_loss=float(mean[0]),
            value_loss=float(mean[1]),
            entropy=float(mean[2]),
            approximate_kl=float(mean[3]),
            clip_fraction=float(mean[4]),
            explained_variance=explained_variance,
            kl_to_base=float(mean[5]),
            first_ratio_error=float(first[0]),
            first_clip_fraction=float(first[1]),
            decisions=int(counts.sum()),
            last_kl=last_kl,
            learning_rate=float(self.rates.mean()),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything needed to go on learning, as arrays."""
        return {
            "parameters": self._network.flat.cpu().numpy().copy(),
            "progress": np.array([self._seed, self._updates], dtype=np.int64),
            "pace": self._pace.cpu().numpy().copy(),
            **{f"adam.{name}": part for name, part in self._adam.state().items()},
        }

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken; InputError if it is of another shape."""
        progress = state.get("progress")
        if progress is None or progress.shape != (2,):
            raise InputError("state.progress must hold two integers, seed and updates")
        copy_into(self._network.flat, state, "parameters")
        copy_into(self._pace, state, "pace")
        self._adam.load_state(
            {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        )
        self._seed, self._updates = (int(x) for x in progress)

    def _keep_pace(
        self, divergence: NDArray[np.float64], counts: NDArray[np.int64], *, last: bool
    ) -> None:
        """Slow agents down that went too far, and after an update speed up those that crept.

        What an agent sees may change at any time, also by links that fail: an agent brakes within
        the update, so the next one is not of the old rate again.
        """
        kl = divergence / np.maximum(counts, 1)
        target = self.config.kl_target
        factor = np.where(kl > 2.0 * target, 1.0 / _CHANGE, 1.0)
        if last:
            factor = np.where((kl < 0.5 * target) & (counts > 0), _CHANGE, factor)
        self._pace *= torch.from_numpy(factor).to(self._pace).unsqueeze(1)
        self._pace.clamp_(_SLOWEST, _FASTEST)

    def _step(
        self,
        steps: Steps,
        index: NDArray[np.int64],
        inside: NDArray[np.bool_],
        scale: float,
    ) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """Take one step; return summed metrics, the largest abs(ratio - 1), and KL by agent."""
        cfg, network = self.config, self._network
        rows = torch.arange(len(index), device=self._device).unsqueeze(1)
        at = torch.from_numpy(index).to(self._device)
        there = torch.from_numpy(inside).to(self._device)
        weight = there.to(network.flat.dtype)
        count = weight.sum(1)
        advantage = steps.advantage[rows, at]
        if cfg.normalise_minibatches:
            advantage = _normalised(advantage, weight)

        logits, value = network.evaluate(steps.inputs, at, there)
        log_p = torch.log_softmax(logits, dim=-1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(-1)
        chosen = log_p.gather(-1, steps.action[rows, at].unsqueeze(-1)).squeeze(-1)
        # Beyond e^20 the ratio is clipped anyway; the bound keeps it finite.
        log_ratio = (chosen - steps.log_probability[rows, at]).clamp(-20.0, 20.0)
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - cfg.clip, 1.0 + cfg.clip)
        policy_loss = -torch.minimum(ratio * advantage, clipped * advantage)

        returns = steps.returns[rows, at]
        value_loss = (value - returns).square()
        if cfg.value_clip > 0.0:
            before = steps.value[rows, at]
            near = before + (value - before).clamp(-cfg.value_clip, cfg.value_clip)
            value_loss = torch.maximum(value_loss, (near - returns).square())
        value_loss = 0.5 * value_loss

        loss = policy_loss + cfg.value_coefficient * value_loss
        loss = loss - cfg.entropy_coefficient * entropy
        leash = torch.zeros_like(entropy)
        if steps.anchor is not None:
            leash = (p * (log_p - steps.anchor[rows, at])).sum(-1)
            loss = loss + cfg.leash_coefficient * leash
        # A sum over agents of means over their own decisions: gradients stay separate.
        total = ((loss * weight).sum(1) / count.clamp_min(1.0)).sum()
        gradients = torch.autograd.grad(total, network.leaves)
        gradient = torch.cat([g.flatten(1) for g in gradients], dim=1)
        norm = gradient.square().sum(1, keepdim=True).sqrt()
        gradient *= (cfg.max_gradient_norm / (norm + 1e-6)).clamp_max(1.0)
        self._adam.step(gradient, count > 0.0, scale=scale * self._pace)

        with torch.no_grad():
            off = (ratio - 1.0).abs() * weight
            kl = (ratio - 1.0 - log_ratio) * weight
            outside = (off > cfg.clip).to(weight.dtype)
            parts = (policy_loss, value_loss, entropy, kl, outside, leash)
            sums = torch.stack([(part * weight).sum() for part in parts])
            each = kl.sum(1).cpu().numpy().astype(np.float64)
            return sums.cpu().numpy().astype(np.float64), float(off.max()), each


def _normalised(advantage: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Scale the advantages of every agent in a minibatch; see :func:`controller.gae.normalised`."""
    count = weight.sum(1, keepdim=True)
    many = count.clamp_min(1.0)
    centred = (advantage - (advantage * weight).sum(1, keepdim=True) / many) * weight
    deviation = (centred.square().sum(1, keepdim=True) / many).sqrt()
    return torch.where(count >= 2.0, centred / (deviation + 1e-8), 0.0)

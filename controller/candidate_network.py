"""The network of the policy that acts, as torch sees it; :mod:`controller.policy` is what acts.

Everything is float64. The networks are tiny, so the time goes into calls rather than arithmetic,
and the log-probabilities then agree with the acting kernels to rounding.
"""

import numpy as np
import torch

from controller.adam import views
from controller.candidate_kernels import Candidates, pool_by_kernel
from controller.policy import Actor, from_parameters, initial_actor, orthogonal, parameters
from controller.ppo_engine import MASKED, Inputs, taken
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["CandidateNetwork", "anchored", "pool", "pool_by_tensors"]


class CandidateNetwork:
    """Scores candidates; the critic reads their mean and maximum, through one tanh layer.

    Inputs are features (N, M, C, F), mask (N, M, C), the heuristic's scores over the temperature
    (N, M, C), and :func:`pool` of the features (N, M, 2F).
    """

    def __init__(
        self,
        nodes: int,
        features: int,
        hidden: int,
        critic_hidden: int,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        if critic_hidden < 1:
            raise InputError(f"learner.critic_hidden must be >= 1, got {critic_hidden}")
        self._features, self._hidden = features, hidden
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
        self.flat = torch.from_numpy(start).to(device)
        shapes = [(features, hidden), (1, hidden), (hidden, 1)]
        shapes += [(2 * features, critic_hidden), (1, critic_hidden), (critic_hidden, 1), (1, 1)]
        self.leaves = views(self.flat, shapes)

    def actor(self) -> Actor:
        """Return a copy of the acting weights."""
        flat = self.flat[:, : self._actor_size].cpu().numpy()
        return from_parameters(flat, self._features, self._hidden)

    def load_actor(self, actor: Actor) -> None:
        """Take over acting weights of as many nodes; InputError for others."""
        flat = parameters(actor)
        wanted = (len(self.flat), self._actor_size)
        if flat.shape != wanted or not np.all(np.isfinite(flat)):
            raise InputError(f"actor parameters must be finite and have shape {wanted}")
        self.flat[:, : self._actor_size] = torch.from_numpy(flat).to(self.flat.device)

    def evaluate(
        self, inputs: Inputs, index: torch.Tensor, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masked logits (N, B, C) and values (N, B); see :class:`Network`."""
        if self.flat.device.type == "cpu":
            found = Candidates.apply(*inputs, index, inside, MASKED, *self.leaves)
            return found[0], found[1]
        return self.by_tensors(inputs, index)

    def by_tensors(self, inputs: Inputs, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Do the same without kernels, on any device; masked candidates must be finite."""
        features, mask, base, pooled = taken(inputs, index)
        w1, b1, w2 = self.leaves[:3]
        logits = _scores(features, base, w1, b1, w2).masked_fill(~mask, MASKED)
        return logits, self.values(pooled)

    def values(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return what the critics expect from pooled candidates (N, M, 2F), (N, M)."""
        w1, b1, w2, b2 = self.leaves[3:]
        return torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, pooled, w1)), w2).squeeze(-1)


def _scores(
    features: torch.Tensor,
    base: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
) -> torch.Tensor:
    nodes, width, candidates, size = features.shape
    x = features.reshape(nodes, width * candidates, size)
    residual = torch.bmm(torch.tanh(torch.baddbmm(b1, x, w1)), w2)
    return base + residual.reshape(nodes, width, candidates)


@torch.no_grad()
def anchored(
    anchor: Actor | None, features: torch.Tensor, mask: torch.Tensor, base: torch.Tensor
) -> torch.Tensor:
    """Return the anchor's log-probabilities (N, M, C); without one they are the heuristic's."""
    scores = base
    if anchor is not None:
        w1, b1, w2 = (torch.from_numpy(part).to(base.device) for part in anchor)
        scores = _scores(features, base, w1, b1.unsqueeze(1), w2.unsqueeze(2))
    return torch.log_softmax(scores.masked_fill(~mask, MASKED), dim=-1)


def pool(features: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the mean and the maximum over the candidates seen, (N, M, 2F); zero if none."""
    if features.device.type == "cpu":
        return torch.from_numpy(pool_by_kernel(features.numpy(), seen.numpy()))
    return pool_by_tensors(features, seen)


def pool_by_tensors(features: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Do the same without a kernel, on any device; what is not seen must be finite."""
    some = seen.unsqueeze(-1)
    count = some.sum(dim=2).clamp_min(1)
    mean = (features * some).sum(dim=2) / count
    top = features.masked_fill(~some, -torch.inf).amax(dim=2)
    return torch.cat([mean, top.masked_fill(~some.any(dim=2), 0.0)], dim=-1)

"""The same agents one by one: a module, an optimiser and a loop for each, as one would first write.

It shares no step with the engine, only the order of minibatches: advantages, losses, clipping and
Adam are torch's or written out plainly. So it is the reference for results as well as for rates.
"""

import numpy as np
import torch
from torch import nn

from controller.mlp import Experience, MLPNetwork
from controller.ppo_config import PPOConfig
from controller.rollout import minibatch, shuffled
from quantum.ledger.state import Floats

__all__ = ["Loop"]

_MASKED = float("-inf")


class _Agent(nn.Module):
    def __init__(self, network: MLPNetwork) -> None:
        super().__init__()
        hidden = network.leaves[0].shape[2]
        self.trunks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(network.observations, hidden),
                nn.Tanh(),
                nn.Linear(hidden, hidden),
                nn.Tanh(),
                nn.Linear(hidden, out),
            )
            for out in (network.actions, 1)
        )

    def layers(self) -> list[nn.Linear]:
        return [layer for layer in self.modules() if isinstance(layer, nn.Linear)]

    def forward(
        self, observation: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.distributions.Categorical, torch.Tensor]:
        actor, critic = self.trunks
        logits = actor(observation).masked_fill(~mask, _MASKED)
        return torch.distributions.Categorical(logits=logits), critic(observation).squeeze(-1)


class Loop:
    """Agents with the weights of a stack, each trained by itself."""

    def __init__(
        self, network: MLPNetwork, config: PPOConfig, *, seed: int, discount: float = 0.99
    ) -> None:
        self._config, self._seed, self._discount, self._updates = config, seed, discount, 0
        self._agents = [_Agent(network) for _ in range(network.agents)]
        for number, agent in enumerate(self._agents):
            weights = network.leaves[::2]
            biases = network.leaves[1::2]
            for layer, w, b in zip(agent.layers(), weights, biases, strict=True):
                with torch.no_grad():
                    layer.weight.copy_(w[number].T)
                    layer.bias.copy_(b[number, 0])
        self._optimisers = [
            torch.optim.Adam(agent.parameters(), lr=config.learning_rate, eps=config.adam_epsilon)
            for agent in self._agents
        ]

    def parameters(self) -> Floats:
        """Return the weights in the order of the stack, (N, P)."""
        rows = []
        for agent in self._agents:
            parts = [part.detach() for la in agent.layers() for part in (la.weight.T, la.bias)]
            rows.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
        return np.stack(rows).astype(np.float64)

    def act(self, observation: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """Draw an action of every agent for observations (N, E, D), one agent after the other."""
        out = []
        with torch.no_grad():
            for agent, one, allowed in zip(self._agents, observation, mask, strict=True):
                chances, _ = agent(one, allowed)
                action = chances.sample()
                out.append(torch.stack([action.to(one.dtype), chances.log_prob(action)]))
        return out

    def update(self, seen: Experience) -> None:
        """Let every agent learn from its own part of some experience."""
        agents, copies, length, _ = seen.observation.shape
        every = np.ones((1, copies * length), dtype=np.bool_)
        for number in range(agents):
            batch = self._prepare(seen, number)
            for epoch in range(self._config.epochs):
                order = shuffled(every, self._seed, self._updates, epoch)
                for part in range(self._config.minibatches):
                    counts = np.array([copies * length])
                    index, _ = minibatch(order, counts, part, self._config.minibatches)
                    self._step(number, tuple(x[torch.from_numpy(index[0])] for x in batch))
        self._updates += 1

    def _prepare(self, seen: Experience, number: int) -> tuple[torch.Tensor, ...]:
        agent = self._agents[number]
        observation = torch.from_numpy(seen.observation[number])
        mask = torch.from_numpy(seen.mask[number])
        with torch.no_grad():
            value = agent(observation, mask)[1].double()
            final = agent(torch.from_numpy(seen.final[number]), mask)[1].double()
            last = agent(torch.from_numpy(seen.last[number]), mask[:, -1])[1].double()
        gain = torch.zeros_like(value)
        g, lam = self._discount, self._config.gae_lambda
        copies, length = value.shape
        for copy in range(copies):
            running = torch.zeros((), dtype=torch.float64)
            for t in reversed(range(length)):
                after = last[copy] if t == length - 1 else value[copy, t + 1]
                goes_on = True
                if seen.terminated[number, copy, t]:
                    after, goes_on = torch.zeros_like(after), False
                elif seen.truncated[number, copy, t]:
                    after, goes_on = final[copy, t], False
                error = float(seen.reward[number, copy, t]) + g * after - value[copy, t]
                running = error + (g * lam * running if goes_on else 0.0)
                gain[copy, t] = running
        parts = (
            observation,
            mask,
            torch.from_numpy(seen.action[number]),
            torch.from_numpy(seen.log_probability[number]),
            gain.float(),
            (gain + value).float(),
            value.float(),
        )
        return tuple(part.reshape(copies * length, *part.shape[2:]) for part in parts)

    def _step(self, number: int, batch: tuple[torch.Tensor, ...]) -> None:
        cfg, agent = self._config, self._agents[number]
        observation, mask, action, before, gain, returns, old = batch
        chances, value = agent(observation, mask)
        ratio = (chances.log_prob(action) - before).exp()
        gain = (gain - gain.mean()) / (gain.std(correction=0) + 1e-8)
        surrogate = torch.min(ratio * gain, ratio.clamp(1 - cfg.clip, 1 + cfg.clip) * gain)
        near = old + (value - old).clamp(-cfg.value_clip, cfg.value_clip)
        worse = torch.max((value - returns) ** 2, (near - returns) ** 2)
        entropy = _entropy(chances)
        loss = -surrogate.mean() + cfg.value_coefficient * 0.5 * worse.mean()
        loss = loss - cfg.entropy_coefficient * entropy.mean()
        self._optimisers[number].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), cfg.max_gradient_norm)
        self._optimisers[number].step()


def _entropy(chances: torch.distributions.Categorical) -> torch.Tensor:
    # torch's own is NaN where an action is impossible.
    log_p = chances.logits
    return -(log_p.exp() * log_p.clamp_min(-1e9)).sum(-1)

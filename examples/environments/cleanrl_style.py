"""PPO in one file, after the manner of CleanRL: every node learns, all share one set of weights.

Run it with ``python examples/environments/cleanrl_style.py [updates]``. The nodes of PettingZoo's
``ParallelEnv`` are the batch; nodes that can only idle are left out of the loss.
"""

import sys

import numpy as np
import torch
from torch import nn

from controller.environments.pettingzoo_env import NodesEnv
from controller.setting import Setting

UPDATES = int(sys.argv[1]) if len(sys.argv) > 1 else 4
STEPS, EPOCHS, GAMMA, LAMBDA, CLIP = 64, 4, 0.98, 0.95, 0.2

torch.manual_seed(0)
env = NodesEnv(Setting(topology="mesh-20", load_hz=25.0, seconds=5.0, warmup_s=1.0))
candidates, features = env.observation_space(env.possible_agents[0])["observation"].shape
score = nn.Sequential(nn.Linear(features, 32), nn.Tanh(), nn.Linear(32, 1))  # of each candidate
worth = nn.Sequential(nn.Linear(features, 32), nn.Tanh(), nn.Linear(32, 1))  # of their mean
optimiser = torch.optim.Adam([*score.parameters(), *worth.parameters()], lr=1e-3)


def stacked(seen):
    """Return observations (nodes, C, F) and masks (nodes, C) of a dictionary of nodes."""
    rows = [seen[agent] for agent in env.possible_agents]
    mask = torch.tensor(np.array([row["action_mask"] for row in rows]), dtype=torch.bool)
    return torch.tensor(np.array([row["observation"] for row in rows])), mask


def policy(x, mask):
    """Return the distribution over candidates; it starts at the heuristic, the last number."""
    logits = 5.0 * x[..., -1] * 100.0 + score(x).squeeze(-1)
    return torch.distributions.Categorical(logits=logits.masked_fill(~mask, -1e9))


def value(x):
    """Return what the critic expects."""
    return worth(x.mean(-2)).squeeze(-1)


seed, seen = 0, env.reset(seed=0)[0]
for update in range(UPDATES):
    xs, masks, actions, logs, values, rewards, ends = [], [], [], [], [], [], []
    for _ in range(STEPS):
        x, mask = stacked(seen)
        with torch.no_grad():
            chances = policy(x, mask)
            action = chances.sample()
            step = (x, mask, action, chances.log_prob(action), value(x))
        for part, of in zip((xs, masks, actions, logs, values), step, strict=True):
            part.append(of)
        acts = dict(zip(env.possible_agents, action.numpy(), strict=True))
        seen, paid, _, truncated, infos = env.step(acts)
        rewards.append(torch.tensor(list(paid.values()), dtype=torch.float32))
        ends.append(any(truncated.values()))
        if ends[-1]:  # cut, not ended: what was seen last still counts
            with torch.no_grad():
                rewards[-1] += GAMMA * value(stacked(seen)[0])
            seed += 1
            seen = env.reset(seed=seed)[0]
    x, mask, action, log, old, reward = map(
        torch.stack, (xs, masks, actions, logs, values, rewards)
    )
    with torch.no_grad():
        after, gain, running = value(stacked(seen)[0]), torch.zeros_like(reward), 0.0
        for t in reversed(range(STEPS)):
            goes_on = 0.0 if ends[t] else 1.0
            running = (
                reward[t] + GAMMA * goes_on * after - old[t] + GAMMA * LAMBDA * goes_on * running
            )
            gain[t], after = running, old[t]
    decided = mask.sum(-1) > 1
    advantage = (gain - gain[decided].mean()) / (gain[decided].std() + 1e-8)
    for _ in range(EPOCHS):
        chances = policy(x, mask)
        ratio = (chances.log_prob(action) - log).exp()
        surrogate = torch.min(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
        error = (value(x) - (gain + old)).square()
        loss = (-surrogate + 0.5 * error - 0.001 * chances.entropy())[decided].mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*score.parameters(), *worth.parameters()], 0.5)
        optimiser.step()
    said = f"{int(decided.sum())} decisions, reward {float(reward.mean()):.4f} a node and step"
    print(f"update {update}: {said}")

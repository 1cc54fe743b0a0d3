"""Rollouts drawn at random, with the choices that the acting kernels make in them."""

from dataclasses import replace

import numpy as np

from controller.policy import Actor, initial_actor, logits, pick
from controller.rollout import Rollout

F, C = 5, 4


def disturbed(nodes: int, seed: int = 0) -> Actor:
    """Return an actor with a residual of its own in every node."""
    start = initial_actor(nodes, F, 8, seed=seed)
    rng = np.random.default_rng(seed + 99)
    return Actor(*(part + rng.normal(0.0, 0.3, part.shape) for part in start))


def acted(actor: Actor, rollout: Rollout, temperature: float, seed: int) -> Rollout:
    """Return the rollout with the choices that the kernels make for this actor."""
    rng = np.random.default_rng(seed)
    action, log_p = rollout.action.copy(), rollout.log_probability.copy()
    out = np.zeros(C)
    for n, t in zip(*np.nonzero(rollout.valid), strict=True):
        x, mask, base = rollout.features[n, t], rollout.mask[n, t], rollout.base[n, t]
        logits(actor.w1, actor.b1, actor.w2, n, x, mask, base, temperature, out)
        action[n, t], log_p[n, t] = pick(out, mask, rng.random())
    return replace(rollout, action=action, log_probability=log_p)


def experience(actor: Actor, *, steps: int = 30, seed: int = 0, t: float = 1.0) -> Rollout:
    """Return a random rollout with gaps, masks, ends and irregular discounts."""
    nodes = len(actor.w1)
    rng = np.random.default_rng(seed)
    shape = (nodes, steps)
    mask = rng.random((*shape, C)) < 0.7
    mask[..., -1] = True
    valid = rng.random(shape) < np.linspace(0.4, 1.0, nodes)[:, None]
    action = np.full(shape, C - 1)
    empty = Rollout(
        features=rng.normal(size=(*shape, C, F)),
        mask=mask,
        base=rng.normal(size=(*shape, C)),
        action=action,
        log_probability=np.zeros(shape),
        reward=rng.normal(size=shape),
        discount=0.95 ** rng.exponential(1.0, shape),
        terminated=rng.random(shape) < 0.1,
        valid=valid,
        last_features=rng.normal(size=(nodes, C, F)),
        last_mask=mask[:, 0],
    )
    return acted(actor, empty, t, seed + 1)

"""One central learner: the decisions of all nodes teach one actor and one critic.

What federated averaging is compared with. Nodes still decide by what they see themselves; but what
they saw, did and earned is sent to one place, which a network would not do: there is no privacy and
no epsilon. All decisions of a round, node after node, are one rollout of one agent, and PPO goes on
as everywhere. Advantages are those of each node's own course: where its decisions end, the critic's
value of what it saw last stands for what follows.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from controller.policy import Actor, from_parameters, parameters
from controller.ppo import Learner, Metrics, PPOConfig
from controller.rollout import Rollout
from quantum.errors import InputError

__all__ = ["PooledLearner", "pooled"]


class PooledLearner:
    """Learns for ``nodes`` nodes, which all act by its one set of weights."""

    def __init__(
        self,
        nodes: int,
        features: int,
        *,
        seed: int = 0,
        config: PPOConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self.nodes = nodes
        self._learner = Learner(1, features, seed=seed, config=config, device=device)

    def actor(self) -> Actor:
        """Return the acting weights of every node; they are the same."""
        learner = self._learner
        rows = np.repeat(parameters(learner.actor()), self.nodes, axis=0)
        return from_parameters(rows, learner.features, learner.hidden)

    def load_actor(self, actor: Actor) -> None:
        """Take over acting weights; InputError unless those of all nodes are the same."""
        self._learner.load_actor(self._one(actor))

    def set_anchor(self, actor: Actor | None) -> None:
        """Leash the policy to an actor; None: the heuristic."""
        self._learner.set_anchor(None if actor is None else self._one(actor))

    def update(self, rollout: Rollout) -> Metrics:
        """Learn from what all nodes experienced."""
        after = self._learner.values(rollout.last_features, rollout.last_mask)
        return self._learner.update(pooled(rollout, after))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything needed to go on learning, as arrays."""
        return self._learner.state()

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on where :meth:`state` was taken; InputError if it is of another shape."""
        self._learner.load_state(dict(state))

    def _one(self, actor: Actor) -> Actor:
        flat = parameters(actor)
        if not np.array_equal(flat, np.repeat(flat[:1], len(flat), axis=0)):
            raise InputError("one central learner has one set of weights, got several")
        return from_parameters(flat[:1], self._learner.features, self._learner.hidden)


def pooled(rollout: Rollout, after: NDArray[np.float64]) -> Rollout:
    """Join the decisions of N nodes, one node's after another's, to a rollout of one agent.

    ``after`` (N,) is the value of what each node saw after its last decision. It is added to that
    decision's reward, discounted, and nothing follows it: so advantages do not cross over to the
    next node's decisions and are what they are for each node alone.
    """
    valid = rollout.valid
    count = valid.sum(axis=1)
    some = np.flatnonzero(count)
    if not len(some):
        raise InputError("rollout must have a decision")
    reward, ended = rollout.reward.copy(), np.zeros_like(valid)
    last = count[some] - 1
    at = np.argsort(~valid[some], axis=1, kind="stable")[np.arange(len(some)), last]
    reward[some, at] += rollout.discount[some, at] * after[some]
    ended[some, at] = True
    return Rollout(
        features=rollout.features[valid][None],
        mask=rollout.mask[valid][None],
        base=rollout.base[valid][None],
        action=rollout.action[valid][None],
        log_probability=rollout.log_probability[valid][None],
        reward=reward[valid][None],
        discount=rollout.discount[valid][None],
        terminated=(rollout.terminated | ended)[valid][None],
        valid=np.ones((1, int(count.sum())), dtype=np.bool_),
        last_features=rollout.last_features[some[-1:]],
        last_mask=rollout.last_mask[some[-1:]],
    )

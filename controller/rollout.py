"""What N nodes experienced between two updates: the input of PPO.

Nodes decide at different times and different numbers of times, so the step axis M is padded and
``valid`` says which steps happened. What stands in padded steps and in masked candidates has no
effect, whatever it is: minibatches are shuffled and cut by a step's rank among the valid ones.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantum.draws import uniforms
from quantum.errors import InputError
from quantum.seeding import stream

if TYPE_CHECKING:
    from controller.decide import Memory

__all__ = ["Rollout", "minibatch", "rollout_of", "shuffled"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rollout:
    """M padded decisions of N nodes among C candidates with F features.

    ``features`` (N, M, C, F); ``mask`` (N, M, C) true where a candidate exists; ``base`` (N, M, C)
    the heuristic's scores; ``action`` (N, M) the candidate chosen; ``log_probability`` (N, M) of
    the choice when it was made; ``reward`` (N, M) earned until the node's next decision;
    ``discount`` (N, M) gamma ** dt over that time; ``terminated`` (N, M) true where nothing can
    follow; ``valid`` (N, M); ``last_features`` (N, C, F) and ``last_mask`` (N, C) what the node
    saw after its last decision, which bootstraps a rollout that was merely cut.
    """

    features: Floats
    mask: Bools
    base: Floats
    action: NDArray[np.int64]
    log_probability: Floats
    reward: Floats
    discount: Floats
    terminated: Bools
    valid: Bools
    last_features: Floats
    last_mask: Bools

    def __post_init__(self) -> None:
        if self.features.ndim != 4:
            raise InputError(
                f"rollout.features must have 4 axes (nodes, steps, candidates, features), "
                f"got {self.features.shape}"
            )
        n, m, c, f = self.features.shape
        shapes: dict[str, tuple[int, ...]] = {"mask": (n, m, c), "base": (n, m, c)}
        shapes |= {"last_features": (n, c, f), "last_mask": (n, c)}
        for name in ("action", "log_probability", "reward", "discount", "terminated", "valid"):
            shapes[name] = (n, m)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise InputError(
                    f"rollout.{name} must have shape {shape}, got {getattr(self, name).shape}"
                )
        for name in ("mask", "terminated", "valid", "last_mask"):
            if getattr(self, name).dtype != np.bool_:
                raise InputError(f"rollout.{name} must be boolean")
        self._check_values()

    def _check_values(self) -> None:
        valid = self.valid
        seen = self.mask & valid[:, :, None]
        for name, where in (
            ("features", seen),
            ("base", seen),
            ("log_probability", valid),
            ("reward", valid),
            ("discount", valid),
            ("last_features", self.last_mask),
        ):
            if not np.all(np.isfinite(getattr(self, name)[where])):
                raise InputError(f"rollout.{name} must be finite")
        discount = self.discount[valid]
        if discount.size and (discount.min() < 0.0 or discount.max() > 1.0):
            raise InputError("rollout.discount must be between 0 and 1")
        action = self.action[valid]
        candidates = self.mask.shape[2]
        if action.size and (action.min() < 0 or action.max() >= candidates):
            raise InputError(f"rollout.action must be 0 to {candidates - 1}")
        if not np.all(self.mask[valid][np.arange(action.size), action]):
            raise InputError("rollout.action must be a candidate that is not masked")


def shuffled(valid: Bools, seed: int, update: int, epoch: int) -> Ints:
    """Shuffle each node's valid steps, the others last: (N, M) indices.

    The draw belongs to a step's rank among its node's valid steps, so neither padding nor the
    company of other nodes changes the order.

    >>> shuffled(np.array([[True, False, True, True]]), 0, 0, 0)[0, -1]
    np.int64(1)
    """
    rank = np.cumsum(valid, axis=1) - 1
    draw = uniforms(seed, stream("minibatch"), update, epoch, np.arange(valid.shape[1]))
    return np.argsort(np.where(valid, draw[rank], 2.0), axis=1, kind="stable")


def minibatch(order: Ints, counts: Ints, part: int, parts: int) -> tuple[Ints, Bools]:
    """Cut one of ``parts`` near-equal parts of each node's shuffled steps.

    Returns (N, B) indices into the steps and which of them are real: nodes with fewer decisions
    have fewer. ``counts`` (N,) is the number of valid steps.

    >>> minibatch(np.array([[2, 0, 1]]), np.array([3]), 1, 2)
    (array([[0, 1]]), array([[ True,  True]]))
    """
    start, stop = part * counts // parts, (part + 1) * counts // parts
    width = max(int((stop - start).max(initial=0)), 1)
    at = start[:, None] + np.arange(width)
    index = np.take_along_axis(order, np.minimum(at, order.shape[1] - 1), axis=1)
    return index, at < stop[:, None]


def rollout_of(memory: "Memory", gamma_slot: float) -> Rollout | None:
    """Turn what nodes remember into a rollout; None where no node has two decisions.

    A node's last decision has not been rewarded in full: it only serves as the state that the
    decision before it led to.
    """
    done = np.maximum(memory.taken - 1, 0)
    steps = int(done.max(initial=0))
    if steps == 0:
        return None
    valid = np.arange(steps)[None, :] < done[:, None]
    later = np.minimum(np.arange(1, steps + 1), memory.slot.shape[1] - 1)
    passed = np.where(valid, memory.slot[:, later] - memory.slot[:, :steps], 0)
    rows = np.arange(len(done))
    return Rollout(
        features=memory.features[:, :steps],
        mask=memory.mask[:, :steps],
        base=memory.base[:, :steps],
        action=memory.action[:, :steps],
        log_probability=memory.log_probability[:, :steps],
        reward=memory.reward[:, :steps],
        discount=np.where(valid, gamma_slot**passed, 1.0),
        terminated=np.zeros_like(valid),
        valid=valid,
        last_features=memory.features[rows, done],
        last_mask=memory.mask[rows, done],
    )

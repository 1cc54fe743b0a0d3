"""What an agent is paid: pairs that, by measurement, are probably good enough, minus contention.

The fidelity is judged from raw counts of test pairs alone, pooled by the caller over a link or a
path class in a window. What simulation knows about the true state never enters. An outcome that was
not measured (an error, no tests, stale tests, values that are not numbers) is not a reward of zero:
it is no reward, ``None``, and teaches nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantum.counts import Counts
from quantum.errors import InputError
from quantum.estimate import probability_at_least
from quantum.kernels import kernel

__all__ = ["add_credit", "delivery_reward", "share_credit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def delivery_reward(
    pairs: int,
    minimum_fidelity: float,
    counts: Counts | None,
    *,
    age_s: float,
    oldest_s: float,
    contention: float = 0.0,
    contention_weight: float = 0.0,
) -> float | None:
    """Return pairs times the probability that they are good enough, minus contention's price.

    ``counts`` are the pooled tests, None for a request answered with an error; ``age_s`` is the age
    of the newest of them, and beyond ``oldest_s`` they say nothing about today's pairs.
    ``contention`` is what the delivery's resources saw, in the caller's unit (resource-slots
    wanted twice), priced at ``contention_weight`` pairs each. None if there is no valid measure.
    Raises InputError where the request itself or the price is impossible.

    >>> from quantum.counts import Tally
    >>> good = Counts(Tally(400, 0), Tally(400, 0), Tally(400, 0))
    >>> round(delivery_reward(4, 0.75, good, age_s=0.5, oldest_s=5.0), 6)
    4.0
    >>> delivery_reward(4, 0.75, None, age_s=0.5, oldest_s=5.0) is None
    True
    """
    if pairs < 0:
        raise InputError(f"reward.pairs must be >= 0, got {pairs}")
    for name, value in (("oldest_s", oldest_s), ("contention_weight", contention_weight)):
        if not 0.0 <= value < math.inf:
            raise InputError(f"reward.{name} must be >= 0 and finite, got {value}")
    if counts is None or counts.shots == 0:
        return None
    # Written so that a NaN fails the comparison.
    if not (0.0 <= age_s <= oldest_s) or not (0.0 <= contention < math.inf):
        return None
    worth = pairs * probability_at_least(counts, minimum_fidelity)
    reward = worth - contention_weight * contention
    return reward if math.isfinite(reward) else None


def share_credit(
    reward: float, generating: Sequence[int] | Ints, swapping: Sequence[int] | Ints, *, nodes: int
) -> Floats:
    """Split a delivery's reward equally over those who made it: (nodes,), sums to ``reward``.

    One part for each link pair, to the node that generated it, and one for each swap. A node that
    did two things gets two parts. Raises InputError if nobody made it, on a node out of range, or
    on a reward that is not finite.

    >>> share_credit(6.0, [0, 1], [1], nodes=3)
    array([2., 4., 0.])
    """
    if not math.isfinite(reward):
        raise InputError(f"reward must be finite, got {reward}")
    made = np.asarray(generating, dtype=np.int64)
    swapped = np.asarray(swapping, dtype=np.int64)
    everyone = np.concatenate([made, swapped])
    if not len(made):
        raise InputError("reward needs at least one node that generated a pair")
    if everyone.min() < 0 or everyone.max() >= nodes:
        raise InputError(f"reward nodes must be 0 to {nodes - 1}")
    out = np.zeros(nodes)
    add_credit(out, reward, made, swapped)
    return out


@kernel
def add_credit(out: Floats, reward: float, generating: Ints, swapping: Ints) -> None:
    """Add what :func:`share_credit` returns to ``out`` (nodes,), unchecked, for use in kernels."""
    parts = generating.shape[0] + swapping.shape[0]
    for i in range(generating.shape[0]):
        out[generating[i]] += reward / parts
    for i in range(swapping.shape[0]):
        out[swapping[i]] += reward / parts

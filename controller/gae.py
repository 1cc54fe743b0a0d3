"""Generalised advantage estimation for decisions at irregular times (semi-Markov).

Schulman et al., arXiv:1506.02438, equation 16, with a discount per step: a node decides whenever it
holds a token, so a step of ``dt`` seconds is discounted by ``gamma ** dt``. ``lambda`` counts
decisions, not seconds.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["advantages", "explained_variance", "normalised"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def advantages(
    reward: Floats,
    value: Floats,
    last_value: Floats,
    *,
    discount: Floats,
    terminated: Bools,
    valid: Bools,
    lam: float,
    truncated: Bools | None = None,
    final_value: Floats | None = None,
) -> Floats:
    """Return the (N, M) advantages of N nodes' decisions; zero where not valid.

    ``last_value`` (N,) is the value after the last valid decision, used where the rollout was cut
    (truncation) and not where it ended (``terminated``). All other arrays are (N, M). An episode
    that was cut inside the rollout is ``truncated`` there: ``final_value`` is the value of what
    was seen last, and what comes afterwards belongs to another episode.

    >>> one = np.ones((1, 1))
    >>> yes = one.astype(bool)
    >>> advantages(2 * one, one, np.array([4.0]), discount=0.5 * one, terminated=~yes,
    ...            valid=yes, lam=0.9)
    array([[3.]])
    """
    out = np.zeros_like(reward)
    running = np.zeros(len(reward))
    following = last_value.astype(np.float64).copy()
    for t in range(reward.shape[1] - 1, -1, -1):
        keep = np.where(terminated[:, t], 0.0, discount[:, t])
        carry = keep * lam
        if truncated is not None and final_value is not None:
            cut = truncated[:, t] & valid[:, t]
            following = np.where(cut, final_value[:, t], following)
            carry = np.where(cut, 0.0, carry)
        error = reward[:, t] + keep * following - value[:, t]
        now = valid[:, t]
        running = np.where(now, error + carry * running, running)
        following = np.where(now, value[:, t], following)
        out[:, t] = np.where(now, running, 0.0)
    return out


def normalised(advantage: Floats, valid: Bools) -> Floats:
    """Scale each node's valid advantages to mean 0 and deviation 1; zero where not valid.

    A node with fewer than two decisions gets zeros: one decision cannot be better than average.

    >>> normalised(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]])).round(6)
    array([[-1.,  1.,  0.]])
    """
    count = valid.sum(axis=1, keepdims=True)
    many = np.maximum(count, 1)
    mean = np.where(valid, advantage, 0.0).sum(axis=1, keepdims=True) / many
    centred = np.where(valid, advantage - mean, 0.0)
    deviation = np.sqrt(np.square(centred).sum(axis=1, keepdims=True) / many)
    return np.where(count >= 2, centred / (deviation + 1e-8), 0.0)


def explained_variance(value: Floats, returns: Floats, valid: Bools) -> float:
    """Return the share of the returns' variance within nodes that the critics explain, <= 1.

    Zero where the returns do not vary at all: there is nothing to explain.
    """
    many = np.maximum(valid.sum(axis=1, keepdims=True), 1)

    def scatter(x: Floats) -> float:
        mean = np.where(valid, x, 0.0).sum(axis=1, keepdims=True) / many
        return float(np.square(np.where(valid, x - mean, 0.0)).sum())

    total = scatter(returns)
    return 1.0 - scatter(returns - value) / total if total > 0.0 else 0.0

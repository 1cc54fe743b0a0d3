"""How many pairs a node is asked for in a bin: the law of a sum of its commodities, exactly.

Each commodity has at most one block in a bin, with its own chance and its own law of sizes; their
sum is a convolution. Scores are those of the sum: the continuous ranked probability score, pinball
loss, and how often intervals hold the truth. All forecasters are judged by the same code.
"""

import numpy as np
from numpy.typing import NDArray

from quantum.kernels import kernel

__all__ = ["LEVELS", "MOST", "score_counts"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Most pairs of a node in a bin that are told apart.
MOST = 256
#: Levels of the pinball loss, and of the interval (first and last).
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


@kernel
def score_counts(
    owner: Ints,
    nodes: int,
    rate: Floats,
    sizes: Floats,
    weight: Floats,
    truth: Floats,
    levels: Floats,
    out: Floats,
    quantile: Floats,
) -> None:
    """Score the pairs of N nodes in J bins.

    ``rate`` (K, J) blocks per bin, ``sizes`` and ``weight`` (K, S) pairs of a block and their
    chances, ``truth`` (N, J) pairs that came, ``levels`` (Q,). Writes into ``out`` (N, J, 3): CRPS,
    expected pairs, and the mean pinball loss; and the counts that are not exceeded with
    probability ``levels`` into ``quantile`` (N, J, Q).
    """
    law, next_ = np.empty(MOST + 1), np.empty(MOST + 1)
    for n in range(nodes):
        for j in range(rate.shape[1]):
            law[:] = 0.0
            law[0], top, mean = 1.0, 0, 0.0
            for k in range(len(owner)):
                if owner[k] != n:
                    continue
                chance = -np.expm1(-rate[k, j])
                for x in range(top + 1):
                    next_[x] = law[x] * (1.0 - chance)
                reach = top
                for s in range(sizes.shape[1]):
                    share = chance * weight[k, s]
                    if share <= 0.0:
                        continue
                    size = int(sizes[k, s])
                    mean += share * size
                    end = min(top + size, MOST)
                    for x in range(reach + 1, end + 1):
                        next_[x] = 0.0
                    reach = max(reach, end)
                    for x in range(top + 1):
                        next_[min(x + size, MOST)] += law[x] * share
                top = reach
                law[: top + 1] = next_[: top + 1]
            below, crps, q = 0.0, 0.0, 0
            came = truth[n, j]
            for x in range(MOST):
                below += law[x]
                while q < len(levels) and below >= levels[q] - 1e-12:
                    quantile[n, j, q] = x
                    q += 1
                crps += below * below if x < came else (1.0 - below) * (1.0 - below)
            while q < len(levels):
                quantile[n, j, q] = MOST
                q += 1
            loss = 0.0
            for q in range(len(levels)):
                gap = came - quantile[n, j, q]
                loss += max(levels[q] * gap, (levels[q] - 1.0) * gap)
            out[n, j, 0], out[n, j, 1] = crps, mean
            out[n, j, 2] = loss / len(levels)

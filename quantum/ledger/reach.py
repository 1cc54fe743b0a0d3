"""How far chains can reach: hops to a destination, and how many pairs a fidelity allows."""

import numpy as np
from numpy.typing import NDArray

from quantum.bell import correlators
from quantum.kernels import kernel
from quantum.ledger.state import FAR, MAX_HOPS, Floats, Ints
from quantum.werner import dejmps

__all__ = ["best_pair", "distances", "most_hops", "needs_better"]


def needs_better(
    weights: Floats, kept: float, flip: float, path_links: Ints, fidelity: Floats
) -> NDArray[np.bool_]:
    """Tell which classes (C,) no path of pairs as they are made can meet.

    Where one could, the shortest feasible path would be of such pairs.
    """
    through = path_links >= 0
    each = np.where(through[..., None], correlators(weights)[path_links], 1.0)
    swaps = np.maximum(through.sum(axis=1) - 1, 0)[:, None]
    noise = np.array([kept * flip, kept * flip * flip, kept * flip])
    reached = (1.0 + (each.prod(axis=1) * noise**swaps).sum(axis=1)) / 4.0
    return through.any(axis=1) & (reached < fidelity - 1e-9)


def best_pair(fresh: Floats, rounds: int) -> Floats:
    """Return the largest of each correlator (3,) that a pair of any link can have, 0 without any.

    After perfect distillation, where that is allowed: a noisy one does not do better.
    """
    best = np.clip(fresh.reshape(-1, 3).max(axis=0, initial=0.0), 0.0, 1.0)
    quality = np.clip(np.abs(fresh.reshape(-1, 3)), 0.0, 1.0)
    for _ in range(rounds):
        quality = dejmps(quality, quality)[0]
        best = np.maximum(best, quality.max(axis=0, initial=0.0))
    return best


def most_hops(best: Floats, kept: float, flip: float, fidelity: float) -> int:
    """Return how many pairs as good as ``best`` a chain may have and meet the fidelity."""
    swap = np.array([kept * flip, kept * flip * flip, kept * flip])
    product = np.ones(3)
    for hops in range(1, MAX_HOPS + 1):
        product = product * best * (swap if hops > 1 else 1.0)
        if (1.0 + product.sum()) / 4.0 < fidelity:
            return hops - 1
    return MAX_HOPS


@kernel
def distances(degree: Ints, neighbour: Ints, targets: Ints, n: int) -> NDArray[np.int8]:
    """Count hops from every node to each target by breadth-first search, as far as chains go."""
    far = np.int8(FAR)
    out = np.full((len(targets), n), far, dtype=np.int8)
    queue = np.empty(n, dtype=np.int64)
    for row in range(len(targets)):
        queue[0] = targets[row]
        out[row, targets[row]] = 0
        head, tail = 0, 1
        while head < tail:
            u = queue[head]
            head += 1
            if out[row, u] == MAX_HOPS:
                break
            for k in range(degree[u]):
                v = neighbour[u, k]
                if out[row, v] == far:
                    out[row, v] = out[row, u] + 1
                    queue[tail] = v
                    tail += 1
    return out

"""The policy that acts: a small residual on the best heuristic, one score per candidate.

At a slot a node spends each generation token on one of C candidates: its incident links, padded to
the largest degree K, or "idle", which is always the last (C = K + 1). A candidate has F features
and a base score of the tuned mean-rate heuristic. Its logit is

    base / temperature + sum_h w2[h] * tanh(b1[h] + sum_f x[f] * w1[f, h])

``w2`` starts at zero, so the policy starts as the heuristic. The same small network scores every
candidate, so permuting candidates permutes logits, padding changes nothing, no node has a number,
and one set of weights fits any degree. There is no output bias: the softmax would not see it.

Every node has its own weights, stacked along the leading axis N. The kernels are scalar loops in
float64 and in a fixed order, so a node decides the same whether it is simulated among thousands or
lives alone in a process. :mod:`controller.ppo` trains the weights.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.kernels import kernel
from quantum.seeding import generator

__all__ = [
    "Actor",
    "from_parameters",
    "initial_actor",
    "logits",
    "orthogonal",
    "parameters",
    "pick",
]

Floats = NDArray[np.float64]


class Actor(NamedTuple):
    """Weights of N nodes: ``w1`` (N, F, H), ``b1`` (N, H), ``w2`` (N, H), all float64."""

    w1: Floats
    b1: Floats
    w2: Floats


def orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float) -> Floats:
    """Draw a (rows, columns) matrix with orthonormal columns, or rows if fewer, times ``gain``.

    Saxe et al., arXiv:1312.6120; the start that PPO's reference implementations use.

    >>> w = orthogonal(np.random.default_rng(0), 5, 3, 2.0)
    >>> bool(np.allclose(w.T @ w, 4.0 * np.eye(3)))
    True
    """
    normal = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    # Without the signs of R the draw is not uniform over the orthogonal matrices.
    q = q * np.where(np.diag(r) < 0.0, -1.0, 1.0)
    return np.ascontiguousarray(gain * (q if rows >= columns else q.T))


def initial_actor(nodes: int, features: int, hidden: int = 8, *, seed: int = 0) -> Actor:
    """Return the actor that is exactly the heuristic; all nodes start with the same weights.

    Equal starts are what makes averaging over nodes meaningful, and let a new node join.

    >>> actor = initial_actor(3, 12, 8, seed=7)
    >>> actor.w1.shape, bool((actor.w1[0] == actor.w1[2]).all()), float(actor.w2.max())
    ((3, 12, 8), True, 0.0)
    """
    for name, value in (("nodes", nodes), ("features", features), ("hidden", hidden)):
        if value < 1:
            raise InputError(f"actor.{name} must be >= 1, got {value}")
    w1 = orthogonal(generator(seed, "actor"), features, hidden, math.sqrt(2.0))
    return Actor(
        w1=np.repeat(w1[None], nodes, axis=0),
        b1=np.zeros((nodes, hidden)),
        w2=np.zeros((nodes, hidden)),
    )


def parameters(actor: Actor) -> Floats:
    """Lay the weights out flat, (N, P) with P = F H + 2 H, in the order w1, b1, w2."""
    nodes = len(actor.w1)
    return np.concatenate([np.reshape(part, (nodes, -1)) for part in actor], axis=1)


def from_parameters(flat: Floats, features: int, hidden: int) -> Actor:
    """Read what :func:`parameters` wrote; InputError on another size or on values not finite.

    >>> a = initial_actor(2, 4, 3)
    >>> all((x == y).all() for x, y in zip(a, from_parameters(parameters(a), 4, 3)))
    True
    """
    table = np.ascontiguousarray(flat, dtype=np.float64)
    body = features * hidden
    if table.ndim != 2 or table.shape[1] != body + 2 * hidden:
        raise InputError(
            f"actor parameters must have shape (nodes, {body + 2 * hidden}), got {table.shape}"
        )
    if not np.all(np.isfinite(table)):
        raise InputError("actor parameters must be finite")
    return Actor(
        w1=table[:, :body].reshape(-1, features, hidden).copy(),
        b1=table[:, body : body + hidden].copy(),
        w2=table[:, body + hidden :].copy(),
    )


@kernel
def logits(
    w1: Floats,
    b1: Floats,
    w2: Floats,
    node: int,
    features: Floats,
    mask: NDArray[np.bool_],
    base: Floats,
    temperature: float,
    out: Floats,
) -> None:
    """Write the logits of a node's candidates into ``out`` (C,); minus infinity where masked.

    ``features`` (C, F), ``mask`` (C,) true where the candidate exists, ``base`` (C,).
    """
    size, hidden = w1.shape[1], w1.shape[2]
    for c in range(out.shape[0]):
        if not mask[c]:
            out[c] = -np.inf
            continue
        residual = 0.0
        for h in range(hidden):
            if w2[node, h] == 0.0:  # a fresh policy costs what the heuristic costs
                continue
            total = b1[node, h]
            for f in range(size):
                total += features[c, f] * w1[node, f, h]
            residual += w2[node, h] * math.tanh(total)
        out[c] = base[c] / temperature + residual


@kernel
def pick(logits: Floats, mask: NDArray[np.bool_], u: float) -> tuple[int, float]:
    """Choose a candidate; return its index and its log-probability under the masked softmax.

    ``u`` in [0, 1) inverts the cumulative distribution in the order of the candidates; ``u < 0``
    takes the most probable one, the first on ties. (-1, 0.0) if every candidate is masked.
    """
    best = -1
    for c in range(logits.shape[0]):
        if mask[c] and (best < 0 or logits[c] > logits[best]):
            best = c
    if best < 0:
        return -1, 0.0
    top = logits[best]
    total = 0.0
    for c in range(logits.shape[0]):
        if mask[c]:
            total += math.exp(logits[c] - top)
    chosen = best
    if u >= 0.0:
        threshold = u * total
        running = 0.0
        for c in range(logits.shape[0]):
            if mask[c]:
                weight = math.exp(logits[c] - top)
                running += weight
                if weight > 0.0:
                    # Also what is left when rounding keeps the sum below the threshold.
                    chosen = c
                if running > threshold:
                    break
    return chosen, logits[chosen] - top - math.log(total)

"""Forward and backward passes of candidate networks as kernels: what is masked costs nothing.

Stacks of decisions are mostly padding: nodes have different numbers of links and of decisions.
Tensors compute all of it, with arrays that no cache holds; these loops skip what is masked. Sums
are in the order of the acting kernel, so both find the same logits.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantum.kernels import kernel
from quantum.ledger.state import Floats

__all__ = ["Candidates", "pool_by_kernel"]

Bools = NDArray[np.bool_]


class Candidates(torch.autograd.Function):
    """Logits (N, B, C) and values (N, B) of stacked networks, on the processor, in float64."""

    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        mask: torch.Tensor,
        base: torch.Tensor,
        pooled: torch.Tensor,
        index: torch.Tensor,
        inside: torch.Tensor,
        masked: float,
        *leaves: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the decisions at ``index`` (N, B) of all M where they are ``inside`` (N, B).

        Elsewhere the last candidate is the only one. Arrays are read where they lie: to gather a
        minibatch first takes longer than to learn from it.
        """
        x, seen, scores, summary, at, there = (
            part.numpy() for part in (features, mask, base, pooled, index, inside)
        )
        weights = tuple(leaf.detach().numpy() for leaf in leaves)
        (nodes, width), candidates = at.shape, x.shape[2]
        logits = np.full((nodes, width, candidates), masked)
        value = np.zeros((nodes, width))
        hidden = np.empty((nodes, width, candidates, weights[0].shape[2]))
        inner = np.empty((nodes, width, weights[3].shape[2]))
        _forward(x, seen, scores, summary, at, there, *weights, logits, value, hidden, inner)
        ctx.arrays = (x, seen, summary, at, there, hidden, inner, weights)
        return torch.from_numpy(logits), torch.from_numpy(value)

    @staticmethod
    def backward(ctx: Any, *sent: torch.Tensor) -> Any:
        """Return the gradients of the leaves."""
        x, seen, summary, at, there, hidden, inner, weights = ctx.arrays
        to_logits, to_value = (np.ascontiguousarray(part.numpy()) for part in sent)
        found = tuple(np.zeros_like(part) for part in weights)
        _, _, w2, _, _, c2, _ = weights
        _backward(x, seen, summary, at, there, hidden, inner, w2, c2, to_logits, to_value, *found)
        return (None,) * 7 + tuple(torch.from_numpy(part) for part in found)


@kernel
def _forward(
    features: Floats,
    mask: Bools,
    base: Floats,
    pooled: Floats,
    index: NDArray[np.int64],
    inside: Bools,
    w1: Floats,
    b1: Floats,
    w2: Floats,
    c1: Floats,
    d1: Floats,
    c2: Floats,
    d2: Floats,
    logits: Floats,
    value: Floats,
    hidden: Floats,
    inner: Floats,
) -> None:
    nodes, candidates, size = features.shape[0], features.shape[2], features.shape[3]
    units, critic = w1.shape[2], c1.shape[2]
    for n in range(nodes):
        for t in range(index.shape[1]):
            s = index[n, t]
            if not inside[n, t]:
                logits[n, t, candidates - 1] = 0.0
                continue
            for c in range(candidates):
                if not mask[n, s, c]:
                    continue
                out = hidden[n, t, c]
                for h in range(units):
                    out[h] = b1[n, 0, h]
                for f in range(size):
                    x = features[n, s, c, f]
                    for h in range(units):
                        out[h] += x * w1[n, f, h]
                residual = 0.0
                for h in range(units):
                    out[h] = np.tanh(out[h])
                    residual += w2[n, h, 0] * out[h]
                logits[n, t, c] = base[n, s, c] + residual
            out = inner[n, t]
            for h in range(critic):
                out[h] = d1[n, 0, h]
            for f in range(2 * size):
                x = pooled[n, s, f]
                for h in range(critic):
                    out[h] += x * c1[n, f, h]
            total = d2[n, 0, 0]
            for h in range(critic):
                out[h] = np.tanh(out[h])
                total += c2[n, h, 0] * out[h]
            value[n, t] = total


@kernel
def _backward(
    features: Floats,
    mask: Bools,
    pooled: Floats,
    index: NDArray[np.int64],
    inside: Bools,
    hidden: Floats,
    inner: Floats,
    w2: Floats,
    c2: Floats,
    to_logits: Floats,
    to_value: Floats,
    g_w1: Floats,
    g_b1: Floats,
    g_w2: Floats,
    g_c1: Floats,
    g_d1: Floats,
    g_c2: Floats,
    g_d2: Floats,
) -> None:
    nodes, candidates, size = features.shape[0], features.shape[2], features.shape[3]
    units, critic = w2.shape[1], c2.shape[1]
    most = max(units, critic)
    push = np.empty(most)
    for n in range(nodes):
        for t in range(index.shape[1]):
            s = index[n, t]
            if not inside[n, t]:
                continue
            for c in range(candidates):
                g = to_logits[n, t, c]
                if not mask[n, s, c] or g == 0.0:
                    continue
                out = hidden[n, t, c]
                for h in range(units):
                    g_w2[n, h, 0] += g * out[h]
                    push[h] = g * w2[n, h, 0] * (1.0 - out[h] * out[h])
                    g_b1[n, 0, h] += push[h]
                for f in range(size):
                    x = features[n, s, c, f]
                    for h in range(units):
                        g_w1[n, f, h] += x * push[h]
            g = to_value[n, t]
            if g == 0.0:
                continue
            out = inner[n, t]
            g_d2[n, 0, 0] += g
            for h in range(critic):
                g_c2[n, h, 0] += g * out[h]
                push[h] = g * c2[n, h, 0] * (1.0 - out[h] * out[h])
                g_d1[n, 0, h] += push[h]
            for f in range(2 * size):
                x = pooled[n, s, f]
                for h in range(critic):
                    g_c1[n, f, h] += x * push[h]


@kernel
def pool_by_kernel(features: Floats, seen: Bools) -> Floats:
    """Return the mean and the maximum over the candidates seen, (N, M, 2F); zero if none."""
    nodes, width, candidates, size = features.shape
    out = np.zeros((nodes, width, 2 * size))
    for n in range(nodes):
        for t in range(width):
            count = 0
            row = out[n, t]
            for c in range(candidates):
                if not seen[n, t, c]:
                    continue
                count += 1
                for f in range(size):
                    x = features[n, t, c, f]
                    row[f] += x
                    row[size + f] = x if count == 1 else max(row[size + f], x)
            for f in range(size):
                row[f] /= max(count, 1)
    return out

"""The forecaster's network: a GRU reads a node's requests, a small head looks at each bin ahead.

Cho et al., arXiv:1406.1078, in the form of ``torch.nn.GRU``, N separate weight sets stacked along
the leading axis. The head sees the node's hidden state and what is known of a commodity's bin; it
gives two corrections of the log of the flat rate: that of the *hazard*, blocks per bin before the
first has come, and that of the *rate*, blocks per bin whatever came before. A bin of rate x holds a
block with probability 1 - exp(-x) (complementary log-log link). The outputs start at zero, so an
untrained network forecasts the flat rate.

Training runs in torch; forecasting in kernels of plain loops, in float64, so that a node forecasts
the same in any company. Set ``torch.set_num_threads(1)`` once per process.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.kernels import kernel
from quantum.seeding import generator

if TYPE_CHECKING:
    import torch

__all__ = [
    "BOUND",
    "OUTPUTS",
    "Weights",
    "log_rates",
    "new_weights",
    "read_node",
    "recur",
    "see_bin",
    "size_of",
]

Floats = NDArray[np.float64]

#: Hazard and rate.
OUTPUTS = 2
#: Bound of the log of a bin's blocks: far beyond any demand, far from overflow.
BOUND = 6.0


class Weights(NamedTuple):
    """Stacked weights of N networks; the gates are laid out reset, update, new."""

    wi: Floats  # (N, I, 3H)
    bi: Floats  # (N, 1, 3H)
    wh: Floats  # (N, H, 3H)
    bh: Floats  # (N, 1, 3H)
    wz: Floats  # (N, F, Z) from a bin's features
    uz: Floats  # (N, H, Z) from the hidden state
    bz: Floats  # (N, 1, Z)
    wo: Floats  # (N, Z, 2)
    bo: Floats  # (N, 1, 2)


def new_weights(
    nodes: int, inputs: int, features: int, *, hidden: int, units: int, seed: int
) -> Weights:
    """Draw N sets of weights of their own; the output starts at zero."""
    for name, value in (("nodes", nodes), ("hidden", hidden), ("units", units)):
        if value < 1:
            raise InputError(f"forecaster.{name} must be >= 1, got {value}")
    rng, gates = generator(seed, "recurrence"), 3 * hidden

    def draw(rows: int, columns: int, fan: int) -> Floats:
        bound = 1.0 / math.sqrt(fan)
        return rng.uniform(-bound, bound, (nodes, rows, columns))

    return Weights(
        wi=draw(inputs, gates, hidden),
        bi=draw(1, gates, hidden),
        wh=draw(hidden, gates, hidden),
        bh=draw(1, gates, hidden),
        wz=draw(features, units, features),
        uz=draw(hidden, units, hidden),
        bz=draw(1, units, features),
        wo=np.zeros((nodes, units, OUTPUTS)),
        bo=np.zeros((nodes, 1, OUTPUTS)),
    )


def size_of(weights: Weights, *, head_only: bool = False) -> int:
    """Return the number of parameters of one network, or of its head.

    >>> size_of(new_weights(3, 8, 14, hidden=4, units=4, seed=0))
    254
    """
    return sum(part[0].size for part in (weights[4:] if head_only else weights))


def log_rates(
    head: "tuple[torch.Tensor, ...]",
    hidden: "torch.Tensor",
    place: "torch.Tensor",
    bins: "torch.Tensor",
    offset: "torch.Tensor",
) -> "torch.Tensor":
    """Return the log of hazards and rates, (N, B, J, 2), for training.

    ``head`` is ``weights[4:]``, ``hidden`` (N, W, H) what :func:`recur` made of W windows of each
    network's requests; ``bins`` (N, B, J, F) and ``offset`` (N, B, 1, 1) are what is known of the
    commodities, ``place`` (N, B) says which window is theirs.
    """
    import torch

    wz, uz, bz, wo, bo = head
    nodes, batch, ahead, features = bins.shape
    width = uz.shape[-1]
    mine = torch.gather(torch.baddbmm(bz, hidden, uz), 1, place.unsqueeze(-1).expand(-1, -1, width))
    seen = torch.bmm(bins.reshape(nodes, batch * ahead, features), wz)
    z = torch.tanh(seen.view(nodes, batch, ahead, width) + mine.unsqueeze(2))
    out = torch.baddbmm(bo, z.view(nodes, batch * ahead, width), wo)
    return (offset + out.view(nodes, batch, ahead, OUTPUTS)).clamp(-4.0 * BOUND, BOUND)


def recur(
    weights: "tuple[torch.Tensor, ...]", events: "torch.Tensor", length: "torch.Tensor"
) -> "torch.Tensor":
    """Return the hidden states (N, W, H) after windows of requests (N, W, L, I).

    The newest request is the last, and only the last ``length`` (N, W) of a window are real.
    ``weights`` are ``weights[:4]``.
    """
    import torch

    wi, bi, wh, bh = weights
    nodes, windows, steps, inputs = events.shape
    size = wh.shape[1]
    rows = events.transpose(1, 2).reshape(nodes, steps * windows, inputs)
    projected = torch.baddbmm(bi, rows, wi).view(nodes, steps, windows, 3 * size)
    h = events.new_zeros(nodes, windows, size)
    # Indexing a step would back-propagate a full-size zero tensor for each; unbind does not.
    for number, gi in enumerate(projected.unbind(1)):
        gh = torch.baddbmm(bh, h, wh)
        gates = torch.sigmoid(gi[..., : 2 * size] + gh[..., : 2 * size])
        reset, update = gates.chunk(2, -1)
        new = torch.tanh(gi[..., 2 * size :] + reset * gh[..., 2 * size :])
        real = (length > steps - 1 - number).unsqueeze(-1)
        h = torch.where(real, new + update * (h - new), h)
    return h


@kernel
def read_node(weights: Weights, n: int, events: Floats, count: int, out: Floats) -> None:
    """Write node ``n``'s hidden state after its newest requests (a ring) into ``out`` (H,)."""
    length, inputs = events.shape
    hidden = len(out)
    gi, gh, h = np.empty(3 * hidden), np.empty(3 * hidden), np.zeros(hidden)
    for number in range(max(0, count - length), count):
        event = events[number % length]
        for j in range(3 * hidden):
            gi[j], gh[j] = weights.bi[n, 0, j], weights.bh[n, 0, j]
        for i in range(inputs):
            for j in range(3 * hidden):
                gi[j] += event[i] * weights.wi[n, i, j]
        for k in range(hidden):
            for j in range(3 * hidden):
                gh[j] += h[k] * weights.wh[n, k, j]
        for k in range(hidden):
            reset = 1.0 / (1.0 + math.exp(-(gi[k] + gh[k])))
            update = 1.0 / (1.0 + math.exp(-(gi[hidden + k] + gh[hidden + k])))
            new = math.tanh(gi[2 * hidden + k] + reset * gh[2 * hidden + k])
            h[k] = new + update * (h[k] - new)
    out[:] = h


@kernel
def see_bin(weights: Weights, n: int, hidden: Floats, bins: Floats, units: Floats) -> None:
    """Write what the head makes of each bin (J, F) of a commodity of node ``n`` into (J, Z)."""
    ahead, features = bins.shape
    size = units.shape[1]
    base = weights.bz[n, 0].copy()
    for k in range(len(hidden)):
        for z in range(size):
            base[z] += hidden[k] * weights.uz[n, k, z]
    for j in range(ahead):
        row = units[j]
        row[:] = base
        for f in range(features):
            for z in range(size):
                row[z] += bins[j, f] * weights.wz[n, f, z]
        for z in range(size):
            row[z] = math.tanh(row[z])

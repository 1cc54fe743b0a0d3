"""Link fidelities that wander: the bounded random walk of the ``fidelity`` preset."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from quantum.draws import uniforms
from quantum.errors import InputError
from quantum.network import Network
from quantum.seeding import stream

__all__ = ["SPAN", "WALK", "WALK_S", "drifted_populations"]

Floats = NDArray[np.float64]

#: How links wander, as they are specified: within these fidelities, by so much (standard deviation)
#: in so many seconds.
SPAN, WALK, WALK_S = (0.85, 0.97), 0.02, 10.0


def drifted_populations(
    network: Network,
    seed: int,
    slots: int,
    *,
    slot_s: float = 0.02,
    block_slots: int = 50,
    span: tuple[float, float] = SPAN,
    walk: float = WALK,
    walk_s: float = WALK_S,
) -> Floats:
    """Return the fresh-pair populations of every link over time, shape (blocks, m, 4).

    Block b holds for the slots ``b * block_slots`` up to the next block; there are enough blocks
    for ``slots``. Block 0 is the network itself. Each link's fidelity makes independent normal
    steps, ``walk`` (standard deviation) in ``walk_s`` seconds, reflected at the ends of ``span``;
    where a link starts outside, its own start is the end. The other three weights keep their
    ratios (equal where they are all 0). Draws are keyed by (seed, link, block): a longer run
    begins with the shorter one.
    """
    low, high = span
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(f"drift span must be 0 <= low <= high <= 1, got {low}, {high}")
    if not (0.0 <= walk < math.inf and 0.0 < walk_s < math.inf and 0.0 < slot_s < math.inf):
        raise InputError("drift needs walk >= 0, walk_s > 0 and slot_s > 0, all finite")
    if slots < 0 or block_slots < 1:
        raise InputError(f"drift needs slots >= 0 and block_slots >= 1, got {slots}, {block_slots}")
    blocks, m = max(1, -(-slots // block_slots)), len(network.links)
    first = network.populations[:, 0]
    draw = uniforms(
        seed, stream("drift"), np.arange(m)[None, :], np.arange(1, blocks)[:, None], 0
    ).reshape(blocks - 1, m)
    # A draw of exactly 0 would be a step without end.
    step = walk * math.sqrt(block_slots * slot_s / walk_s) * ndtri(np.maximum(draw, 2.0**-54))
    free = np.concatenate([np.zeros((1, m)), np.cumsum(step, axis=0)]) + first
    fidelity = _fold(free, np.minimum(low, first), np.maximum(high, first))
    fidelity[0] = first
    rest = network.populations[:, 1:]
    total = rest.sum(axis=1, keepdims=True)
    ratio = np.where(total > 0.0, rest / np.where(total > 0.0, total, 1.0), 1.0 / 3.0)
    others = (1.0 - fidelity)[..., None] * ratio
    out = np.concatenate([fidelity[..., None], others], axis=2)
    out[0] = network.populations
    return out


def _fold(free: Floats, low: Floats, high: Floats) -> Floats:
    """Reflect a free walk at both ends, as often as it takes."""
    width = high - low
    wide = np.where(width > 0.0, width, 1.0)
    phase = np.mod(free - low, 2.0 * wide)
    return low + np.where(width > 0.0, np.minimum(phase, 2.0 * wide - phase), 0.0)

"""The loops of the forecaster: look at all commodities, and learn from what came."""

import math

import numpy as np
from numpy.typing import NDArray

from controller.forecasting.looks import flat_rate, look_ahead
from controller.forecasting.recurrence import BOUND, OUTPUTS, Weights, read_node, see_bin
from controller.forecasting.streams import (
    BIN_S,
    BINS,
    FEATURES,
    TIMES,
    Streams,
)
from quantum.kernels import kernel

__all__ = ["blocks_after", "foresee", "improve", "outputs"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@kernel
def foresee(
    streams: Streams,
    weights: Weights,
    now_s: Floats,
    heard: Ints,
    read: Ints,
    hidden: Floats,
    flat: Floats,
    units: Floats,
    log: Floats,
) -> None:
    """Write flat rates (K,), the head's units (K, BINS, Z) and log rates (K, BINS, 2).

    ``now_s`` (N,) is the time at which each node looks; below zero it does not. A node's requests
    are read again only if it ``heard`` more (N,) than it has ``read`` (N,).
    """
    bins = np.empty((BINS, FEATURES))
    for k in range(len(streams.owner)):
        n = streams.owner[k]
        if now_s[n] < 0.0:
            continue
        if read[n] != heard[n]:
            read_node(weights, n, streams.events[n], streams.node_blocks[n], hidden[n])
            read[n] = heard[n]
        flat[k] = flat_rate(streams, k, now_s[n])
        look_ahead(streams, k, now_s[n], flat[k], bins)
        see_bin(weights, n, hidden[n], bins, units[k])
        outputs(weights, n, units[k], flat[k], log[k])


@kernel
def outputs(weights: Weights, n: int, units: Floats, flat: float, log: Floats) -> None:
    """Write the log of hazard and rate of each bin (J, 2) from the head's units (J, Z)."""
    base = math.log(flat * BIN_S)
    for j in range(len(units)):
        for o in range(OUTPUTS):
            total = base + weights.bo[n, 0, o]
            for z in range(units.shape[1]):
                total += units[j, z] * weights.wo[n, z, o]
            log[j, o] = min(max(total, -4.0 * BOUND), BOUND)


@kernel
def blocks_after(streams: Streams, k: int, start_s: float, came: Floats) -> None:
    """Count the blocks of commodity ``k`` in each bin after ``start_s`` into ``came`` (BINS,)."""
    came[:] = 0.0
    known = min(streams.blocks[k], TIMES)
    for number in range(streams.blocks[k] - known, streams.blocks[k]):
        # A bin ends with a slot, which belongs to it.
        bin_ = math.ceil((streams.times[k, number % TIMES] - start_s) / BIN_S - 1e-6) - 1
        if 0 <= bin_ < BINS:
            came[bin_] += 1.0


@kernel
def improve(
    streams: Streams,
    weights: Weights,
    start: Weights,
    units: Floats,
    flat: Floats,
    start_s: float,
    rate: float,
    leash: float,
    squares: Floats,
) -> None:
    """Take one step for each node on the forecast made at ``start_s``, whose bins have all passed.

    The loss of a commodity is the negative log-likelihood of its bins: of hazards until the first
    block, of rates in all; ``leash`` pulls the outputs to where they started. ``squares``
    (N, Z + 1, 2) sums squared gradients, which set the size of the steps.
    """
    nodes, size = len(streams.node_blocks), units.shape[2]
    gradient = np.zeros((nodes, size + 1, OUTPUTS))
    came, log = np.empty(BINS), np.empty((BINS, OUTPUTS))
    for k in range(len(streams.owner)):
        n = streams.owner[k]
        blocks_after(streams, k, start_s, came)
        outputs(weights, n, units[k], flat[k], log)
        for o in range(OUTPUTS):
            for j in range(BINS):
                x = math.exp(log[j, o])
                slope = x
                if came[j] > 0.0:  # d/dlog x of -log(1 - exp(-x))
                    slope = -x / math.expm1(x) if x > 1e-9 else -1.0
                for z in range(size):
                    gradient[n, z, o] += slope * units[k, j, z]
                gradient[n, size, o] += slope
                if o == 0 and came[j] > 0.0:
                    break
    for n in range(nodes):
        for z in range(size + 1):
            for o in range(OUTPUTS):
                part, at = (weights.wo, z) if z < size else (weights.bo, 0)
                origin = start.wo if z < size else start.bo
                g = gradient[n, z, o] + leash * (part[n, at, o] - origin[n, at, o])
                squares[n, z, o] += g * g
                part[n, at, o] -= rate * g / (1.0 + math.sqrt(squares[n, z, o]))

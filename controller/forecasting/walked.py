"""A trace as a walk through it sees it: requests by slot and class, and counts by bin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.forecasting.streams import BIN_S
from quantum.demand import Trace

__all__ = ["BIN_SLOTS", "SLOT_S", "Classes", "Walked"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Length of a slot, and slots of a bin.
SLOT_S = 0.02
BIN_SLOTS = round(BIN_S / SLOT_S)


@dataclass(frozen=True, eq=False)
class Classes:
    """Source, destination and fidelity of C classes, and the class of each request (R,)."""

    source: Ints
    destination: Ints
    fidelity: Floats
    of: Ints

    @classmethod
    def of_trace(cls, trace: Trace) -> "Classes":
        """Return every fidelity that is asked for, for each node pair."""
        kinds, which = np.unique(trace.minimum_fidelity, return_inverse=True)
        size = max(1, len(kinds))
        ends = np.repeat(trace.commodities, size, axis=0)
        fidelity = np.tile(kinds if len(kinds) else np.zeros(1), len(trace.commodities))
        return cls(ends[:, 0], ends[:, 1], fidelity, trace.commodity * size + which.reshape(-1))


@dataclass(frozen=True, eq=False)
class Walked:
    """Requests in order, and what came in bins that end with the slots 5, 10, ...

    ``slot``, ``cls``, ``asked`` (R,); ``blocks`` (K, T) says whether a commodity asked in a bin,
    ``classes`` (C, T) whether a class did, ``pairs`` (N, T) for how many pairs a node asked.
    """

    slot: Ints
    cls: Ints
    asked: Ints
    blocks: Floats
    classes: NDArray[np.bool_]
    pairs: Floats

    @classmethod
    def of(
        cls, trace: Trace, classes: Classes, commodity: Ints, owner: Ints, seconds: float
    ) -> "Walked":
        """Count a trace; ``commodity`` (C,) and ``owner`` (K,) are those of the forecasters."""
        slot = np.floor(trace.time_s / SLOT_S + 1e-9).astype(np.int64)
        inside = slot * SLOT_S <= seconds
        slot, of, asked = slot[inside], classes.of[inside], trace.pairs[inside]
        bins = round(seconds / BIN_S) + 1
        # The slot that ends a bin belongs to it; slot 0 has no bin of its own.
        at = np.minimum(np.maximum(-(-slot // BIN_SLOTS) - 1, 0), bins - 1)
        k, nodes = commodity[of], int(owner.max(initial=-1)) + 1
        blocks, found = np.zeros((len(owner), bins)), np.zeros((len(commodity), bins), dtype=bool)
        pairs = np.zeros((nodes, bins))
        blocks[k, at] = 1.0
        found[of, at] = True
        np.add.at(pairs, (owner[k], at), asked)
        return cls(slot, of, asked, blocks, found, pairs)

    def scale(self, bins: int) -> Floats:
        """Return the mean change from bin to bin of each node before ``bins``, for MASE, (N,)."""
        if bins < 2:
            return np.zeros(len(self.pairs))
        change: Floats = np.abs(np.diff(self.pairs[:, :bins], axis=1)).mean(axis=1)
        return change

"""Request traces: who asks for pairs, when, of what quality and by when.

Times are seconds of network time from the start of the run, warm-up included.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError

__all__ = ["Trace"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trace:
    """R requests of K commodities (node pairs).

    ``commodities`` (K, 2) node indices; ``weights`` (K,) share of the mean demand, sums to 1;
    ``load_hz`` mean pairs per second over all commodities. Per request, sorted by ``time_s``:
    ``commodity`` (R,), ``pairs`` (R,), ``minimum_fidelity`` (R,), ``deadline_s`` (R,) relative to
    ``time_s``, and ``told_s`` (R,), when the application announces it (``time_s`` if it does not).
    """

    name: str
    commodities: Ints
    weights: Floats
    load_hz: float
    time_s: Floats
    commodity: Ints
    pairs: Ints
    minimum_fidelity: Floats
    deadline_s: Floats
    told_s: Floats

    def __post_init__(self) -> None:
        size = len(self.time_s)
        for name in ("commodity", "pairs", "minimum_fidelity", "deadline_s", "told_s"):
            if len(getattr(self, name)) != size:
                raise InputError(f"demand.{name} must have one value for each of {size} requests")
        for name in ("time_s", "minimum_fidelity", "deadline_s", "told_s", "weights"):
            if not np.all(np.isfinite(getattr(self, name))):
                raise InputError(f"demand.{name} must be finite")
        if size and np.any(np.diff(self.time_s) < 0):
            raise InputError("demand.time_s must be sorted")
        if size and (self.minimum_fidelity.min() < 0 or self.minimum_fidelity.max() > 1):
            raise InputError("demand.minimum_fidelity must be between 0 and 1")
        if size and self.pairs.min() < 1:
            raise InputError("demand.pairs must be >= 1")
        if size and self.deadline_s.min() <= 0:
            raise InputError("demand.deadline_s must be > 0 seconds")
        if len(self.commodities) and np.any(self.commodities[:, 0] == self.commodities[:, 1]):
            raise InputError("demand.commodities must join two different nodes")
        if size and (self.commodity.min() < 0 or self.commodity.max() >= len(self.commodities)):
            raise InputError(f"demand.commodity must be 0 to {len(self.commodities) - 1}")

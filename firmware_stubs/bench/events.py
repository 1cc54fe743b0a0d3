"""What detectors see in a stretch of time, drawn from mean numbers.

Inputs are numbered 0-3: Alice +, Alice -, Bob +, Bob -.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Events", "drawn", "share_between"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Events:
    """What the detectors saw: ``pairs`` (2, 2) Alice by Bob, ``singles`` (4,), pairs included.

    ``rates_hz`` (4,) are the mean rates of singles, from which accidentals follow.
    """

    pairs: Ints
    singles: Ints
    rates_hz: Floats
    seconds: float


def drawn(pairs: Floats, singles: Floats, seconds: float, rng: np.random.Generator) -> Events:
    """Draw events from mean numbers of ``pairs`` (2, 2) and ``singles`` (4,), pairs included."""
    both = rng.poisson(pairs)
    in_pairs = np.concatenate([pairs.sum(axis=1), pairs.sum(axis=0)])
    alone = rng.poisson(np.maximum(singles - in_pairs, 0.0))
    return Events(
        pairs=both,
        singles=alone + np.concatenate([both.sum(axis=1), both.sum(axis=0)]),
        rates_hz=singles / seconds if seconds > 0.0 else singles,
        seconds=seconds,
    )


def share_between(low_ps: float, high_ps: float, mean_ps: float, deviation_ps: float) -> float:
    """Return the share of a Gaussian between two times."""
    scale = deviation_ps * math.sqrt(2.0)
    return 0.5 * (math.erf((high_ps - mean_ps) / scale) - math.erf((low_ps - mean_ps) / scale))

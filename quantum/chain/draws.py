"""Draws of chains: SplitMix64 with a key for each trajectory, and geometric numbers of attempts.

Draw ``number`` of trajectory i depends on (seed, i, number) only. Nothing here branches or calls
a library, so that loops over trajectories use vector instructions.
"""

import numpy as np

from quantum.draws import mix
from quantum.kernels import kernel, small

__all__ = ["attempts_of", "base_key", "trajectory_key", "uniform_of"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE, _MANTISSA = np.uint64(0x3FF0000000000000), np.uint64(12)
_SQRT_2, _LN2 = 1.4142135623730951, 0.6931471805599453


@kernel
def base_key(seed: int, stream: int) -> np.uint64:
    """Return the key of a seed and a named stream."""
    key: np.uint64 = mix(mix(np.uint64(seed) + _GOLDEN) ^ (np.uint64(stream) + _GOLDEN))
    return key


@small
def trajectory_key(base: np.uint64, number: int) -> np.uint64:
    """Return the key of a trajectory."""
    key: np.uint64 = mix(base ^ (np.uint64(number) + _GOLDEN))
    return key


@small
def uniform_of(key: np.uint64, number: int) -> float:
    """Return draw ``number`` of a trajectory, in (0, 1], a multiple of 2^-52."""
    word = mix(key + np.uint64(number + 1) * _GOLDEN)
    return 2.0 - np.uint64((word >> _MANTISSA) | _ONE).view(np.float64)


@small
def logarithm(x: float) -> float:
    """Return ln x of a normal x > 0, to two units in the last place.

    With x = m 2^e and m within a factor sqrt 2 of 1, ln m = 2 artanh f, f = (m - 1) / (m + 1),
    |f| < 0.172: the series to f^21 is cut where terms fall below 1e-18.
    """
    bits = np.float64(x).view(np.int64)
    exponent = np.float64((bits >> 52) - 1023)
    m = np.int64((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000).view(np.float64)
    high = m > _SQRT_2
    m = 0.5 * m if high else m
    exponent = exponent + 1.0 if high else exponent
    f = (m - 1.0) / (m + 1.0)
    s = f * f
    p = 1.0 / 21.0
    p = p * s + 1.0 / 19.0
    p = p * s + 1.0 / 17.0
    p = p * s + 1.0 / 15.0
    p = p * s + 1.0 / 13.0
    p = p * s + 1.0 / 11.0
    p = p * s + 1.0 / 9.0
    p = p * s + 1.0 / 7.0
    p = p * s + 1.0 / 5.0
    p = p * s + 1.0 / 3.0
    return exponent * _LN2 + (2.0 * f + 2.0 * f * s * p)


@small
def attempts_of(uniform: float, inverse_log: float) -> float:
    """Return the number of attempts until success, by inversion of the geometric law.

    ``inverse_log`` is 1 / ln(1 - p), and 0 for p = 1.
    """
    return 1.0 + float(np.floor(logarithm(uniform) * inverse_log))

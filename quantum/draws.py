"""Draws by key: the same (seed, stream, numbers) gives the same draw, in any order.

:func:`uniform` is a stateless hash for draws that every allocator must share (tokens, heralds, test
bases): draw number (node, slot) does not depend on what was drawn before.
:mod:`quantum.seeding` names the streams, and opens a NumPy generator for everything sequential.
"""

import numpy as np
from numba import vectorize

from quantum.kernels import lean, small

__all__ = ["mix", "uniform", "uniforms"]


@small
def mix(x: np.uint64) -> np.uint64:
    """Finalise a 64-bit word (SplitMix64, Steele et al., OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@lean
def uniform(seed: int, name: int, a: int, b: int, c: int) -> float:
    """Return the draw in [0, 1) of (seed, stream number, a, b, c)."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    x = mix(np.uint64(seed) + golden)
    x = mix(x ^ (np.uint64(name) + golden))
    x = mix(x ^ (np.uint64(a) + golden))
    x = mix(x ^ (np.uint64(b) + golden))
    x = mix(x ^ (np.uint64(c) + golden))
    return float(x >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@vectorize(["float64(int64, int64, int64, int64, int64)"], cache=True)
def uniforms(seed: int, name: int, a: int, b: int, c: int) -> float:
    """Return the draws of broadcast integer arrays; equal to :func:`uniform` element by element."""
    return float(uniform(seed, name, a, b, c))

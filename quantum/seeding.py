"""Randomness by key: the same (seed, key) gives the same generator, in any order.

For draws that kernels and every allocator share see :mod:`quantum.draws`; this file compiles
nothing, so that a process which only needs a generator starts at once.
"""

import hashlib

import numpy as np

__all__ = ["generator", "stream"]


def stream(name: str) -> int:
    """Return the 63-bit number of a named stream of draws.

    >>> stream("tokens") == stream("tokens") != stream("heralds")
    True
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """Open the generator of a key.

    >>> generator(7, "demand").integers(10) == generator(7, "demand").integers(10)
    np.True_
    """
    words = [stream(k) if isinstance(k, str) else k for k in key]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))

"""Two-universal hashing with Toeplitz matrices: verification and privacy amplification.

Krawczyk, CRYPTO '94; Carter, Wegman, J. Comput. Syst. Sci. 18, 143 (1979). A Toeplitz matrix of m
rows and n columns is given by m + n - 1 random bits; its product with a key is a convolution, so a
Fourier transform multiplies a megabit in a second.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from quantum.errors import InputError

__all__ = ["pack", "toeplitz", "unpack"]

Bits = NDArray[np.uint8]

#: Sums of so many ones are exact after a transform in double precision.
_MOST_BITS = 2**24


def toeplitz(key: Bits, diagonals: Bits) -> Bits:
    """Return the product (m,) of a Toeplitz matrix with a key (n,), bits 0 or 1.

    ``diagonals`` (m + n - 1,): entry (i, j) of the matrix is ``diagonals[i - j + n - 1]``.

    >>> toeplitz(np.array([1, 0], np.uint8), np.array([1, 0, 1], np.uint8)).tolist()
    [0, 1]
    """
    columns = len(key)
    if not 1 <= columns <= _MOST_BITS or len(diagonals) < columns:
        raise InputError(
            f"hashing takes from 1 to {_MOST_BITS} bits and as many diagonals at least, got "
            f"{columns} and {len(diagonals)}"
        )
    sums = fftconvolve(diagonals.astype(np.float64), key.astype(np.float64), mode="valid")
    return np.asarray(np.rint(sums).astype(np.int64) & 1, dtype=np.uint8)


def pack(bits: Bits) -> bytes:
    """Return bits as bytes, the first bit highest; what does not fill a byte is left out."""
    whole = len(bits) // 8 * 8
    return np.packbits(bits[:whole]).tobytes()


def unpack(data: bytes) -> Bits:
    """Return bytes as bits (8 len(data),)."""
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8))

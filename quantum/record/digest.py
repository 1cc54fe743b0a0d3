"""One digest over everything a run decided, to compare runs of different backends."""

import hashlib
import operator
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError

__all__ = ["Digest"]


class Digest:
    """A running SHA-256 over decisions, equal wherever the same decisions are taken.

    Every item is written with its kind and length, so that no two sequences share their bytes.

    >>> first, second = Digest(), Digest()
    >>> first.update("swap", 3, 14)
    >>> second.update("swap", 31, 4)
    >>> first.hexdigest() == second.hexdigest()
    False
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def update(self, *items: int | str) -> None:
        """Add one tuple of integers and strings; a float has no canonical bytes and is refused."""
        parts = [b"("]
        for item in items:
            if isinstance(item, str):
                text = item.encode()
                parts.append(b"s%d:%b" % (len(text), text))
            else:
                parts.append(b"i%d;" % operator.index(item))
        parts.append(b")")
        self._sha.update(b"".join(parts))

    def update_rows(self, rows: Iterable[Sequence[int]]) -> None:
        """Add tuples of integers, each as :meth:`update` would; many at once are added faster.

        >>> one, many = Digest(), Digest()
        >>> one.update(3, -14)
        >>> one.update()
        >>> many.update_rows([(3, -14), ()])
        >>> one.hexdigest() == many.hexdigest()
        True
        """
        index = operator.index
        written = [_form(len(row)) % tuple(map(index, row)) for row in rows]
        self._sha.update(b"".join(written))

    def update_array(self, array: NDArray[Any]) -> None:
        """Add an array: its shape, then its values as little-endian int64 or float64 in C order.

        The width of the element type does not count, nor does the sign of zero.

        >>> narrow, wide = Digest(), Digest()
        >>> narrow.update_array(np.array([1, 2], dtype=np.int16))
        >>> wide.update_array(np.array([1, 2], dtype=">i8"))
        >>> narrow.hexdigest() == wide.hexdigest()
        True
        """
        kind = array.dtype.kind
        if kind in "bi" or (kind == "u" and array.dtype.itemsize < 8):
            tag, values = b"I", np.ascontiguousarray(array, dtype="<i8")
        elif kind == "f":
            if not np.all(np.isfinite(array)):
                raise InputError("a digest takes finite numbers only")
            # Adding zero turns -0.0 into 0.0.
            tag, values = b"F", np.ascontiguousarray(array, dtype="<f8") + 0.0
        else:
            raise InputError(f"a digest takes int64 and float64 arrays, not {array.dtype}")
        shape = ",".join(map(str, array.shape)).encode()
        self._sha.update(b"a%b%b:" % (tag, shape))
        self._sha.update(values.tobytes())

    def hexdigest(self) -> str:
        """Return the digest of everything added so far, 64 hexadecimal digits."""
        return self._sha.hexdigest()


@cache
def _form(size: int) -> bytes:
    """Return what writes a tuple of so many integers."""
    return b"(%b)" % (b"i%d;" * size)

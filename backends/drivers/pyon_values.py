"""Values that PYON can carry beyond JSON, built from their parts with strict limits.

PYON is the notation of sipyco (facts from its documentation and ``pyon.py`` at ``1f1722f``). Both
versions name the same types; here they are made, never by looking a name up in a module.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from quantum.errors import DeviceProtocol

__all__ = ["PyonError", "build"]

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)\Z")
_LARGEST_BYTES = 16 * 1024 * 1024
_LARGEST_DIMENSION = 8


class PyonError(DeviceProtocol):
    """Text that is no PYON, or that carries what we do not take."""


def build(name: str, args: list[Any]) -> Any:
    """Make a value from the name of its type and its arguments.

    >>> build("complex", [1.0, -2.0]), build("tuple", [[1, 2]])
    ((1-2j), (1, 2))
    """
    maker = _MAKERS.get(name)
    if maker is None:
        raise PyonError(f"PYON type {name[:40]!r} is unknown; known: {', '.join(_MAKERS)}")
    try:
        return maker(*args)
    except PyonError:
        raise
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, binascii.Error) as wrong:
        raise PyonError(f"PYON {name} cannot be made from its arguments: {wrong}") from wrong


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list is needed")
    return list(value)


def _pairs(value: Any) -> dict[Any, Any]:
    return dict(_items(pair) for pair in _items(value))


def _complex(real: Any, imag: Any) -> complex:
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (real, imag)):
        raise TypeError("two numbers are needed")
    return complex(real, imag)


def _fraction(numerator: Any, denominator: Any) -> Fraction:
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in (numerator, denominator)):
        raise TypeError("two integers are needed")
    return Fraction(numerator, denominator)


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str | bytes):
        raise TypeError("text is needed")
    return base64.b64decode(text, validate=True)


def _dtype(text: Any) -> np.dtype[Any]:
    if not isinstance(text, str) or not _DTYPE.match(text):
        raise PyonError(f"PYON dtype must be a plain number or bool, got {text!r:.40}")
    return np.dtype(text)


def _nparray(shape: Any, dtype: Any, data: Any) -> np.ndarray[Any, Any]:
    sizes, kind, raw = _items(shape), _dtype(dtype), _bytes(data)
    if len(sizes) > _LARGEST_DIMENSION or not all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= _LARGEST_BYTES for n in sizes
    ):
        raise PyonError(f"PYON array must have up to {_LARGEST_DIMENSION} sizes, got {shape!r:.60}")
    if math.prod(sizes) * kind.itemsize != len(raw) or len(raw) > _LARGEST_BYTES:
        raise PyonError(f"PYON array of shape {sizes} and {kind} does not fit {len(raw)} bytes")
    return np.frombuffer(raw, kind).reshape(sizes).copy()


def _npscalar(dtype: Any, data: Any) -> Any:
    return _nparray((), dtype, data)[()]


_MAKERS: dict[str, Callable[..., Any]] = {
    "tuple": lambda items: tuple(_items(items)),
    "dict": _pairs,
    "OrderedDict": _pairs,
    "complex": _complex,
    "bytes": _bytes,
    "set": lambda items: set(_items(items)),
    "slice": slice,
    "Fraction": _fraction,
    "nparray": _nparray,
    "npscalar": _npscalar,
}

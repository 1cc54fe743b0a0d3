"""Arguments as people give them: of the right type, or one line that names the argument."""

import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

from quantum.errors import InputError

__all__ = ["number", "numbers", "whole"]


def whole(name: str, value: Any) -> int:
    """Return a whole number, Python's or numpy's; :class:`InputError` for anything else.

    >>> whole("seed", 3)
    3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, got {_said(value)}") from None
    if abs(found) >= 1 << 63:
        raise InputError(f"{name} must be a whole number of 64 bits, got {_said(value)}")
    return found


def number(name: str, value: Any) -> float:
    """Return a number, Python's or numpy's, as a float; :class:`InputError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} must be a number, got {_said(value)}")
    return float(value)


def numbers(name: str, value: Any, size: int | None = None) -> tuple[float, ...]:
    """Return a sequence of numbers, ``size`` of them where that is given."""
    wanted = "numbers, such as (0.75, 0.85)" if size is None else f"{size} numbers (low, high)"
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InputError(f"{name} must be {wanted}, got {_said(value)}")
    found = tuple(number(name, each) for each in value)
    if size is not None and len(found) != size:
        raise InputError(f"{name} must be {wanted}, got {len(found)}")
    return found


def _said(value: Any) -> str:
    """Return a value in one short line."""
    return " ".join(f"{value!r}".split())[:60]

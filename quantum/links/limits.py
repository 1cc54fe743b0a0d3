"""Checks of a link model's numbers; each error names the field."""

import math

from quantum.errors import InputError

__all__ = ["Sides", "at_least", "between", "positive", "probability", "sides"]

#: One number for both sides of a link, or ``[left, right]``.
Sides = float | tuple[float, float]


def sides(value: Sides) -> tuple[float, float]:
    """Return (left, right) of a value that may be one for both.

    >>> sides(0.5), sides((0.4, 0.6))
    ((0.5, 0.5), (0.4, 0.6))
    """
    return value if isinstance(value, tuple) else (value, value)


def probability(field: str, value: object) -> None:
    """Refuse what is no probability, or no pair of them."""
    between(field, value, 0.0, 1.0)


def between(field: str, value: object, low: float, high: float) -> None:
    """Refuse numbers (or pairs of numbers) outside ``[low, high]``."""
    for number in _numbers(field, value):
        if not low <= number <= high:
            raise InputError(f"link.{field} must be between {low:g} and {high:g}, got {number}")


def at_least(field: str, value: object, low: float) -> None:
    """Refuse numbers (or pairs of numbers) below ``low`` and those that are not finite."""
    for number in _numbers(field, value):
        if not low <= number < math.inf:
            raise InputError(f"link.{field} must be finite and >= {low:g}, got {number}")


def positive(field: str, value: object) -> None:
    """Refuse numbers that are not finite and above zero."""
    for number in _numbers(field, value):
        if not 0.0 < number < math.inf:
            raise InputError(f"link.{field} must be finite and > 0, got {number}")


def _numbers(field: str, value: object) -> tuple[float, ...]:
    if isinstance(value, tuple) and len(value) != 2:
        raise InputError(f"link.{field} must be a number or a pair of them, got {value!r}")
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise InputError(f"link.{field} must be a number, got {number!r}")
    return numbers

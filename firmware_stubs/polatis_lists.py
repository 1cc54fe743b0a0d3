"""Lists of ports as a Polatis switch reads and writes them: ``(@1,2),(@17,18)``."""

import re

from firmware_stubs.scpi import ScpiError

__all__ = ["read_pairs", "read_ports", "show_pairs"]

_LIST = re.compile(r"\(@\s*((?:\d{1,4}\s*(?:,\s*\d{1,4}\s*)*)?)\)\Z", re.ASCII)


def read_ports(text: str) -> list[int]:
    """Read one list.

    >>> read_ports("(@17, 18)"), read_ports("(@)")
    ([17, 18], [])
    """
    found = _LIST.match(text.strip())
    if found is None:
        raise ScpiError(-104, "Data type error")
    numbers = [int(part) for part in found[1].split(",")] if found[1].strip() else []
    if len(set(numbers)) != len(numbers):
        raise ScpiError(-222, "Data out of range")
    return numbers


def read_pairs(text: str) -> tuple[list[int], list[int]]:
    """Read two lists that are joined by a comma.

    >>> read_pairs("(@1,2),(@17,18)")
    ([1, 2], [17, 18])
    """
    left, comma, right = text.strip().partition("),")
    if not comma:
        raise ScpiError(-109, "Missing parameter")
    return read_ports(left + ")"), read_ports(right)


def show_pairs(made: dict[int, int]) -> str:
    """Write connections, by input.

    >>> show_pairs({2: 18, 1: 19}), show_pairs({})
    ('(@1,2),(@19,18)', '(@),(@)')
    """
    pairs = sorted(made.items())
    left = ",".join(str(source) for source, _ in pairs)
    right = ",".join(str(target) for _, target in pairs)
    return f"(@{left}),(@{right})"

"""What the parts of the ID900 driver share: setting and reading back, reading numbers strictly."""

import math
import re

from backends.drivers.zmq_scpi import Asks, parse_address
from quantum.errors import DeviceLimit, DeviceProtocol

__all__ = ["LARGEST_RATE_HZ", "Settings", "limit"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\Z")
_LARGEST_COUNT = 2**31 - 1

#: Events a second over all inputs above which the unit may overflow and need a restart by hand
#: (manual, p. 48).
LARGEST_RATE_HZ = 10e6

#: Public scripts split the answers of a chain at either.
_BETWEEN = re.compile(r"[;\n]")


class Settings:
    """An ID900 as a table of settings and counts; every answer is checked before it is a number."""

    def __init__(self, wire: Asks) -> None:
        self.wire = wire
        self.address = wire.address
        self.host = parse_address(wire.address)[0]

    def ask(self, text: str) -> str:
        """Send one frame and return its answer."""
        return self.wire.ask(text)

    def last(self, text: str) -> str:
        """Send one frame and return the answer to its last command."""
        return _BETWEEN.split(self.ask(text))[-1]

    def set(self, header: str, value: str) -> None:
        """Set a value and read it back in the same frame: what a set itself answers is open."""
        answer = self.last(f"{header} {value};:{header}?")
        if not _same(answer, value):
            raise DeviceProtocol(
                f"{self.address}: {header} was set to {value} but reads {answer[:60]!r}"
            )

    def counts(self, headers: list[str]) -> list[int]:
        """Read several counts in one frame, all of one instant."""
        answers = _BETWEEN.split(self.ask(";:".join(f"{header}?" for header in headers)))
        if len(answers) != len(headers):
            raise DeviceProtocol(
                f"{self.address}: {len(answers)} answers to {len(headers)} counter queries"
            )
        return [self.count(f"{h}?", a) for h, a in zip(headers, answers, strict=True)]

    def count(self, query: str, answer: str) -> int:
        """Read one count, or raise :class:`DeviceProtocol`."""
        text = answer.strip()
        if not _INTEGER.match(text) or not 0 <= int(text) <= _LARGEST_COUNT:
            raise DeviceProtocol(
                f"{self.address}: {query} must answer a count from 0 to 2^31-1, got {text[:40]!r}"
            )
        return int(text)


def limit(name: str, value: float, low: float, high: float) -> None:
    """Raise :class:`DeviceLimit` where a value is outside its range, or not a number."""
    if not low <= value <= high:
        raise DeviceLimit(f"{name} must be from {low:g} to {high:g}, got {value}")


def _same(answer: str, value: str) -> bool:
    """Compare an answer with what was set, whatever suffix or spelling either has."""
    said, meant = (_bare(text) for text in (answer, value))
    if _NUMBER.match(said) and _NUMBER.match(meant):
        return math.isclose(float(said), float(meant), rel_tol=1e-9, abs_tol=1e-12)
    return said == meant or (len(meant) >= 4 and said.startswith(meant))


def _bare(text: str) -> str:
    word = text.strip().upper()
    for suffix in ("TB", "V"):
        stripped = word.removesuffix(suffix).rstrip()
        if _NUMBER.match(stripped):
            return stripped
    return word

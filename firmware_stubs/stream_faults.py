"""Faults of a byte stream, and how they change what leaves an instrument.

Each lasts for a number of answers or until it is cleared, and spoils only output whose request or
whose own bytes contain ``match``. Faults of the instrument itself (a port that failed, a latched
detector) have names that the stub declares; they share the plan, and the stub asks for them.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from quantum.errors import InputError

__all__ = ["WIRE_KINDS", "Piece", "StreamFault", "StreamFaults", "damage_stream"]

#: What each does to one answer, or to the port.
WIRE_KINDS = {
    "silence": "the answer is not sent",
    "delay": "the answer leaves late_s later",
    "chunks": "the answer leaves in pieces of `size` bytes, late_s apart",
    "half": "the first half of the answer, then nothing",
    "lose_byte": "the byte in the middle of the answer is missing",
    "garbage": "other bytes instead of the answer",
    "endless": "`size` bytes that never end a line instead of the answer",
    "reset": "the connection is reset instead of the answer",
    "half_reset": "the first half of the answer, then a reset",
    "hang_up": "the connection is closed in good order instead of the answer",
    "nan": "the first number of the answer is NaN",
    "negative": "the first number of the answer is -17",
    "overflow": "the first number of the answer is 2^31",
    "refuse": "the port is closed: connections are refused",
    "half_open": "nothing is read or written, connections stay open",
}

#: Faults of the port: in force until cleared, whatever passes.
PORT_KINDS = ("refuse", "half_open")

_NUMBERS = {"nan": b"NaN", "negative": b"-17", "overflow": str(2**31).encode()}
_NUMBER = re.compile(rb"(?<![\w.])[+-]?[0-9]+(?:\.[0-9]+)?(?![\w.])")
_GARBAGE = b"#?!~ 7e;;\x00x:\xff\xfe{[("
_GUSH_BYTES = 64 * 1024
_GUSH_S = 0.001
_LARGEST_SIZE = 16 * 1024 * 1024


@dataclass(frozen=True)
class StreamFault:
    """One fault; ``left`` answers to spoil (None: until cleared).

    ``number`` is the port, the detector or the like that a fault of the instrument is about;
    ``line`` restricts a fault of the wire to one of the ports of an instrument that has several.
    """

    kind: str
    left: int | None = None
    late_s: float = 1.0
    match: str = ""
    size: int = 1
    number: int | None = None
    line: int | None = None


@dataclass(frozen=True)
class Piece:
    """Bytes that leave ``after_s`` seconds from now; ``end`` is what happens behind them."""

    data: bytes
    after_s: float = 0.0
    end: str = ""


@dataclass
class StreamFaults:
    """The faults in force, in the order in which they were injected; ``own`` names the stub's."""

    own: Collection[str] = ()
    active: list[StreamFault] = field(default_factory=list)

    def inject(self, fault: StreamFault) -> None:
        """Add a fault, or raise :class:`InputError` where it makes no sense."""
        known = [*WIRE_KINDS, *self.own]
        if fault.kind not in known:
            raise InputError(f"fault {fault.kind!r} is unknown; known: {', '.join(known)}")
        if fault.left is not None and fault.left < 1:
            raise InputError(f"fault.left must be >= 1 or absent, got {fault.left}")
        if not 0.0 <= fault.late_s <= 3600.0:
            raise InputError(f"fault.late_s must be from 0 to 3600 seconds, got {fault.late_s}")
        if not 1 <= fault.size <= _LARGEST_SIZE:
            raise InputError(f"fault.size must be from 1 to {_LARGEST_SIZE}, got {fault.size}")
        self.active.append(fault)

    def clear(self) -> None:
        """Become healthy again."""
        self.active.clear()

    def port(self, kind: str, line: int) -> bool:
        """Say whether a fault of the port is in force on a line."""
        return any(f.kind == kind and f.line in (None, line) for f in self.active)

    def find(self, kind: str, number: int | None = None) -> StreamFault | None:
        """Return a fault of the instrument that is in force, for a number where one is given."""
        for fault in self.active:
            if fault.kind == kind and (number is None or fault.number in (None, number)):
                return fault
        return None

    def spend(self, kind: str, number: int | None = None) -> StreamFault | None:
        """Return a fault of the instrument like :meth:`find`, and count it down."""
        fault = self.find(kind, number)
        if fault is not None:
            self._count_down(self.active.index(fault))
        return fault

    def take(self, request: bytes, output: bytes, line: int) -> StreamFault | None:
        """Return the fault of the wire for some output, and count it down."""
        seen = (request + b"\n" + output).lower()
        for place, fault in enumerate(self.active):
            if (
                fault.kind in WIRE_KINDS
                and fault.kind not in PORT_KINDS
                and fault.line in (None, line)
                and fault.match.lower().encode() in seen
            ):
                self._count_down(place)
                return fault
        return None

    def _count_down(self, place: int) -> None:
        fault = self.active[place]
        if fault.left == 1:
            del self.active[place]
        elif fault.left is not None:
            self.active[place] = replace(fault, left=fault.left - 1)


def damage_stream(output: bytes, fault: StreamFault | None) -> list[Piece]:
    """Return what leaves instead of ``output``.

    >>> [piece.data for piece in damage_stream(b"12,16\\n", StreamFault("nan"))]
    [b'NaN,16\\n']
    >>> [p.data for p in damage_stream(b"12,16\\n", StreamFault("chunks", size=4))]
    [b'12,1', b'6\\n']
    """
    if fault is None:
        return [Piece(output)]
    half = output[: len(output) // 2]
    match fault.kind:
        case "silence":
            return []
        case "delay":
            return [Piece(output, fault.late_s)]
        case "chunks":
            cuts = range(0, len(output), fault.size)
            return [
                Piece(output[cut : cut + fault.size], n * fault.late_s)
                for n, cut in enumerate(cuts)
            ]
        case "half":
            return [Piece(half)]
        case "lose_byte":
            return [Piece(half + output[len(half) + 1 :])]
        case "garbage":
            return [Piece(_GARBAGE + output[-1:])]
        case "endless":
            # Spread over time: a client that reads must not be taken for one that does not.
            cuts = range(0, fault.size, _GUSH_BYTES)
            return [
                Piece(b"7" * min(_GUSH_BYTES, fault.size - cut), n * _GUSH_S)
                for n, cut in enumerate(cuts)
            ]
        case "reset":
            return [Piece(b"", end="reset")]
        case "half_reset":
            return [Piece(half, end="reset")]
        case "hang_up":
            return [Piece(b"", end="close")]
        case "nan" | "negative" | "overflow":
            return [Piece(_NUMBER.sub(_NUMBERS[fault.kind], output, count=1))]
        case _:
            return [Piece(output)]

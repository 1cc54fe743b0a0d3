"""Faults that a stub can be told to have, and how they change an answer on its way out.

Three places: the wire (no answer, a late one, two frames), the text (garbage, a missing suffix, a
number that cannot be) and the counters (frozen, one cycle behind). Each fault lasts for a number of
answers, or until it is cleared.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from quantum.errors import InputError

__all__ = ["Fault", "FaultPlan", "Kind", "damage"]

Kind = Literal[
    "no_reply",
    "late_reply",
    "two_frames",
    "garbage",
    "not_text",
    "missing_tb",
    "nan",
    "negative",
    "overflow",
    "short_chain",
    "frozen",
    "previous_cycle",
    "overflow_latch",
    "tags_lost",
    "tags_twice",
    "tags_cut",
    "tags_unsorted",
]

#: Faults that live in the counters and not on the wire.
_COUNTER_FAULTS = ("frozen", "previous_cycle", "overflow_latch")

#: Faults of the stream of time tags: a message missing, repeated, cut in a tag, out of order.
_TAG_FAULTS = ("tags_lost", "tags_twice", "tags_cut", "tags_unsorted")

#: What an impossible number looks like; 2^31 is the first count that a signed word cannot hold.
_NUMBERS = {"nan": "NaN", "negative": "-17", "overflow": str(2**31)}
_NUMBER = re.compile(r"(?<![\w.])[0-9]+(?=$|;|,|\])")


@dataclass(frozen=True)
class Fault:
    """One fault; ``left`` answers to spoil (None: until cleared), ``late_s`` for late replies.

    Only frames that contain ``match`` are spoilt, so that a fault can wait for a certain command.
    """

    kind: Kind
    left: int | None = None
    late_s: float = 1.0
    match: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"fault {self.kind!r} is unknown; known: {', '.join(get_args(Kind))}")
        if self.left is not None and self.left < 1:
            raise InputError(f"fault.left must be >= 1 or absent, got {self.left}")
        if not 0.0 <= self.late_s <= 3600.0:
            raise InputError(f"fault.late_s must be from 0 to 3600 seconds, got {self.late_s}")


@dataclass
class FaultPlan:
    """The faults that are in force, in the order in which they were injected."""

    active: list[Fault] = field(default_factory=list)

    def inject(self, fault: Fault) -> None:
        """Add a fault."""
        self.active.append(fault)

    def clear(self) -> None:
        """Become healthy again."""
        self.active.clear()

    def counter_fault(self) -> Kind | None:
        """Return the fault of the counters, if there is one."""
        return next((f.kind for f in self.active if f.kind in _COUNTER_FAULTS), None)

    def take(self, request: str) -> Fault | None:
        """Return the wire or text fault for the answer to a request, and count it down."""
        for place, fault in enumerate(self.active):
            if (
                fault.kind in (*_COUNTER_FAULTS, *_TAG_FAULTS)
                or fault.match.upper() not in request.upper()
            ):
                continue
            return self._spend(place)
        return None

    def take_tags(self) -> Kind | None:
        """Return the fault for the next message of time tags, and count it down."""
        for place, fault in enumerate(self.active):
            if fault.kind in _TAG_FAULTS:
                return self._spend(place).kind
        return None

    def _spend(self, place: int) -> Fault:
        fault = self.active[place]
        if fault.left == 1:
            del self.active[place]
        elif fault.left is not None:
            self.active[place] = Fault(fault.kind, fault.left - 1, fault.late_s, fault.match)
        return fault


def damage(answer: str, fault: Fault | None) -> list[bytes]:
    """Return the frames that leave the instrument instead of ``answer``; none is silence.

    >>> damage("12;1000TB", Fault("nan"))
    [b'NaN;1000TB']
    """
    if fault is None or fault.kind == "late_reply":
        return [answer.encode()]
    match fault.kind:
        case "no_reply":
            return []
        case "two_frames":
            half = len(answer) // 2
            return [answer[:half].encode(), answer[half:].encode()]
        case "garbage":
            return [b"#?!~ 7e;;\x00x:"]
        case "not_text":
            return [b"\xff\xfe\x80" + answer.encode()]
        case "missing_tb":
            return [re.sub(r"(?<=[0-9])TB\b", "", answer).encode()]
        case "short_chain":
            return [answer.rpartition(";")[0].encode()]
        case "nan" | "negative" | "overflow":
            return [_NUMBER.sub(_NUMBERS[fault.kind], answer, count=1).encode()]
        case _:
            return [answer.encode()]

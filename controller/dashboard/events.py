"""The events of a record as the page reads them: only the fields that it draws, strictly typed."""

from typing import Annotated, Any, NamedTuple

import msgspec

from controller.recorded import Failed, Round
from quantum.errors import RecordError

__all__ = [
    "Ask",
    "Begun",
    "End",
    "Event",
    "Failed",
    "Header",
    "Lost",
    "Other",
    "Results",
    "Round",
    "Seen",
    "Served",
    "Slot",
    "Stopped",
    "read",
]

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Real = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
_Short = Annotated[float, msgspec.Meta(ge=1e-6, le=1e4)]


#: The last kind of pair, see :class:`Served`.
_LINK_TEST = 3


class _Setting(msgspec.Struct, frozen=True):
    allocator: str = "dpem"
    backend: str = ""
    topology: str = ""
    demand: str = ""
    preset: str = ""
    seed: int = 0
    seconds: _Real = 0.0
    load_hz: _Real | None = None
    epsilon: _Real = 0.0
    learn: bool = False
    rack: str | None = None
    window_s: _Real | None = None


class Header(msgspec.Struct, frozen=True):
    """What the run was started with."""

    horizon: _Count
    warmup_slots: _Count
    slots: _Count
    setting: _Setting
    dpem: str = ""


class Begun(msgspec.Struct, frozen=True):
    """What the run's numbers are to be held against, see :mod:`controller.chronicle`."""

    bound: _Real
    pairs_requested: _Count
    slot_s: _Short
    forecast_s: _Real
    lag_slots: _Count
    learn: bool


class Ask(NamedTuple):
    """A request: slots of arrival and of deadline, the last that may serve it."""

    number: _Count
    source: _Count
    destination: _Count
    pairs: _Count
    fidelity: _Real
    arrival: _Count
    deadline: _Count


class End(NamedTuple):
    """A request whose deadline has passed, and its pairs that were good enough and in time."""

    number: _Count
    good: int


class Seen(msgspec.Struct, frozen=True):
    """What was asked and what came of it."""

    slot: _Count
    asked: tuple[Ask, ...]
    ended: tuple[End, ...]
    requested: _Count
    delivered: int
    stored: int
    contention: _Real
    reward: _Real
    forecast: tuple[_Real, ...] | None = None
    epsilon: tuple[_Count, _Real] | None = None


class Served(NamedTuple):
    """An assembled pair: kind (0 delivered, 1 tested, 2 lost, 3 a link's test) and its links."""

    kind: int
    request: int
    links: tuple[int, ...]


class Slot(msgspec.Struct, frozen=True):
    """What was assembled in a slot."""

    slot: _Count
    served: list[list[Any]]

    def pairs(self, links: int) -> list[Served]:
        """Return the pairs; :class:`RecordError` where they are none of a network of ``links``."""
        found = []
        for row in self.served:
            try:
                kind, request, along = int(row[0]), int(row[1]), tuple(map(int, row[4]))
            except (IndexError, OverflowError, TypeError, ValueError) as wrong:
                raise RecordError(f"slot {self.slot}: {row!r:.80} is no pair") from wrong
            if not 0 <= kind <= _LINK_TEST or (kind == _LINK_TEST and not along):
                raise RecordError(f"slot {self.slot}: {row!r:.80} is no pair")
            if not all(0 <= each < links for each in along):
                raise RecordError(f"slot {self.slot}: a pair of links that do not exist")
            found.append(Served(kind, request, along))
        return found


class Results(msgspec.Struct, frozen=True):
    """What executing the pairs of a slot came to, pair by pair."""

    slot: _Count
    basis: tuple[int, ...]
    passed: tuple[int, ...]
    source: str
    reward: _Real = 0.0
    calibration: tuple[str, ...] = ()
    faults: tuple[tuple[_Count, str, str], ...] = ()


class Lost(msgspec.Struct, frozen=True):
    """Why the instruments of a run were given up."""

    slot: _Count
    detail: str


class Stopped(msgspec.Struct, frozen=True):
    """Who stopped the run, and why."""

    slot: _Count
    by: str
    reason: str


class Other(msgspec.Struct, frozen=True):
    """An event that the page does not know."""

    event: str


Event = Header | Begun | Seen | Slot | Results | Failed | Round | Lost | Stopped | Other
_KINDS: dict[str, type[Any]] = {
    "header": Header,
    "begun": Begun,
    "seen": Seen,
    "slot": Slot,
    "results": Results,
    "failed": Failed,
    "round": Round,
    "lost": Lost,
    "stopped": Stopped,
}


def read(number: int, raw: dict[str, Any]) -> Event:
    """Read line ``number`` of a record; :class:`RecordError` where its values make no sense."""
    kind = _KINDS.get(str(raw.get("event")), Other)
    try:
        event: Event = msgspec.convert(raw, type=kind)
    except msgspec.ValidationError as wrong:
        raise RecordError(f"line {number} of the events is malformed: {wrong}") from wrong
    return event

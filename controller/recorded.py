"""The events of a run's record, as values; what they mean is in :mod:`controller.dispatch`."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from controller.setting import Setting, scenario_of
from quantum.errors import RecordError
from quantum.ledger import ACTION_TOKENS
from quantum.ledger.expected import MOST_AHEAD
from quantum.record import Record
from quantum.scenario import Scenario
from quantum.topology import load_topology

__all__ = [
    "Event",
    "Failed",
    "Note",
    "Results",
    "Round",
    "Seen",
    "Slot",
    "differs",
    "first_difference",
    "read_event",
    "same",
    "scenario_of_record",
    "setting_of",
]

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_Ahead = Annotated[int, msgspec.Meta(ge=0, le=MOST_AHEAD)]
_Token = Annotated[int, msgspec.Meta(ge=0, lt=ACTION_TOKENS)]


class Slot(msgspec.Struct, frozen=True):
    """What was decided in a slot, and which pairs came of it.

    ``asked`` are numbers of requests; ``acts`` are (node, number of its token, position of the
    link, urgency); ``yields`` are (node, position of the link, surplus). For the two nodes of the
    classes in ``ahead``, so many pairs were to wait.
    """

    slot: _Count
    asked: tuple[_Count, ...]
    acts: tuple[tuple[_Count, _Token, _Count, float], ...]
    yields: tuple[tuple[_Count, _Count, float], ...]
    served: list[list[Any]]
    ahead: tuple[tuple[_Count, _Ahead], ...] = ()


class Results(msgspec.Struct, frozen=True):
    """What executing the pairs of a slot came to, pair by pair.

    ``faults`` are (place of the pair, code, detail) of those that could not be executed.
    """

    slot: _Count
    basis: tuple[int, ...]
    passed: tuple[int, ...]
    fidelity: tuple[float, ...]
    source: str
    faults: tuple[tuple[_Count, str, str], ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """Why the pairs of a slot could not be executed."""

    slot: _Count
    code: str
    detail: str


class Round(msgspec.Struct, frozen=True):
    """A federated round."""

    slot: _Count
    round: _Count
    missing: _Count = 0


class Seen(msgspec.Struct, frozen=True):
    """What the record tells onlookers of requests, see :mod:`controller.chronicle`.

    ``asked`` are (number, source, destination, pairs, fidelity, arrival, deadline); ``ended`` are
    (number, good pairs).
    """

    slot: _Count
    asked: tuple[tuple[_Count, _Count, _Count, _Count, float, _Count, _Count], ...]
    ended: tuple[tuple[_Count, int], ...]


class Note(msgspec.Struct, frozen=True):
    """An event that nothing follows from, such as why a run was given up."""

    event: str


#: What a line of a record can be.
Event = Slot | Results | Failed | Round | Seen | Note
_KINDS = {"slot": Slot, "results": Results, "failed": Failed, "round": Round, "seen": Seen}


def read_event(number: int, raw: Mapping[str, Any]) -> Event:
    """Read line ``number`` of a record; :class:`RecordError` where its values make no sense."""
    kind: type[Any] = _KINDS.get(str(raw.get("event")), Note)
    try:
        event: Event = msgspec.convert(dict(raw), type=kind)
    except msgspec.ValidationError as wrong:
        raise RecordError(f"line {number} of the events is malformed: {wrong}") from wrong
    return event


def setting_of(record: Record) -> Setting:
    """Return what the run was asked to be."""
    try:
        return msgspec.convert(record.header.get("setting"), type=Setting).check()
    except msgspec.ValidationError as wrong:
        raise RecordError(f"the header of the record has no setting: {wrong}") from wrong


def scenario_of_record(record: Record) -> tuple[Setting, Scenario]:
    """Return what the run was asked to be, and the scenario that it played.

    Network and changes are as they were recorded, whatever has become of their files since.
    """
    setting = as_was = setting_of(record)
    lab, network = setting.rack is not None, record.seal.folder / "network.json"
    if not lab:
        as_was = msgspec.structs.replace(as_was, topology=str(network.resolve()))
    if as_was.changes is not None:
        changes = str(network.with_name("changes.csv").resolve())
        as_was = msgspec.structs.replace(as_was, changes=changes)
    scenario = scenario_of(
        as_was, network=load_topology(str(network.resolve()), seed=0) if lab else None
    )
    return setting, scenario


def differs(slot: int, what: str) -> RecordError:
    """Return the error of a slot that does not play again."""
    return RecordError(f"slot {slot}: the record does not play again: {what}")


def first_difference(found: list[list[Any]], said: list[list[Any]]) -> str:
    """Say in words where the pairs of a slot differ from the recorded ones."""
    if len(found) != len(said):
        return f"{len(found)} pairs were made, the record has {len(said)}"
    index = next(i for i, (a, b) in enumerate(zip(found, said, strict=True)) if a != b)
    return f"pair {index} is {found[index]}, the record has {said[index]}"


def same(said: Any, found: Any) -> bool:
    """Compare values of a summary; floats by the last digits that machines agree on.

    >>> same({"p50": 0.30000000000000004}, {"p50": 0.3}), same(1, 2), same(None, 0.0)
    (True, False, False)
    """
    if isinstance(found, dict):
        return (
            isinstance(said, Mapping)
            and said.keys() == found.keys()
            and all(same(said[key], value) for key, value in found.items())
        )
    if isinstance(found, float):
        return isinstance(said, int | float) and abs(said - found) <= 1e-12 * max(1.0, abs(found))
    return bool(said == found)

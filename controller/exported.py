"""A run record as one JSON document, and the JSON Schema of it, made from the same types.

The schema says what this version writes at least; newer versions may add keys.
"""

from typing import Annotated, Any

import msgspec

from controller.recorded import Failed, Results, Round, Slot
from controller.setting import Setting
from quantum.errors import RecordError
from quantum.estimate import Estimate
from quantum.record import FORMAT, Record

__all__ = ["Document", "document_of", "schema"]

#: Where the schema's version is told; nothing is served there.
SCHEMA_ID = f"urn:dpem:{FORMAT}"

_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Known = "header|slot|results|failed|round"


class Header(msgspec.Struct, frozen=True, tag_field="event", tag="header"):
    """What the run was started with; ``horizon`` is the slot at which it ends."""

    format: str
    dpem: str
    horizon: _Count
    slots: _Count
    warmup_slots: _Count
    setting: Setting


class SlotEvent(Slot, frozen=True, tag_field="event", tag="slot"):
    """What was decided in a slot, and which pairs came of it."""


class ResultsEvent(Results, frozen=True, tag_field="event", tag="results"):
    """What executing the pairs of a slot came to."""

    reward: float = 0.0
    calibration: tuple[Any, ...] = ()


class FailedEvent(Failed, frozen=True, tag_field="event", tag="failed"):
    """Why the pairs of a slot could not be executed."""


class RoundEvent(Round, frozen=True, tag_field="event", tag="round"):
    """A federated round."""


class NoteEvent(msgspec.Struct, frozen=True):
    """Any other event, from which nothing follows."""

    event: Annotated[str, msgspec.Meta(pattern=f"^(?!({_Known})$)")]


Event = SlotEvent | ResultsEvent | FailedEvent | RoundEvent


class Latency(msgspec.Struct, frozen=True):
    """Quantiles of the network time from a request to its pairs, in ms; null without pairs."""

    p50: float | None
    p99: float | None


class Summary(msgspec.Struct, frozen=True):
    """The result, with the keys of ``dpem run --json``."""

    allocator: str
    backend: str
    topology: str
    demand: str
    nodes: _Count
    links: _Count
    seed: _Count
    seconds: float
    wire: str
    slots: _Count
    requests: _Count
    pairs_requested: _Count
    pairs_delivered: _Count
    delivery_rate: _Share
    bound: float | None
    fraction_of_bound: float | None
    contention: _Share
    contention_loss: float | None
    pairs_executed: _Count
    pairs_tested: _Count
    pairs_failed: _Count
    pairs_per_second: float
    fidelity: Estimate
    fidelity_true: float | None
    fidelity_predicted: float | None
    latency_ms: Latency
    decision_digest: _Digest
    federated_rounds: _Count
    epsilon: float | None
    delta: float | None


class Seal(msgspec.Struct, frozen=True):
    """What the manifest seals: number of lines, hash of the last, digest over all files."""

    complete: bool
    events: _Count
    last_hash: _Digest
    digest: _Digest


class Document(msgspec.Struct, frozen=True):
    """A verified run record; ``summary`` is null where the run broke off."""

    seal: Seal
    header: Header
    events: list[dict[str, Any]]
    summary: dict[str, Any] | None


def document_of(record: Record) -> dict[str, Any]:
    """Return a verified record as plain JSON data that the schema describes.

    Raises :class:`RecordError` where the record does not hold what this version knows.
    """
    seal = record.seal
    whole = {
        "seal": {
            "complete": seal.complete,
            "events": seal.events,
            "last_hash": seal.last_hash,
            "digest": seal.digest,
        },
        "header": _plain(record.header),
        "events": [_plain(event) for event in record.events],
        "summary": None if record.summary is None else dict(record.summary),
    }
    try:
        msgspec.convert(whole, Document)
        if record.summary is not None:
            msgspec.convert(dict(record.summary), Summary)
    except msgspec.ValidationError as wrong:
        raise RecordError(f"{seal.folder}: not a run of dpem run: {wrong}") from wrong
    return whole


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of :func:`document_of`, with a definition for each type."""
    kinds = [Document, Header, Event, NoteEvent, Summary, Seal]
    refs, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    document = dict(definitions.pop("Document"))
    properties = dict(document["properties"])
    properties["events"] = {"type": "array", "items": {"$ref": "#/$defs/Event"}}
    properties["summary"] = {"anyOf": [{"type": "null"}, refs[kinds.index(Summary)]]}
    document["properties"] = properties
    definitions["Event"] = {"anyOf": [refs[kinds.index(Event)], refs[kinds.index(NoteEvent)]]}
    # Defaults are what is meant where a key is absent; a record's setting has them all.
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **document,
        "title": "DPEM run record",
        "$defs": dict(sorted(definitions.items())),
    }


def _plain(event: Any) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "hash"}

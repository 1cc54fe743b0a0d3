"""What a service grants to whom: plain values."""

from typing import Annotated, Literal, NamedTuple

import msgspec

__all__ = ["Counts", "Terms", "WorkCounts", "WorkTerms"]


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of a service.

    ``pace``: with ``wall`` a slot lasts as long as it says; with ``virtual`` time goes on as
    requests come, as if they came at ``load_hz`` pairs per second (0: as many as the network is
    planned for), and as fast as it can while one waits. ``waiting`` requests at most wait,
    ``credits`` of one client; who has most of them makes room for who has fewer. ``remembered``
    answers are kept for a client, each until its deadline and ``grace_s``. A client sends
    ``rate_hz`` messages a second, ``burst`` at once. When the journal cannot be written, a service
    stops handing out pairs (``on_full = "stop"``) or goes on without it.
    """

    pace: Literal["wall", "virtual"] = "virtual"
    load_hz: Annotated[float, msgspec.Meta(ge=0.0, lt=1e9)] = 0.0
    waiting: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 4096
    credits: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 256
    remembered: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 65536
    most_pairs: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    most_s: Annotated[float, msgspec.Meta(gt=0.0, le=86400.0)] = 60.0
    grace_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 5.0
    rate_hz: Annotated[float, msgspec.Meta(gt=0.0, le=1e7)] = 20_000.0
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2_000
    sessions: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 4096
    on_full: Literal["stop", "continue"] = "stop"


class Counts(NamedTuple):
    """What a service has done since it started, in numbers."""

    granted: int
    pairs: int
    denied: int
    busy: int
    timed_out: int
    repeated: int
    unjournalled: int
    waiting: int
    sessions: int
    remembered: int
    slot: int
    tested: int
    stored: int
    changes: int
    nodes: int
    links: int
    links_down: int
    planned: int


class WorkTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long and how much may wait for workers.

    A pair expires where no worker takes it, or none answers, within ``patience_s`` each. While
    ``waiting`` pairs wait to be taken, new requests are put off of whoever has his share of them.
    """

    patience_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600.0)] = 10.0
    waiting: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 16_384


class WorkCounts(NamedTuple):
    """What became of pairs that workers were to execute, in numbers."""

    executed: int
    expired: int
    untested: int
    jobs: int
    jobs_out: int
    pairs_queued: int
    workers: int

"""What stands in the rows of a service's journal: plain values."""

import msgspec

__all__ = [
    "Answered",
    "Entry",
    "Expiry",
    "Kept",
    "Known",
    "Record",
    "Sent",
    "Settled",
    "Started",
    "decoder",
    "encoder",
]


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of what stands in the body of a row."""


class Started(Record, frozen=True, tag="start"):
    """The service began: for the ``epoch``-th time on this journal, on which network.

    ``now_s`` is its clock, on which deadlines are; it begins anew when the machine does. With
    ``workers`` pairs are executed after they were granted, else at once.
    """

    epoch: int
    network: str
    seed: int
    utc_s: float
    now_s: float
    workers: bool = False


class Known(Record, frozen=True, tag="known"):
    """From here on a client goes by a number."""

    client: int
    public: str
    name: str


class Answered(Record, frozen=True, tag="answer"):
    """A request and its answer, as they were and are on the wire.

    Given at ``now_s`` of the service's clock, and remembered for ``keep_s`` from then on.
    """

    client: int
    ask: bytes
    answer: bytes
    keep_s: float
    now_s: float


class Sent(Record, frozen=True, tag="sent"):
    """A job leaves for a worker: these granted pairs, and tests. No job leaves twice."""

    job: int
    pairs: tuple[int, ...]


class Expiry(Record, frozen=True, tag="expired"):
    """Pairs that were granted to a client do not exist; ``said`` is the frame that tells it."""

    client: int
    said: bytes


class Settled(Record, frozen=True, tag="settled"):
    """A job was answered, or given up: its pairs that have not expired by now were executed."""

    job: int


class Kept(Record, frozen=True, tag="kept"):
    """What has to be known of rows that are gone: last start, last pair and job, who is who."""

    started: Started
    sequence: int
    clients: tuple[Known, ...]
    job: int = 0


Entry = Started | Known | Answered | Sent | Expiry | Settled | Kept

encoder = msgspec.msgpack.Encoder()
decoder: msgspec.msgpack.Decoder[tuple[Entry, ...]] = msgspec.msgpack.Decoder(tuple[Entry, ...])

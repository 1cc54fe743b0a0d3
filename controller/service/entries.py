"""What stands in the rows of a service's journal: plain values."""

import msgspec

from quantum.alterations import Join

__all__ = [
    "Answered",
    "Changed",
    "Difference",
    "Entry",
    "Expiry",
    "Guest",
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
    ``workers`` pairs are executed after they were granted, else at once. ``network`` is that of the
    file, and stands as it does after so many ``changes``.
    """

    epoch: int
    network: str
    seed: int
    utc_s: float
    now_s: float
    workers: bool = False
    changes: int = 0


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


class Changed(Record, frozen=True, tag="change"):
    """The network was changed: what was asked, and the answer, as they were and are on the wire.

    Times are those of :class:`Answered`.
    """

    client: int
    ask: bytes
    answer: bytes
    keep_s: float
    now_s: float


class Guest(Record, frozen=True):
    """A node that joined by a change, with those of its links that are left."""

    node: Join
    change: int


class Difference(Record, frozen=True):
    """How a network differs from that of the file.

    Nodes of the file that are ``gone``; ``guests`` that joined; links that are ``down``, by their
    ends in order; and names of guests that have ``left``.
    """

    gone: tuple[str, ...] = ()
    guests: tuple[Guest, ...] = ()
    down: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()


class Kept(Record, frozen=True, tag="kept"):
    """What has to be known of rows that are gone: last start, last pair and job, who is who.

    The network as it stands after so many ``changes``, which may be later than those rows.
    """

    started: Started
    sequence: int
    clients: tuple[Known, ...]
    job: int = 0
    changes: int = 0
    network: Difference = Difference()


Entry = Started | Known | Answered | Sent | Expiry | Settled | Changed | Kept

encoder = msgspec.msgpack.Encoder()
decoder: msgspec.msgpack.Decoder[tuple[Entry, ...]] = msgspec.msgpack.Decoder(tuple[Entry, ...])

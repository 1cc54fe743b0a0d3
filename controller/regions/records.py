"""What the broker of a region writes down, on disk before it is said to anybody.

Its journal is a chain as that of a service, with other entries. A leg is named by 16 bytes, as on
the wire and as the ``rid`` of the request to the owner's own service, whose journal has its pairs.
"""

import msgspec

from controller.service.entries import Answered, Known, Record, Started

__all__ = [
    "Answered",
    "Crossed",
    "Crossing",
    "DecidedLeg",
    "Deciding",
    "Entry",
    "Holding",
    "Known",
    "Over",
    "Started",
    "decoder",
]


class Holding(Record, frozen=True, tag="holding"):
    """From here on the pairs of a leg are held for region ``asker``."""

    leg: bytes
    asker: str
    a: str
    b: str
    pairs: tuple[tuple[int, float], ...]


class Over(Record, frozen=True, tag="over"):
    """A leg is held no longer: its pairs were ``used``, or let go of."""

    leg: bytes
    used: bool
    joined: tuple[bool, ...]
    why: str


class DecidedLeg(Record, frozen=True):
    """A leg of a crossing request that is to be used."""

    leg: bytes
    region: str
    a: str
    b: str
    pairs: tuple[tuple[int, float], ...]
    held_for_s: float
    """An upper bound of how long they were held when this was decided."""


class Deciding(Record, frozen=True, tag="deciding"):
    """All legs of a request are held: from here on they are used or, where one is gone, lost.

    ``ask`` is the request as it came.
    """

    client: int
    ask: bytes
    attempt: int
    legs: tuple[DecidedLeg, ...]
    now_s: float


class Crossing(Record, frozen=True):
    """A pair between regions: pair ``index`` of each of its legs, which were used for it."""

    sequence: int
    index: int
    legs: tuple[tuple[str, bytes], ...]
    predicted: float


class Crossed(Record, frozen=True, tag="crossed"):
    """The legs of a decision are used: these pairs came of it."""

    client: int
    rid: bytes
    attempt: int
    pairs: tuple[Crossing, ...]


Entry = Started | Known | Answered | Holding | Over | Deciding | Crossed

decoder: msgspec.msgpack.Decoder[tuple[Entry, ...]] = msgspec.msgpack.Decoder(tuple[Entry, ...])

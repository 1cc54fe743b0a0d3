"""What an application asks of the network stack: CREATE and RECV requests, read from its arrays.

Layouts are netqasm 2.3's (``SerializedCreateRequestIndex`` and its siblings); arrays of older
programs are shorter, and what is not there counts as not given. Minimum fidelity, priority, atomic
and consecutive are not looked at: a link has one fidelity, and a node does one request at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netqasm.qlink_compat import EPRType
from netqasm.sdk.build_epr import SerializedCreateRequestIndex as Index

from backends.squid.appmemory import AppMemory
from backends.squid.bases import Wish
from backends.squid.errors import SquidError

if TYPE_CHECKING:
    from backends.squid.netstack import NetStack

__all__ = [
    "ENTRIES",
    "KEEP",
    "MEASURE",
    "PREPARE",
    "Request",
    "keep_result",
    "measure_result",
    "read",
]

KEEP, MEASURE, PREPARE = EPRType.K.value, EPRType.M.value, EPRType.R.value
_WORDS = {KEEP: "keep", MEASURE: "measure directly", PREPARE: "prepare remotely"}

#: Entries of a result array for each pair, of either kind.
ENTRIES = 10

_UNITS_NS = (1e3, 1e6, 1e9)


@dataclass(eq=False)
class Request:
    """A request in the queue of its node.

    ``kind`` of one who receives is what its arrays tell: a receiver with virtual qubits cannot be
    measured directly. ``local`` and ``remote`` are the measurements at both ends, ``limit_ns`` how
    long a pair may take (0: for ever).
    """

    node: "NetStack"
    peer: "NetStack"
    app: AppMemory
    socket: int
    creates: bool
    kind: int
    number: int
    results: int
    qubits: Sequence[int]
    local: Wish = field(default_factory=Wish)
    remote: Wish = field(default_factory=Wish)
    limit_ns: float = 0.0
    #: When it came to the head of its queue, and its number at this node.
    since_ns: float = 0.0
    ident: int = 0

    def __str__(self) -> str:
        verb = "creates" if self.creates else "receives"
        pairs = "1 pair" if self.number == 1 else f"{self.number} pairs"
        sort = f" to {_WORDS[self.kind]}" if self.creates or self.kind != MEASURE else ""
        other = f"{'with' if self.creates else 'from'} {self.peer.name}"
        return f"{self.node.name} {verb} {pairs}{sort} {other} (socket {self.socket})"


@dataclass(frozen=True)
class Fields:
    """The fields of a CREATE request that are honoured."""

    kind: int
    number: int
    local: Wish
    remote: Wish
    limit_ns: float


def read(entries: Sequence[int | None]) -> Fields:
    """Return what the array of a CREATE request says.

    >>> read([1, 5]).number
    5
    """
    values = [*entries, *[None] * (len(Index) - len(entries))]
    kind, number = values[Index.TYPE], values[Index.NUMBER]
    if kind not in _WORDS:
        raise SquidError(f"type {kind} of an EPR request is unknown: 0 (K), 1 (M) or 2 (R)")
    if number is None or number < 1:
        raise SquidError(f"an EPR request must be for 1 pair or more, got {number}")
    limit, unit = values[Index.MAX_TIME] or 0, values[Index.TIME_UNIT] or 0
    if limit < 0 or not 0 <= unit < len(_UNITS_NS):
        raise SquidError(f"max_time {limit} in time unit {unit}: it must be >= 0, units are 0 to 2")
    if kind == KEEP:
        return Fields(kind, number, _ANY, _ANY, limit * _UNITS_NS[unit])
    local = _wish(
        values, Index.ROTATION_LOCAL_1, Index.ROTATION_AXES_LOCAL, Index.RANDOM_BASIS_LOCAL,
        Index.PROBABILITY_DIST_LOCAL1,
    )  # fmt: skip
    remote = _wish(
        values, Index.ROTATION_REMOTE_1, Index.ROTATION_AXES_REMOTE, Index.RANDOM_BASIS_REMOTE,
        Index.PROBABILITY_DIST_REMOTE1,
    )  # fmt: skip
    return Fields(kind, number, local, remote, limit * _UNITS_NS[unit])


_ANY = Wish()


def _wish(values: Sequence[int | None], first: int, axes: int, random: int, weight: int) -> Wish:
    one, two, three = (value or 0 for value in values[first : first + 3])
    given = values[weight : weight + 2]
    weights = None if given == [None, None] else (given[0] or 0, given[1] or 0)
    # netqasm writes members of an IntEnum here and there.
    return Wish((one, two, three), int(values[axes] or 0), int(values[random] or 0), weights)


def keep_result(
    request: Request, index: int, virtual_id: int, duration_us: int, now_us: int
) -> list[int | None]:
    """Return the entries of a pair that is kept: netqasm's ``LinkLayerOKTypeK``, phi_plus."""
    return [
        KEEP, request.ident, virtual_id, int(not request.creates), index, request.socket,
        request.peer.node_id, duration_us, now_us, 0,
    ]  # fmt: skip


def measure_result(
    request: Request, index: int, outcome: int, basis: int, duration_us: int
) -> list[int | None]:
    """Return the entries of a pair that was measured: netqasm's ``LinkLayerOKTypeM``, phi_plus."""
    return [
        request.kind, request.ident, outcome, basis, int(not request.creates), index,
        request.socket, request.peer.node_id, duration_us, 0,
    ]  # fmt: skip

"""What a supervisor is asked and what it answers: strict messages in msgpack, 1 MiB at most.

Every request but a renewal has a request id of 16 random bytes: a repeat gets the first answer
again and is never done twice.
"""

from typing import Annotated, Any, cast

import msgspec

from quantum.errors import Code, WireError

__all__ = [
    "MAX_BYTES",
    "NO_RID",
    "VERSION",
    "Acquire",
    "Act",
    "Did",
    "Estop",
    "Granted",
    "Prepare",
    "Rearm",
    "Refused",
    "Release",
    "Renew",
    "Reply",
    "Report",
    "Request",
    "Run",
    "Status",
    "Stopped",
    "Trip",
    "decode_reply",
    "decode_request",
    "encode",
]

VERSION = 1
MARK = b"DPS1"
MAX_BYTES = 1024 * 1024
NO_RID = bytes(16)

Rid = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Text = Annotated[str, msgspec.Meta(max_length=400)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Token = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
#: What a driver's method can be given: a flag, a number, a word, numbers, connections.
Value = bool | int | Number | Text | tuple[Number, ...] | dict[int, int]


class _Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Acquire(_Frame, frozen=True, tag="acquire"):
    """Ask for the lease of the rack: the right to change something, until it is not renewed."""

    rid: Rid
    v: int
    name: Name


class Renew(_Frame, frozen=True, tag="renew"):
    """Prolong the lease; answered only where that is refused."""

    token: Token


class Release(_Frame, frozen=True, tag="release"):
    """Give the lease back: the rack goes to its safe state, and is not latched."""

    rid: Rid
    token: Token


class Trip(_Frame, frozen=True, tag="trip"):
    """Report that a controller or an agent is lost."""

    rid: Rid
    token: Token
    why: Reason


class Prepare(_Frame, frozen=True, tag="prepare"):
    """Get the rack ready: links are calibrated, which may take long."""

    rid: Rid
    token: Token


class Run(_Frame, frozen=True, tag="run"):
    """Execute a batch by a plan, see :mod:`backends.supervisor.work`."""

    rid: Rid
    token: Token
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    work: bytes


class Act(_Frame, frozen=True, tag="act"):
    """Call one method of one instrument's driver."""

    rid: Rid
    token: Token
    instrument: Name
    method: Name
    values: Annotated[tuple[Value, ...], msgspec.Meta(max_length=8)] = ()


class Status(_Frame, frozen=True, tag="status"):
    """Ask how the rack stands."""

    rid: Rid


class Rearm(_Frame, frozen=True, tag="rearm"):
    """Undo the latch: a person's act."""

    rid: Rid
    reason: Reason


class Estop(_Frame, frozen=True, tag="estop"):
    """Emergency stop; heard on a socket of its own."""

    rid: Rid
    reason: Reason


class Granted(_Frame, frozen=True, tag="granted"):
    """A lease, which each command has to carry."""

    rid: Rid
    token: Token
    lease_s: float
    mode: str


class Did(_Frame, frozen=True, tag="did"):
    """A request was carried out; ``value`` is plain data."""

    rid: Rid
    value: Any = None


class Refused(_Frame, frozen=True, tag="refused"):
    """A request was not carried out; ``device`` where an instrument failed."""

    rid: Rid
    code: Code
    detail: str
    device: bool = False


class Report(_Frame, frozen=True, tag="report"):
    """How the rack stands."""

    rid: Rid
    rack: str
    mode: str
    latched: str
    holder: str
    token: int
    log: str
    instruments: dict[str, dict[str, Any]]
    shadowed: dict[str, int] = {}
    """Differences and failures seen on instruments that are only read, by instrument."""


class Stopped(_Frame, frozen=True, tag="stopped"):
    """The emergency stop was carried out.

    ``written_ms``: from the request's arrival to the last command that was written; ``read_back``
    says for each instrument what was read afterwards, and ``safe`` whether all of it is as it
    should be. ``each_ms`` is ``written_ms`` of every instrument.
    """

    rid: Rid
    written_ms: float
    done_ms: float
    safe: bool
    read_back: dict[str, str]
    each_ms: dict[str, float] = {}


Request = Acquire | Renew | Release | Trip | Prepare | Run | Act | Status | Rearm | Estop
Reply = Granted | Did | Refused | Report | Stopped

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """Return the frame of a message.

    >>> decode_request(encode(Renew(7)))
    Renew(token=7)
    """
    return MARK + _encoder.encode(message)


def decode_request(frame: bytes) -> Request:
    """Read a request, or raise :class:`WireError` in one line."""
    return cast(Request, _read(_requests, frame))


def decode_reply(frame: bytes) -> Reply:
    """Read an answer, or raise :class:`WireError` in one line."""
    return cast(Reply, _read(_replies, frame))


def _read(decoder: "msgspec.msgpack.Decoder[Any]", frame: bytes) -> Any:
    if len(frame) > MAX_BYTES:
        raise WireError(f"frame of {len(frame)} bytes; at most {MAX_BYTES} are read")
    if frame[:4] != MARK:
        raise WireError("frame does not begin with DPS1: the peer speaks another protocol")
    try:
        return decoder.decode(memoryview(frame)[4:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise WireError(f"malformed message: {str(wrong).splitlines()[0]}") from wrong

"""The messages between applications and the service that hands out pairs, and their bytes.

An application opens a session, asks, and is answered::

    application -> service   Open      who is there, and which version it speaks
    service -> application   Opened    the session, the service's clock and its limits, or Closed
    application -> service   Ask       pairs between two nodes, by a deadline
    service -> application   Granted   they exist, or Denied
    service -> application   Expired   some of them turned out not to exist

The words are those of the EGP (:mod:`quantum.egp`), the pair's name is its entanglement identifier
(node, node, sequence). A request is named by 16 random bytes, ``rid``: sent again it is the same
request and gets the same answer. Deadlines are on the service's clock, which ``Opened`` tells. How
the network of a service is changed is in :mod:`quantum.alterations`.
"""

from typing import Annotated, TypeVar

import msgspec

from quantum.alterations import Alter, Altered, Survey, Surveyed
from quantum.errors import Code, WireError
from quantum.message import Frame, Name, Rid

__all__ = [
    "EXPIRES",
    "FEATURES",
    "MAX_ASK_BYTES",
    "VERSION",
    "Again",
    "Answer",
    "Ask",
    "Closed",
    "Denied",
    "Expired",
    "FromClient",
    "FromService",
    "Granted",
    "Leave",
    "Measured",
    "Open",
    "Opened",
    "Pair",
    "decode_answer",
    "decode_ask",
    "encode_request",
]

VERSION = 1
#: What this version can do beyond asking and answering.
FEATURES = ("retry", "busy")
#: What a service has whose workers execute pairs after they were granted, and what a client needs
#: to hear of those that could not be.
EXPIRES = "expire"
MARK = b"DPM1"
#: Longest frame that a service reads from an application; it is set on the socket too.
MAX_ASK_BYTES = 4096
#: Longest frame that an application reads from a service.
MAX_ANSWER_BYTES = 1024 * 1024

_T = TypeVar("_T")


class Open(Frame, frozen=True, tag="open"):
    """Open a session."""

    v: int
    name: Name = ""
    features: Annotated[tuple[Name, ...], msgspec.Meta(max_length=32)] = ()


class Opened(Frame, frozen=True, tag="opened"):
    """Accept a session: every later message names it.

    ``now_s`` is the service's clock when this was sent, ``epoch`` how often the service has been
    started on its journal. An application may have ``credits`` requests unanswered at a time, each
    of at most ``most_pairs`` pairs and with a deadline at most ``most_s`` ahead; answers are
    remembered for ``grace_s`` after the deadline.
    """

    v: int
    session: bytes
    now_s: float
    epoch: int
    network: str
    credits: int
    most_pairs: int
    most_s: float
    grace_s: float
    features: tuple[str, ...] = FEATURES


class Again(Frame, frozen=True, tag="again"):
    """Ask a peer to say :class:`Open` (again): the service knows no such session."""


class Closed(Frame, frozen=True, tag="closed"):
    """Refuse a session, or end it, and say why."""

    code: Code
    detail: str


class Leave(Frame, frozen=True, tag="leave"):
    """End a session; its answers stay remembered."""

    session: bytes


class Ask(Frame, frozen=True, tag="ask"):
    """Ask for ``pairs`` pairs between two nodes, each of a fidelity of at least so much.

    ``deadline_s`` is absolute, on the service's clock.
    """

    rid: Rid
    session: Annotated[bytes, msgspec.Meta(max_length=16)]
    source: Name
    destination: Name
    deadline_s: float
    pairs: int = 1
    minimum_fidelity: float = 0.5


class Measured(Frame, frozen=True, array_like=True):
    """What tests of pairs of this kind have shown: a fidelity with its interval (95 %).

    ``age_s`` is the time since the tests were last counted, on the clock of the network.
    """

    low: float
    best: float
    high: float
    shots: int
    age_s: float


class Pair(Frame, frozen=True, array_like=True):
    """One entangled pair, named (source, destination, sequence).

    ``predicted`` is its fidelity by the model at the moment of its delivery; ``measured`` is the
    number of its kind in :attr:`Granted.kinds`.
    """

    source: str
    destination: str
    sequence: int
    predicted: float
    measured: int


class Granted(Frame, frozen=True, tag="granted"):
    """The pairs exist. ``kinds`` are the measured fidelities that the pairs refer to.

    ``source_of_truth`` says what executed them: a service simulates, sim.
    """

    rid: bytes
    pairs: tuple[Pair, ...]
    kinds: tuple[Measured, ...]
    source_of_truth: str = "sim"


class Denied(Frame, frozen=True, tag="denied"):
    """The request failed; ``pairs`` are those that it had got by then, which are spent.

    Where ``retry_s`` is not 0 nothing was noted: the same request may be sent again after that
    time. Otherwise this is the answer for good.
    """

    rid: bytes
    code: Code
    detail: str
    pairs: tuple[Pair, ...] = ()
    kinds: tuple[Measured, ...] = ()
    retry_s: float = 0.0


class Expired(Frame, frozen=True, tag="expired"):
    """Pairs that were granted turned out not to exist: EXPIRE after OK.

    ``pairs`` are their sequences, of the request ``rid``; no pair expires twice. ``code`` says why:
    EXPIRE where nobody knows what became of them, else that of the failure.
    """

    rid: bytes
    pairs: tuple[int, ...]
    code: Code
    detail: str


FromClient = Open | Ask | Leave | Alter | Survey
FromService = Opened | Again | Closed | Granted | Denied | Expired | Altered | Surveyed
Answer = Granted | Denied

_encoder = msgspec.msgpack.Encoder()
_asks: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_answers: msgspec.msgpack.Decoder[FromService] = msgspec.msgpack.Decoder(FromService)


def encode_request(message: FromClient | FromService) -> bytes:
    """Return the frame of a message.

    >>> decode_answer(encode_request(Again()))
    Again()
    """
    return MARK + _encoder.encode(message)


def decode_ask(frame: bytes) -> FromClient:
    """Read what an application sent; :class:`WireError` in one line where it is no message."""
    if len(frame) > MAX_ASK_BYTES:
        raise WireError(f"frame of {len(frame)} bytes; at most {MAX_ASK_BYTES} are read")
    return _decode(_asks, frame)


def decode_answer(frame: bytes) -> FromService:
    """Read what a service sent; :class:`WireError` in one line where it is no message."""
    if len(frame) > MAX_ANSWER_BYTES:
        raise WireError(f"frame of {len(frame)} bytes; at most {MAX_ANSWER_BYTES} are read")
    return _decode(_answers, frame)


class _AnyOpen(msgspec.Struct, frozen=True, tag="open"):
    """An :class:`Open` of any version: of the fields of others only this one is known."""

    v: int


_any_open = msgspec.msgpack.Decoder(_AnyOpen)


def _decode(decoder: "msgspec.msgpack.Decoder[_T]", frame: bytes) -> _T:
    if frame[:4] != MARK:
        raise WireError("frame does not begin with DPM1: the peer speaks another protocol")
    try:
        # A slice of bytes this short is made faster than a view of them.
        return decoder.decode(frame[4:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        why = _other_version(frame) or f"malformed message: {str(wrong).splitlines()[0]}"
        raise WireError(why) from wrong


def _other_version(frame: bytes) -> str:
    """Say that another version is spoken where an Open has what this one does not know."""
    try:
        v = _any_open.decode(memoryview(frame)[4:]).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "" if v == VERSION else f"version {v} is not spoken here; this is version {VERSION}"

"""The messages between the brokers of regions, and their bytes.

::

    asking region -> owner   Reserve   hold a leg: so many pairs between two nodes, so good
    owner -> asking region   Pending   they are not there yet, or
    owner -> asking region   Held      they are there, and held
    asking region -> owner   Commit    use them: the legs are joined
    owner -> asking region   Used      they are used, for good
    asking region -> owner   Release   they are not needed
    owner -> asking region   Gone      they are not held, and were not used

Each may be sent again: a leg is named by 16 bytes, and the same question has the same answer. Times
are spans, never clocks: nobody needs the time of another region.
"""

from typing import Annotated, TypeVar

import msgspec

from quantum.errors import Code, WireError

__all__ = [
    "MAX_BYTES",
    "Commit",
    "FromAsker",
    "FromOwner",
    "Gone",
    "Held",
    "Pending",
    "Release",
    "Reserve",
    "Used",
    "decode_from_asker",
    "decode_from_owner",
    "encode",
    "is_between_regions",
]

MARK = b"DPG1"
MAX_BYTES = 16 * 1024
_T = TypeVar("_T")
_Name = Annotated[str, msgspec.Meta(max_length=64)]
_LegName = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class _Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    pass


class Reserve(_Frame, frozen=True, tag="reserve"):
    """Hold ``pairs`` pairs of at least this fidelity for ``left_s`` seconds.

    ``joined``: the owner is to swap them with the next leg, at node ``b``.
    """

    leg: _LegName
    a: _Name
    b: _Name
    pairs: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    fidelity: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    left_s: Annotated[float, msgspec.Meta(gt=0.0, le=86400.0)]
    joined: bool


class Held(_Frame, frozen=True, tag="held"):
    """The pairs are held; each by its number in the owner's service, and its fidelity."""

    leg: _LegName
    pairs: Annotated[tuple[tuple[int, float], ...], msgspec.Meta(max_length=1024)]


class Pending(_Frame, frozen=True, tag="pending"):
    """The leg is known, and its pairs are not there yet."""

    leg: _LegName


class Commit(_Frame, frozen=True, tag="commit"):
    """Use what is held."""

    leg: _LegName


class Used(_Frame, frozen=True, tag="used"):
    """It is used; ``joined`` says for each pair whether its swap succeeded."""

    leg: _LegName
    joined: Annotated[tuple[bool, ...], msgspec.Meta(max_length=1024)]


class Release(_Frame, frozen=True, tag="release"):
    """Let go of a leg."""

    leg: _LegName


class Gone(_Frame, frozen=True, tag="gone"):
    """Nothing is held, and nothing was used; for good. ``busy``: another leg may be had later."""

    leg: _LegName
    code: Code
    detail: Annotated[str, msgspec.Meta(max_length=400)]
    busy: bool = False


FromAsker = Reserve | Commit | Release
FromOwner = Pending | Held | Used | Gone

_encoder = msgspec.msgpack.Encoder()
_asker: msgspec.msgpack.Decoder[FromAsker] = msgspec.msgpack.Decoder(FromAsker)
_owner: msgspec.msgpack.Decoder[FromOwner] = msgspec.msgpack.Decoder(FromOwner)


def encode(message: FromAsker | FromOwner) -> bytes:
    """Return the frame of a message.

    >>> decode_from_asker(encode(Commit(bytes(16)))) == Commit(bytes(16))
    True
    """
    return MARK + _encoder.encode(message)


def is_between_regions(frame: bytes) -> bool:
    """Tell these frames from those of applications."""
    return frame.startswith(MARK)


def decode_from_asker(frame: bytes) -> FromAsker:
    """Read what another region asks; :class:`WireError` in one line where it is no message."""
    return _decode(_asker, frame)


def decode_from_owner(frame: bytes) -> FromOwner:
    """Read what another region answers; :class:`WireError` in one line where it is no message."""
    return _decode(_owner, frame)


def _decode(decoder: msgspec.msgpack.Decoder[_T], frame: bytes) -> _T:
    if len(frame) > MAX_BYTES or not is_between_regions(frame):
        raise WireError(f"a frame of {len(frame)} bytes is none between regions")
    try:
        return decoder.decode(memoryview(frame)[len(MARK) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        why = str(wrong).splitlines()[0]
        raise WireError(f"a frame between regions cannot be read: {why}") from wrong

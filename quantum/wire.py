"""Messages as bytes: a four-byte mark and msgpack of a closed set of types.

Unknown tags, unknown fields, wrong types and values out of range are refused; nothing that comes
from the network chooses what code runs.
"""

import msgspec

from quantum.egp import VERSION, Message
from quantum.errors import WireError

__all__ = ["MAX_BYTES", "check_version", "decode", "encode"]

MARK = b"DPM1"
#: Longest frame that is read; also set on every socket.
MAX_BYTES = 16 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()


class _AnyHello(msgspec.Struct, frozen=True, tag="hello"):
    """A hello of any version: of the fields of others only this one is known."""

    v: int


_any_hello = msgspec.msgpack.Decoder(_AnyHello)
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    >>> from quantum.egp import Bye
    >>> decode(encode(Bye()))
    Bye(interrupted=False)
    """
    return MARK + _encoder.encode(message)


def decode(frame: bytes | memoryview, most: int = MAX_BYTES) -> Message:
    """Read a frame of at most ``most`` bytes.

    Raises :class:`WireError` in one line where it is not a valid message; a hello of another
    version is told which one is spoken here, whatever else it holds.
    """
    if len(frame) > most:
        raise WireError(f"frame of {len(frame)} bytes; at most {most} are read")
    if frame[:4] != MARK:
        kind = "protocol version" if frame[:3] == MARK[:3] else "protocol"
        raise WireError(f"frame does not begin with DPM1: the peer speaks another {kind}")
    body = memoryview(frame)[4:]
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        check_version(_version_of(body))
        raise WireError(f"malformed message: {str(wrong).splitlines()[0]}") from wrong


def check_version(version: int) -> None:
    """Refuse another version than ours in a line that says which side is to be updated."""
    if version != VERSION:
        older = "client" if version < VERSION else "broker"
        raise WireError(
            f"version {version} is not spoken here; this is version {VERSION}: "
            f"update dpem at the {older}"
        )


def _version_of(body: memoryview) -> int:
    """Return the version of a hello that could not be read, ours for anything else."""
    try:
        return _any_hello.decode(body).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return VERSION

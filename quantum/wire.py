"""Messages as bytes: a four-byte mark and msgpack of a closed set of types.

Unknown tags, unknown fields, wrong types and values out of range are refused; nothing that comes
from the network chooses what code runs.
"""

import msgspec

from quantum.egp import Message
from quantum.errors import WireError

__all__ = ["MAX_BYTES", "decode", "encode"]

MARK = b"DPM1"
#: Longest frame that is read; also set on every socket.
MAX_BYTES = 16 * 1024 * 1024

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the frame of a message.

    >>> from quantum.egp import Bye
    >>> decode(encode(Bye()))
    Bye(interrupted=False)
    """
    return MARK + _encoder.encode(message)


def decode(frame: bytes) -> Message:
    """Read a frame; :class:`WireError` in one line where it is not a valid message."""
    if len(frame) > MAX_BYTES:
        raise WireError(f"frame of {len(frame)} bytes; at most {MAX_BYTES} are read")
    if frame[:4] != MARK:
        raise WireError("frame does not begin with DPM1: the peer speaks another protocol")
    try:
        return _decoder.decode(memoryview(frame)[4:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise WireError(f"malformed message: {str(wrong).splitlines()[0]}") from wrong

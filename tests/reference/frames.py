"""Golden bytes: frames for every message of version 1, as hexadecimal, from frames-v1.txt.

They were written once; a change of these bytes is a change of the protocol. The first three stood
before features, credits and times were added, and have to be read for as long as this is version 1.
"""

import random
from pathlib import Path

__all__ = ["FRAMES", "mutate"]

FRAMES: dict[str, str] = dict(
    line.split(": ") for line in Path(__file__).with_name("frames-v1.txt").read_text().splitlines()
)


def mutate(frame: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """Return a frame that is changed in one of the ways in which bytes go wrong."""
    out = bytearray(frame)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        kind, at = draw.randrange(8), draw.randrange(4, len(out) + 1)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = draw.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at:at] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 4:
            del out[at : at + draw.randrange(1, 9)]
        elif kind == 5:
            other = draw.choice(others)
            out[at:] = other[draw.randrange(4, len(other) + 1) :]
        elif kind == 6 and at < len(out):
            # The bytes with which msgpack begins long things.
            out[at] = draw.choice((0xC1, 0xC6, 0xC9, 0xCB, 0xD9, 0xDB, 0xDD, 0xDF))
        else:
            out[at:at] = out[max(4, at - 12) : at]
        if len(out) < 5:
            return bytes(out)
    return bytes(out)

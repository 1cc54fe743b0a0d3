"""What all messages between applications and services are: immutable, strict, and short."""

from typing import Annotated

import msgspec

__all__ = ["Frame", "Name", "Rid"]

Name = Annotated[str, msgspec.Meta(max_length=64)]
#: The 16 random bytes that name a request.
Rid = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all messages: immutable, and strict about what they hold."""

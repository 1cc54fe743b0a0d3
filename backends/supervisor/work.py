"""A batch and its plan as bytes, and back; nothing that arrives chooses what code runs."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from backends.contract import Plan
from quantum.batch import Batch
from quantum.errors import WireError

__all__ = ["pack", "unpack"]

_MOST_NUMBERS = 4_000_000


@dataclass(frozen=True)
class _Work:
    batch: Batch
    plan: Plan


class _Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[str, msgspec.Meta(pattern=r"^(f8|i8)$")]
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=6)]
    data: bytes


def pack(batch: Batch, plan: Plan) -> bytes:
    """Return the bytes of a batch and its plan."""
    return msgspec.msgpack.encode(_Work(batch, plan), enc_hook=_to_plain)


def unpack(data: bytes) -> tuple[Batch, Plan]:
    """Read what :func:`pack` wrote, or raise :class:`WireError` in one line."""
    try:
        work = msgspec.msgpack.decode(data, type=_Work, dec_hook=_from_plain)
    except (msgspec.DecodeError, RecursionError, ValueError) as wrong:
        raise WireError(f"malformed work: {str(wrong).splitlines()[0]}") from wrong
    return work.batch, work.plan


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        kind = "i8" if np.issubdtype(value.dtype, np.integer) else "f8"
        return _Array(kind, value.shape, np.ascontiguousarray(value, dtype=f"<{kind}").tobytes())
    # The exception that msgspec asks for.
    raise NotImplementedError(f"{type(value).__name__} does not travel")


def _from_plain(kind: Any, value: Any) -> Any:
    array = msgspec.convert(value, _Array)
    size = int(np.prod(array.shape, dtype=np.float64)) if array.shape else 1
    if size > _MOST_NUMBERS or len(array.data) != 8 * size:
        raise ValueError(f"an array of shape {array.shape} has {len(array.data)} bytes")
    return np.frombuffer(array.data, dtype=f"<{array.kind}").reshape(array.shape).copy()

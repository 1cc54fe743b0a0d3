"""Weights and learning state on disk: safetensors, written whole or not at all, checked when read.

A checkpoint is a table of named arrays plus the seed and round they belong to, and notes that say
what it is. It holds no code and loading it runs none. Same content, same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.output import write_whole

__all__ = ["Checkpoint", "load", "save"]

Arrays = Mapping[str, NDArray[np.generic]]

#: The only entry of the file's metadata, because the order of several is not fixed.
_KEY = "dpem"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What was learned: named arrays, from which ``seed``, after which federated ``round``.

    ``notes`` are plain values, as JSON has them; empty where the file has none.
    """

    arrays: dict[str, NDArray[np.generic]]
    seed: int
    round: int
    digest: str
    """SHA-256 over names, types, shapes, values and notes."""
    notes: dict[str, Any] = field(default_factory=dict)


def save(
    path: Path,
    arrays: Arrays,
    *,
    seed: int,
    round_index: int,
    notes: Mapping[str, Any] | None = None,
) -> str:
    """Write a checkpoint atomically and return its digest; ``notes`` are plain values.

    Raises InputError if an array is not numbers, not finite, or the file cannot be written.
    """
    # Copied into C order: safetensors writes the memory of a strided view as it lies.
    table = {name: np.array(arrays[name], order="C", copy=True) for name in sorted(arrays)}
    _check_values(table, "checkpoint")
    about = _about(table, seed, round_index, dict(notes or {}))
    text = json.dumps(about, sort_keys=True)
    write_whole(path, safetensors.numpy.save(table, metadata={_KEY: text}))
    return str(about["digest"])


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; InputError in one line if missing, damaged, foreign or not finite."""
    try:
        data = path.read_bytes()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    try:
        arrays = safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about = json.loads(header["__metadata__"][_KEY])
        form, seed, round_index = (int(about[name]) for name in ("format", "seed", "round"))
        notes = dict(about.get("notes", {}))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as wrong:
        raise InputError(f"{path} is not a checkpoint or is damaged") from wrong
    if form != _FORMAT:
        raise InputError(f"{path} has checkpoint format {form}, this version reads {_FORMAT}")
    if _about(arrays, seed, round_index, notes) != about:
        raise InputError(f"{path} is damaged: its content does not match its digest")
    _check_values(arrays, str(path))
    return Checkpoint(arrays, seed, round_index, about["digest"], notes)


def _check_values(arrays: Arrays, where: str) -> None:
    for name, part in arrays.items():
        if part.dtype.kind not in "fiub":
            raise InputError(f"{where}: {name} must be numbers, got {part.dtype}")
        if not np.all(np.isfinite(part)):
            raise InputError(f"{where}: {name} must be finite")


def _about(arrays: Arrays, seed: int, round_index: int, notes: dict[str, Any]) -> dict[str, Any]:
    """Describe a checkpoint; every word of it is checked when the file is read."""
    found = hashlib.sha256(f"{seed} {round_index}".encode())
    for name in sorted(arrays):
        part = arrays[name]
        found.update(f"\n{name} {part.dtype.str} {part.shape}\n".encode())
        found.update(np.ascontiguousarray(part).tobytes())
    if notes:
        found.update(b"\n" + json.dumps(notes, sort_keys=True).encode())
    more = {"notes": notes} if notes else {}
    return {
        "format": _FORMAT,
        "seed": seed,
        "round": round_index,
        "shapes": {name: list(part.shape) for name, part in arrays.items()},
        "digest": found.hexdigest(),
        **more,
    }

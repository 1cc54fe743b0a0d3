"""Reading a run folder, and only one that verifies."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from quantum.errors import InputError, RecordError
from quantum.record.canonical import (
    EVENTS,
    FORMAT,
    GENESIS,
    MANIFEST,
    SUMMARY,
    Manifest,
    chain,
    files_below,
    json_object,
    read_bytes,
    sha256,
)

__all__ = ["Record", "Verified", "read", "verify"]


@dataclass(frozen=True)
class Verified:
    """What :func:`verify` established: the folder is as its writer sealed it."""

    folder: Path
    complete: bool
    events: int
    last_hash: str
    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """A verified run folder in memory; ``events`` come in order, without the header."""

    seal: Verified
    header: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any] | None

    def file(self, name: str) -> bytes:
        """Return the bytes of a file of the record, checked once more against its digest."""
        if name not in self.seal.files:
            raise InputError(f"{self.seal.folder} has no file {name!r}")
        path = self.seal.folder / name
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != self.seal.files[name]:
            raise RecordError(f"{path}: changed after the record was verified")
        return data


def verify(folder: Path) -> Verified:
    """Check every byte of a run folder; :class:`RecordError` names the file and the line.

    This finds accidents and edits. Someone who rewrites the whole folder can seal it anew, so
    compare ``digest`` with a copy kept elsewhere where that matters.
    """
    try:
        names = set(os.listdir(folder))
    except OSError as wrong:
        raise InputError(f"cannot read the run folder {folder}: {wrong.strerror}") from wrong
    path = folder / MANIFEST
    if not names & {EVENTS, MANIFEST}:
        raise InputError(f"{folder} is not a run folder: it holds no {EVENTS}")
    if MANIFEST not in names:
        raise RecordError(f"{path}: missing, so the run was killed before it could seal its record")
    manifest = _read_manifest(path)
    found = files_below(folder)
    del found[MANIFEST]
    for name in sorted(manifest.files.keys() - found.keys()):
        raise RecordError(f"{folder / name}: missing")
    for name in sorted(found.keys() - manifest.files.keys()):
        raise RecordError(f"{folder / name}: not part of the record")
    if EVENTS not in found:
        raise RecordError(f"{path}: does not list {EVENTS}")
    lines, last = 0, GENESIS
    for number, own_hash, _ in chain(found[EVENTS]):
        lines, last = number, own_hash
    if (lines, last) != (manifest.events, manifest.last_hash):
        raise RecordError(
            f"{found[EVENTS]} line {lines}: the chain ends here, "
            f"but the manifest seals {manifest.events} lines"
        )
    for name, file in sorted(found.items()):
        if sha256(file) != manifest.files[name]:
            raise RecordError(f"{file}: does not match its digest in the manifest")
    return Verified(folder, manifest.complete, lines, last, manifest.digest, manifest.files)


def read(folder: Path) -> Record:
    """Verify a run folder and return what it holds."""
    seal = verify(folder)
    path = folder / EVENTS
    events = [json_object(rest, f"{path} line {number}") for number, _, rest in chain(path)]
    if not events or events[0].get("event") != "header" or events[0].get("format") != FORMAT:
        raise RecordError(f"{path} line 1: no header of format {FORMAT}")
    summary = None
    if SUMMARY in seal.files:
        summary = json_object(read_bytes(folder / SUMMARY), str(folder / SUMMARY))
    return Record(seal, events[0], tuple(events[1:]), summary)


def _read_manifest(path: Path) -> Manifest:
    data = read_bytes(path)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise RecordError(f"{path}: not a manifest: {wrong}") from wrong
    if manifest.format != FORMAT:
        raise RecordError(f"{path}: format {manifest.format!r}, this version reads {FORMAT!r}")
    if manifest.sealed().to_bytes() != data:
        raise RecordError(f"{path}: does not match its own digest")
    return manifest

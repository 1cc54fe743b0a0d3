"""The bytes of a record: canonical JSON, the hash chain and the manifest."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from quantum.errors import InputError, RecordError

__all__ = [
    "EVENTS",
    "FORMAT",
    "GENESIS",
    "MANIFEST",
    "SUMMARY",
    "Manifest",
    "chain",
    "dump",
    "event_bytes",
    "files_below",
    "json_object",
    "line_bytes",
    "link",
    "read_bytes",
    "sha256",
]

#: Name and version of the format, in the header and in the manifest.
FORMAT = "dpem-record/1"
EVENTS = "events.jsonl"
MANIFEST = "manifest.json"
SUMMARY = "summary.json"
#: What the first line continues.
GENESIS = "0" * 64

_PREFIX = b'{"hash":"'
_REST = len(_PREFIX) + 64 + len(b'",')


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder holds: ``files`` maps each path to its SHA-256; ``digest`` covers the rest."""

    format: str
    complete: bool
    events: int
    last_hash: str
    files: dict[str, str]
    digest: str = ""

    def sealed(self) -> "Manifest":
        """Return the same manifest with the digest over all its other fields."""
        fields = msgspec.structs.asdict(self)
        del fields["digest"]
        body = dump(fields, "the manifest", indent=2)
        return msgspec.structs.replace(self, digest=hashlib.sha256(body).hexdigest())

    def to_bytes(self) -> bytes:
        """Return the only bytes that a manifest of these values may have."""
        return dump(msgspec.structs.asdict(self), "the manifest", indent=2)


def chain(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Walk the chain: line number, its hash and the JSON it covers; a broken line is an error."""
    last = GENESIS
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    raise RecordError(f"{path} line {number}: cut short")
                rest = b"{" + line[_REST:-1]
                last = link(last, rest)
                if line != line_bytes(last, rest):
                    raise RecordError(f"{path} line {number}: does not continue the hash chain")
                yield number, last, rest
    except OSError as wrong:
        raise RecordError(f"{path}: cannot be read: {wrong.strerror}") from wrong


def link(previous: str, rest: bytes) -> str:
    """Return the hash of a line: SHA-256 of the previous line's hash and the line's own JSON."""
    return hashlib.sha256(previous.encode() + rest).hexdigest()


def line_bytes(own_hash: str, rest: bytes) -> bytes:
    """Return the line of an event: its JSON with the hash put in front.

    >>> line_bytes("ab", b'{"event":"slot"}')
    b'{"hash":"ab","event":"slot"}\\n'
    """
    return b'%b%b",%b\n' % (_PREFIX, own_hash.encode(), rest[1:])


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON of an event, without its hash."""
    if not isinstance(event.get("event"), str) or "hash" in event:
        raise InputError("an event needs its kind, a string, under 'event', and no key 'hash'")
    return dump(event, f"event {event['event']!r}")


def dump(value: Mapping[str, Any], what: str, *, indent: int | None = None) -> bytes:
    """Return canonical JSON: keys sorted, ASCII, without white space or indented by lines."""
    try:
        text = json.dumps(
            dict(value),
            sort_keys=True,
            allow_nan=False,
            indent=indent,
            separators=(",", ":" if indent is None else ": "),
        )
    except (TypeError, ValueError) as wrong:
        raise InputError(f"{what} must be plain JSON with finite numbers: {wrong}") from wrong
    return text.encode("ascii") + (b"" if indent is None else b"\n")


def json_object(data: bytes, where: str) -> dict[str, Any]:
    """Decode a JSON object; ``where`` names it in the error."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as wrong:
        raise RecordError(f"{where}: no JSON: {wrong}") from wrong
    if not isinstance(value, dict):
        raise RecordError(f"{where}: must be a JSON object")
    return value


def files_below(folder: Path) -> dict[str, Path]:
    """Return every file below the folder by its relative path; links and devices are refused."""
    found: dict[str, Path] = {}
    try:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise RecordError(f"{path}: a record holds plain files only")
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path
            elif not any(path.iterdir()):
                raise RecordError(f"{path}: an empty folder is not part of a record")
    except OSError as wrong:
        raise RecordError(f"{folder}: cannot be read: {wrong.strerror}") from wrong
    return found


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file of a record."""
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise RecordError(f"{path}: cannot be read: {wrong.strerror}") from wrong


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as wrong:
        raise RecordError(f"{path}: cannot be read: {wrong.strerror}") from wrong

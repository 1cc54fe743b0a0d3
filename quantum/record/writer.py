"""Writing a run folder, such that an interrupt at any moment leaves a valid one."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum.errors import InputError, RecordError
from quantum.output import write_whole
from quantum.record.canonical import (
    EVENTS,
    FORMAT,
    GENESIS,
    MANIFEST,
    SUMMARY,
    Manifest,
    dump,
    event_bytes,
    files_below,
    line_bytes,
    link,
    sha256,
)

__all__ = ["RecordWriter"]

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_FLUSH_LINES = 4096


@dataclass(frozen=True)
class _Tail:
    """Where the written part of the chain ends, and the lines that wait behind it."""

    offset: int
    lines: int
    last: str
    pending: list[tuple[str, bytes]]


class RecordWriter:
    """Writes a run folder; as a context manager it seals the folder also when the run breaks off.

    The folder must be new or empty. Leaving the ``with`` block without :meth:`close` (Ctrl-C, an
    error) writes a manifest that says ``"complete": false``.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        """Create the folder and begin the chain; :class:`InputError` where that is impossible."""
        first = event_bytes({**header, "event": "header", "format": FORMAT})
        made = _make_folder(folder)
        path = folder / EVENTS
        try:
            # Unbuffered: what was flushed survives a killed process.
            self._file = path.open("xb", buffering=0)
        except OSError as wrong:
            _remove_folders(made)
            raise InputError(f"cannot write {path}: {wrong.strerror}") from wrong
        self.folder = folder
        self._digest: str | None = None
        self._tail = _Tail(0, 0, GENESIS, [])
        self._add(first)
        try:
            self.flush()
        except BaseException:
            self._file.close()
            path.unlink()
            _remove_folders(made)
            raise

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one event: plain finite JSON values, with its kind under the key ``event``."""
        if self._digest is not None:
            raise RecordError(f"{self.folder}: the record is sealed, nothing can be added")
        self._add(event_bytes(event))
        if len(self._tail.pending) >= _FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand all waiting events to the operating system; call it once per batch of slots."""
        tail = self._tail
        block = memoryview(b"".join(line for _, line in tail.pending))
        last = tail.pending[-1][0] if tail.pending else tail.last
        try:
            # An interrupt may have left half of a block: write it again from its start.
            self._file.seek(tail.offset)
            self._file.truncate()
            sent = 0
            while sent < len(block):
                sent += self._file.write(block[sent:])
        except OSError as wrong:
            raise InputError(f"cannot write {self.folder / EVENTS}: {wrong.strerror}") from wrong
        # One assignment, so that an interrupt sees the old state or the new one.
        self._tail = _Tail(tail.offset + len(block), tail.lines + len(tail.pending), last, [])

    def write_file(self, name: str, data: bytes) -> None:
        """Put a file beside the events, whole or not at all: ``scenario.json``, a figure."""
        if self._digest is not None:
            raise RecordError(f"{self.folder}: the record is sealed, nothing can be added")
        if not _FILE_NAME.fullmatch(name) or name in (EVENTS, MANIFEST):
            raise InputError(
                f"file name {name!r} must be letters, digits, '.', '_' and '-', "
                f"and neither {EVENTS} nor {MANIFEST}"
            )
        write_whole(self.folder / name, data)

    def close(self, summary: Mapping[str, Any] | None = None, *, complete: bool = True) -> str:
        """Write ``summary.json`` and the manifest over every file in the folder; return its digest.

        Closing a sealed record again changes nothing. Nothing may be written into the folder later.
        """
        if self._digest is None:
            if summary is not None:
                self.write_file(SUMMARY, dump(summary, "the summary", indent=2))
            self.flush()
            files = {n: sha256(p) for n, p in files_below(self.folder).items() if n != MANIFEST}
            tail = self._tail
            manifest = Manifest(FORMAT, complete, tail.lines, tail.last, files).sealed()
            write_whole(self.folder / MANIFEST, manifest.to_bytes())
            self._digest = manifest.digest
            self._file.close()
        return self._digest

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Seal what there is, as incomplete, unless it is sealed already."""
        try:
            if self._digest is None:
                self.close(complete=False)
        finally:
            self._file.close()

    def _add(self, rest: bytes) -> None:
        tail = self._tail
        own_hash = link(tail.pending[-1][0] if tail.pending else tail.last, rest)
        tail.pending.append((own_hash, line_bytes(own_hash, rest)))


def _make_folder(folder: Path) -> list[Path]:
    """Create the folder and its parents; return those that are new, the outermost first."""
    made: list[Path] = []
    try:
        for path in [*reversed(folder.parents), folder]:
            if not path.is_dir():
                path.mkdir()
                made.append(path)
        if any(folder.iterdir()):
            raise InputError(f"{folder} is not empty; a record needs a new or an empty folder")
    except OSError as wrong:
        _remove_folders(made)
        raise InputError(f"cannot create {folder}: {wrong.strerror}") from wrong
    return made


def _remove_folders(made: list[Path]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir()

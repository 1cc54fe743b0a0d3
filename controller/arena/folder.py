"""The folder of a comparison: units as they finish, so that nothing played is played again.

``comparison.json`` says what is compared, ``units.jsonl`` holds a line for every finished unit,
added by one write at the end of the file. Whoever is killed loses the units that were being played,
and no more; a torn last line is dropped. Results and pictures are written when all units are there.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec

from controller.arena.facts import Facts, unit_key
from controller.arena.unit import Unit
from quantum.errors import InputError
from quantum.locks import hold
from quantum.output import write_whole
from quantum.presets import Cell

__all__ = ["KEPT", "Folder", "default_folder", "units_in"]

_FACTS, _UNITS, _LOCK = "comparison.json", "units.jsonl", ".lock"
#: Folder of what is needed to play units again.
KEPT = "kept"
#: What a finished comparison leaves; removed when it is played anew.
_RESULTS = (
    *("result.json", "report.md", "report.html", "units.csv", "units.parquet"),
    *("figures", "failures.txt"),
)


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    unit: Unit


def default_folder(name: str, facts: Facts) -> Path:
    """Return where a comparison lives unless told otherwise: its name and its digest.

    The same command finds its folder again, and another one never does.
    """
    plain = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    return Path("compares") / f"{plain[:40]}-{facts.digest[:10]}"


class Folder:
    """Finished units of one comparison; opened by one process at a time, with ``with``.

    ``anew`` forgets the units that are there. Raises :class:`InputError` for the folder of another
    comparison, for a damaged one, and where another process is at work in it.
    """

    def __init__(self, path: Path, facts: Facts, *, anew: bool = False) -> None:
        self.path, self._facts, self._anew = path, facts, anew
        self.units: dict[str, Unit] = {}

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._own()
            self._lock = _locked(self.path / _LOCK, self.path)
        except OSError as wrong:
            raise InputError(f"cannot use {self.path}: {wrong.strerror}") from wrong
        try:
            if self._anew:
                self._forget()
            self.units = self._read()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self.path / _UNITS, flags, 0o644)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        os.close(self._lock)

    def have(self, cell: Cell, seed: int) -> Unit | None:
        """Return a unit that was played before."""
        return self.units.get(unit_key(self._facts, cell, seed))

    def has(self, cell: Cell, seed: int, *, keep: bool) -> bool:
        """Tell whether a unit needs not be played; with ``keep``, only if it can be replayed."""
        there = self.have(cell, seed)
        return there is not None and (
            not keep or there.note is not None or self.keep(cell, seed).is_dir()
        )

    def count(self, *, keep: bool) -> int:
        """Count the units that need not be played."""
        wanted = ((cell, seed) for cell in self._facts.cells for seed in self._facts.seeds)
        return sum(self.has(cell, seed, keep=keep) for cell, seed in wanted)

    def add(self, unit: Unit) -> None:
        """Keep a finished unit, by one write and on disk."""
        key = unit_key(self._facts, unit.cell, unit.seed)
        line = msgspec.json.encode(_Line(key, unit)) + b"\n"
        written = os.write(self._file, line)
        if written < len(line):
            raise InputError(f"cannot write {self.path / _UNITS}: the disk is full")
        os.fsync(self._file)
        self.units[key] = unit

    def keep(self, cell: Cell, seed: int) -> Path:
        """Return the folder for what is needed to play a unit again."""
        return self.path / KEPT / unit_key(self._facts, cell, seed)

    def _own(self) -> None:
        """Refuse the folder of somebody else; write into an empty one whose it is."""
        path = self.path / _FACTS
        if not path.exists():
            strange = [p.name for p in self.path.iterdir() if p.name != _LOCK]
            if strange:
                raise InputError(
                    f"{self.path} holds no comparison but other files ({strange[0]}); "
                    "give an empty or a new folder with --out"
                )
            write_whole(path, msgspec.json.format(msgspec.json.encode(self._facts)) + b"\n")
            return
        try:
            theirs = msgspec.json.decode(path.read_bytes(), type=Facts)
        except msgspec.MsgspecError as wrong:
            raise InputError(f"{path} is no comparison of this version: {wrong}") from wrong
        difference = self._facts.difference(theirs)
        if difference:
            raise InputError(
                f"{self.path} holds another comparison (its {difference} differ); "
                "give another folder with --out"
            )

    def _forget(self) -> None:
        (self.path / _UNITS).unlink(missing_ok=True)
        for name in (*_RESULTS, KEPT):
            found = self.path / name
            if found.is_dir():
                shutil.rmtree(found)
            else:
                found.unlink(missing_ok=True)

    def _read(self) -> dict[str, Unit]:
        path = self.path / _UNITS
        if not path.exists():
            return {}
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            # The last write was cut short: its unit is played again.
            with path.open("r+b") as file:
                file.truncate(whole)
        return dict(units_in(data[:whole].splitlines(), path))


def units_in(lines: Iterable[bytes], path: Path) -> Iterable[tuple[str, Unit]]:
    """Read lines of the file of units, ``path``, as (key, unit); refuse a damaged one."""
    for number, line in enumerate(lines, 1):
        try:
            found = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError as wrong:
            raise InputError(
                f"{path}, line {number} is damaged ({wrong}); --anew plays all units again"
            ) from wrong
        yield found.key, found.unit


def _locked(path: Path, folder: Path) -> int:
    """Hold a lock as long as this process lives; the system lets go of it when it is killed."""
    handle = hold(path, mode=0o644)
    if handle is None:
        raise InputError(f"another process compares in {folder}; wait for it, or end it")
    return handle

"""A comparison that is watched: its folder, into which units come one by one."""

import os
import time
from pathlib import Path

import msgspec

from controller.arena.facts import Facts
from controller.arena.unit import Unit
from controller.dashboard.comparison_sheet import Progress, comparison_sheet, contrasts_of
from controller.dashboard.sheet import Sheet, State
from controller.statistics.differences import Paired
from quantum.errors import InputError
from quantum.locks import is_held

__all__ = ["ComparisonWatch"]

_FACTS, _UNITS, _LOCK, _RESULT = "comparison.json", "units.jsonl", ".lock", "result.json"
_STEP_BYTES = 1 << 20
#: How often it is looked at whether anybody plays, and the time left is told anew.
_STAND_S = 1.0


class _Line(msgspec.Struct, frozen=True):
    key: str
    unit: Unit


class ComparisonWatch:
    """Follows one folder; a :class:`controller.dashboard.sheet.Source`.

    Raises :class:`InputError` for a folder that holds no comparison of this version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            data = (folder / _FACTS).read_bytes()
            self._facts = msgspec.json.decode(data, type=Facts)
        except OSError as wrong:
            raise InputError(f"cannot read {folder / _FACTS}: {wrong.strerror}") from wrong
        except msgspec.MsgspecError as wrong:
            raise InputError(
                f"{folder / _FACTS} is no comparison of this version: {wrong}"
            ) from wrong
        if not self._facts.allocators or not self._facts.cells:
            raise InputError(f"{folder / _FACTS} compares nothing")
        self._begin()
        self._state: State = "waiting"
        self._word, self._damage = "", ""
        self._stood_s = -_STAND_S
        self._version = 0

    def _begin(self) -> None:
        """Know nothing of any unit."""
        self._units: dict[str, Unit] = {}
        self._contrasts: tuple[int, dict[str, Paired]] = (0, {})
        self._arrived: list[tuple[float, int]] = []
        """When units came while this was looking (seconds since its first look), and how many."""
        self._read_to, self._rest = 0, b""
        self._file: tuple[int, int] | None = None
        self._opened_s: float | None = None
        self._there = 0

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def step(self) -> bool:
        """Read on in the units; see who plays, where it is time."""
        more = False
        if not self._damage:
            try:
                more = self._read()
            except InputError as wrong:
                self._damage = " ".join(str(wrong).split())[:300]
                self._version += 1
        now_s = time.monotonic()
        if not more and (now_s - self._stood_s >= _STAND_S or self._damage):
            self._stood_s = now_s
            if self._opened_s is None:
                self._opened_s, self._there = now_s, len(self._units)
            self._stand()
        return more

    def _read(self) -> bool:
        try:
            with (self._folder / _UNITS).open("rb") as file:
                found = os.fstat(file.fileno())
                mark = (found.st_dev, found.st_ino)
                if self._file not in (None, mark) or found.st_size < self._read_to:
                    # It is played anew, or a torn line was taken away.
                    self._begin()
                self._file = mark
                file.seek(self._read_to)
                data = file.read(_STEP_BYTES)
        except FileNotFoundError:
            if self._file is not None:
                self._begin()
                self._version += 1
            return False
        except OSError as wrong:
            raise InputError(f"{_UNITS} cannot be read: {wrong.strerror}") from wrong
        self._read_to += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        before = len(self._units)
        for line in lines:
            self._take(line)
        if len(self._units) > before:
            self._version += 1
            if self._opened_s is not None:
                self._arrived.append((time.monotonic() - self._opened_s, len(self._units)))
        return len(data) == _STEP_BYTES

    def _take(self, line: bytes) -> None:
        number = len(self._units) + 1
        try:
            found = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError as wrong:
            raise InputError(f"{_UNITS}: unit {number} is damaged ({wrong})") from wrong
        missing = [name for name in self._facts.allocators if name not in found.unit.allocators]
        if missing and found.unit.note is None:
            raise InputError(f"{_UNITS}: unit {number} says nothing of {missing[0]}")
        self._units[found.key] = found.unit

    def _stand(self) -> None:
        total = len(self._facts.cells) * len(self._facts.seeds)
        done = len(self._units)
        state: State
        if self._damage:
            state, word = "damaged", f"The folder is damaged: {self._damage}"
        elif is_held(self._folder / _LOCK):
            # All units are there a while before the result is: models and figures are made.
            state, word = "running", "Playing" if done < total else "Writing the result"
        elif done >= total and (self._folder / _RESULT).is_file():
            state, word = "finished", "Finished: report.html in the folder has the tests"
        elif done >= total:
            state, word = "broken off", "All units are there; the same command writes the result"
        elif done or self._file is not None:
            state = "broken off"
            word = f"Stopped with {done} of {total} units; the same command goes on from there"
        else:
            state, word = "waiting", "Waiting for the first unit"
        if (state, word) != (self._state, self._word):
            self._state, self._word = state, word
            self._version += 1
        if state == "running":
            self._version += 1

    def sheet(self) -> Sheet:
        """Return what is to be shown now."""
        now_s, units = time.monotonic(), list(self._units.values())
        if self._contrasts[0] != len(units):
            self._contrasts = (len(units), contrasts_of(self._facts, units))
        progress = Progress(
            state=self._state,
            word=self._word,
            folder=self._folder.name,
            there=self._there,
            arrived=tuple(self._arrived),
            watched_s=0.0 if self._opened_s is None else now_s - self._opened_s,
        )
        return comparison_sheet(self._facts, units, self._contrasts[1], progress)

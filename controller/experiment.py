"""Paired experiments: every allocator on the same draws, cell by cell and seed by seed.

A *unit* is a cell with a seed. Units are spread over processes; what comes out depends on the
arguments alone, not on how many processes there were, in which order they ended, or how often the
comparison was interrupted.
"""

import os
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

import msgspec

from controller.arena.folder import Folder
from controller.arena.sending import folder_from, into_bytes
from controller.arena.summary import Comparison, summarise
from controller.arena.unit import Figures, Unit, play_unit
from controller.engines.engine import Engine
from controller.game import Plans
from controller.parallel import spread
from controller.rivals.allocator import find
from controller.statistics import Convergence
from quantum.errors import AllocatorError, InputError
from quantum.output import write_whole
from quantum.presets import Cell

__all__ = ["Comparison", "Figures", "Unit", "check", "compare", "play_unit", "summarise"]


def compare(
    cells: Sequence[Cell],
    allocators: Sequence[str],
    seeds: Sequence[int],
    *,
    seconds: float = 60.0,
    warmup_s: float = 10.0,
    processes: int | None = None,
    engine: Engine | None = None,
    folder: Folder | None = None,
    keep: bool = False,
    windowed: Collection[tuple[int, int]] = (),
    progress: Callable[[Unit], None] | None = None,
    convergence: Convergence | None = None,
) -> Comparison:
    """Play every allocator, by name, on every cell with every seed, and compare them in pairs.

    An open ``folder`` keeps units as they finish, and those that are there already are not played;
    ``keep`` puts beside them what is needed to play each again. ``windowed`` are the units, as
    (number of the cell, seed), that get the windowed bound as well. ``progress`` is given every
    unit, first those that were there. ``processes`` is the number of cores by default; an
    ``engine`` may play elsewhere instead. An interrupt ends them and is passed on. Where an
    allocator fails, the others go on, and :class:`AllocatorError` is raised at the end.
    """
    names, numbers = check(cells, allocators, seeds)
    workers = processes or os.cpu_count() or 1
    wanted = [(cell, seed) for cell in cells for seed in numbers]
    expensive = {cell * len(numbers) + numbers.index(seed) for cell, seed in windowed}
    units: dict[int, Unit] = {}
    failures: list[_Failure] = []
    tasks = []
    for place, (cell, seed) in enumerate(wanted):
        there = None
        if folder is not None and folder.has(cell, seed, keep=keep):
            there = folder.have(cell, seed)
        if there is not None:
            units[place] = there
            if progress is not None:
                progress(there)
        else:
            kept = folder.keep(cell, seed) if keep and folder is not None else None
            tasks.append(
                _Task(place, cell, seed, names, seconds, warmup_s, kept, place in expensive)
            )

    def finished(task: _Task, found: Unit | _Failure | _Sent) -> None:
        if isinstance(found, _Sent):
            if task.keep is not None:
                folder_from(found.files, task.keep)
            found = found.found
        if isinstance(found, _Failure):
            failures.append(found)
            return
        units[task.place] = found
        if folder is not None and folder.have(task.cell, task.seed) is None:
            folder.add(found)
        if progress is not None:
            progress(found)

    # What takes longest comes first, so that no process is left alone with it at the end.
    tasks.sort(key=lambda task: not task.windowed)
    if engine is None:
        spread(_work, tasks, processes=workers, finished=finished)
    else:
        engine(_work_elsewhere, tasks, finished=finished)
    if failures:
        raise _told(failures, len(units), len(wanted), folder)
    ordered = [units[place] for place in range(len(wanted))]
    return summarise(cells[0].preset, names, numbers, ordered, convergence=convergence)


def check(
    cells: Sequence[Cell], allocators: Sequence[str], seeds: Sequence[int]
) -> tuple[list[str], list[int]]:
    """Refuse an experiment that cannot be played; return its allocators and seeds as lists."""
    names, numbers = list(allocators), list(seeds)
    if not cells:
        raise InputError("an experiment needs at least one cell")
    if not names or len(set(names)) < len(names):
        raise InputError(f"allocators must be different names, at least one; got {names}")
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise InputError("seeds must be different numbers >= 0, at least one")
    for name in names:
        find(name)
    return names, numbers


class _Task(msgspec.Struct, frozen=True):
    """A unit to be played, with its place in the result."""

    place: int
    cell: Cell
    seed: int
    allocators: list[str]
    seconds: float
    warmup_s: float
    keep: Path | None
    windowed: bool


class _Failure(msgspec.Struct, frozen=True):
    """An allocator that failed in a unit."""

    place: int
    message: str
    trace: str


class _Sent(msgspec.Struct, frozen=True):
    """What came out on another machine, with the files of the folder to be kept."""

    found: Unit | _Failure
    files: dict[str, bytes]


@cache
def _plans() -> Plans:
    """Return the flows that this process has solved; many units share a network."""
    return {}


def _work(task: _Task) -> Unit | _Failure:
    # Sums over several threads have no fixed order, and so no fixed last digit.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        return play_unit(
            task.cell,
            task.seed,
            task.allocators,
            seconds=task.seconds,
            warmup_s=task.warmup_s,
            plans=_plans(),
            keep=task.keep,
            windowed=task.windowed,
        )
    except AllocatorError as wrong:
        return _Failure(task.place, str(wrong), traceback.format_exc())


def _work_elsewhere(task: _Task) -> _Sent:
    if task.keep is None:
        return _Sent(_work(task), {})
    return _Sent(*into_bytes(lambda here: _work(msgspec.structs.replace(task, keep=here))))


def _told(
    failures: Sequence[_Failure], done: int, wanted: int, folder: Folder | None
) -> AllocatorError:
    """Write what failed into the folder, and return the error that names the first."""
    ordered = sorted(failures, key=lambda failure: failure.place)
    more = f" (and {len(ordered) - 1} more units failed)" if len(ordered) > 1 else ""
    kept = ""
    if folder is not None:
        text = "\n".join(f"{failure.message}\n\n{failure.trace}" for failure in ordered)
        write_whole(folder.path / "failures.txt", text.encode())
        kept = f"; {done} of {wanted} units are kept, see {folder.path / 'failures.txt'}"
    return AllocatorError(f"{ordered[0].message}{more}{kept}")

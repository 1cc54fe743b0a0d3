"""``python -m controller.tuning``: the best settings of allocators, by the same search for all."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path

import click

from controller.rivals.allocator import find, known
from controller.tuning import (
    Found,
    Journal,
    TrainingUnit,
    Trial,
    descend,
    toml_of,
    training_units,
    trial,
)
from quantum.errors import InputError
from quantum.output import write_whole

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@click.command("tune")
@click.option("--allocators", metavar="A,B", help="Names; all that have levers by default.")
@click.option("--units", default=24, show_default=True, help="Training cells, a network each.")
@click.option("--budget", default=60, show_default=True, help="Most trials for each allocator.")
@click.option("--seconds", default=30.0, show_default=True, help="Network time of a run.")
@click.option("--processes", type=int, help="Cores to use; all by default.")
@click.option("--journal", default="tuning.jsonl", show_default=True, help="Trials so far.")
@click.option("--out", type=Path, help="The file to write; tuned.toml of this package by default.")
@click.option("--estimate", is_flag=True, help="Only say how long it would take.")
def command(
    allocators: str | None,
    units: int,
    budget: int,
    seconds: float,
    processes: int | None,
    journal: str,
    out: Path | None,
    estimate: bool,
) -> None:
    """Search the levers of allocators on training networks, and write what was found."""
    given = [name.strip() for name in (allocators or "").split(",") if name.strip()]
    names = given or [name for name in known() if find(name).levers]
    for name in names:
        if not find(name).levers:
            raise InputError(f"allocator {name} has no levers")
    if not 0.0 < seconds < 1e6:
        raise InputError(f"--seconds must be > 0, got {seconds:g}")
    training = training_units(units)
    if estimate:
        _estimate(names, training, budget, seconds)
        return
    target = out or Path(str(files("controller").joinpath("data", "tuned.toml")))
    called = f"python -m controller.tuning {' '.join(sys.argv[1:])}".strip()
    book, workers = Journal(Path(journal)), processes or os.cpu_count() or 1
    os.environ.update(_ONE_THREAD)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for name in names:
            with _progress(name, budget * len(training)) as advance:
                found = descend(
                    find(name).levers,
                    _scorer(name, training, seconds, book, pool, advance),
                    budget=budget,
                )
            # After each allocator, so that an interrupt leaves those that are done.
            old = target.read_text(encoding="utf-8") if target.exists() else ""
            text = toml_of({name: found}, training, command=called, old=old)
            write_whole(target, text.encode())
            click.echo(_line(name, found))


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show trials on stderr, where that is a terminal; most searches end before ``total``."""
    if not sys.stderr.isatty():
        yield lambda finished: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda finished: bar.advance(task, finished)


def _line(name: str, found: Found) -> str:
    moved = ", ".join(f"{lever} = {value:g}" for lever, value in found.settings.items())
    return f"{name}: {found.before:.4f} -> {found.after:.4f} ({found.trials} trials) {moved}"


def _scorer(
    name: str,
    units: Sequence[TrainingUnit],
    seconds: float,
    book: Journal,
    pool: ProcessPoolExecutor,
    advance: Callable[[int], None],
) -> Callable[[Sequence[dict[str, float]]], list[float]]:
    """Return what plays settings on all units, those that are not in the book yet."""

    def score(many: Sequence[dict[str, float]]) -> list[float]:
        wanted = [(settings, unit) for unit in units for settings in many]
        running = {}
        for settings, unit in wanted:
            key = book.key(name, settings, unit, seconds)
            if key not in book.known:
                running[key] = pool.submit(trial, name, settings, unit, seconds)
        for key, future in running.items():
            book.add(key, future.result())
            advance(1)
        advance(len(wanted) - len(running))
        return [_mean(book, name, settings, units, seconds) for settings in many]

    return score


def _mean(
    book: Journal,
    name: str,
    settings: dict[str, float],
    units: Sequence[TrainingUnit],
    seconds: float,
) -> float:
    found = [book.known[book.key(name, settings, unit, seconds)] for unit in units]
    return sum(one.fraction_of_bound for one in found) / len(found)


def _estimate(
    names: Sequence[str], units: Sequence[TrainingUnit], budget: int, seconds: float
) -> None:
    total = 0.0
    for name in names:
        trial(name, {}, units[0], seconds)  # compiles and prepares
        once: Trial = trial(name, {}, units[0], seconds)
        trials = min(budget, 1 + 2 * sum(len(v) for v in find(name).levers.values()))
        cost = once.cpu_s * trials * len(units)
        total += cost
        click.echo(f"{name}: up to {trials} trials, {cost / 60:.1f} CPU minutes")
    click.echo(f"together: {total / 3600:.1f} CPU hours")

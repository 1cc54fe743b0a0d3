"""``python -m controller.forecasting``: train the forecasters that come with the package.

Three networks on the same training traces: the one that is used, and the two that are compared for
their recurrence, a quantum reservoir's head and a GRU with as many trained parameters. The numbers
of the rival "profile x level, tuned" are chosen on the same traces.
"""

import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import click
import numpy as np
import torch

from controller.checkpoint import save
from controller.forecasting.foresight import Reader
from controller.forecasting.lessons import (
    FIRST_SEED,
    Lessons,
    joined,
    lessons_of,
    training_traces,
)
from controller.forecasting.pretraining import fit
from controller.forecasting.recurrence import Weights, size_of
from controller.forecasting.reservoirs import WIDTH, quantum_reader
from controller.forecasting.streams import Floats
from controller.forecasting.tuned_profile import search
from quantum.errors import InputError
from quantum.output import write_whole

__all__ = ["command"]

#: Every fourth trace is held out; kinds of demand come in turns of five.
_HELD_OUT = 4


@click.command("pretrain")
@click.option("--traces", default=100, show_default=True, help="Training traces, all kinds.")
@click.option("--seconds", default=150.0, show_default=True, help="Network time of a trace.")
@click.option("--epochs", default=16, show_default=True, help="Times that each look is used.")
@click.option("--few", default=30, show_default=True, help="Traces for the two that are compared.")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights and batches.")
@click.option(
    "--only", type=click.Choice(["gru", "small", "quantum", "profile"]), help="Make this one alone."
)
@click.option("--out", type=Path, help="Folder to write; the data of this package by default.")
def command(
    traces: int,
    seconds: float,
    epochs: int,
    few: int,
    seed: int,
    only: str | None,
    out: Path | None,
) -> None:
    """Train the forecasters that come with the package, and say how they were made."""
    if min(traces, few) < _HELD_OUT or epochs < 1 or not 20.0 <= seconds < 1e5:
        raise InputError(f"traces and few must be >= {_HELD_OUT}, epochs >= 1, seconds >= 20")
    torch.set_num_threads(1)
    folder = out or Path(str(files("controller").joinpath("data")))
    if not folder.is_dir():
        raise InputError(f"cannot write {folder}: it is no folder")
    plans = {
        "gru": (traces, 8, 16, None),
        "small": (few, 2, 4, None),
        "quantum": (few, WIDTH, 5, quantum_reader),
    }
    called = f"python -m controller.forecasting {' '.join(sys.argv[1:])}".strip()
    for name, (count, hidden, units, reader) in plans.items():
        if only in (None, name):
            total = count + epochs
            with _progress(name, total) as advance:
                weights, loss = _made(
                    count,
                    seconds,
                    hidden,
                    units,
                    epochs,
                    seed,
                    None if reader is None else reader(),
                    advance,
                )
            target = folder / f"forecast_{name}.safetensors"
            digest = save(target, weights._asdict(), seed=seed, round_index=0)
            trained = size_of(weights, head_only=reader is not None)
            text = _about(called, count, seconds, epochs, seed, trained, loss, digest)
            write_whole(folder / f"forecast_{name}.toml", text.encode())
            click.echo(f"{name}: {trained} parameters, {loss:.5f} nats a look held out")
    if only in (None, "profile"):
        with _progress("profile", few) as advance:
            found, loss = search(few, seconds, advance)
        lines = ["# Written by the command below.", f'command = "{called}"', f"traces = {few}"]
        lines += [f"nats_a_bin = {loss:.6f}", "", "[settings]"]
        lines += [f"{key} = {value:g}" for key, value in found.items()]
        write_whole(folder / "forecast_profile.toml", ("\n".join(lines) + "\n").encode())
        click.echo(f"profile: {loss:.5f} nats a bin, {found}")


def _made(
    count: int,
    seconds: float,
    hidden: int,
    units: int,
    epochs: int,
    seed: int,
    reader: Reader | None,
    advance: Callable[[], None],
) -> tuple[Weights, float]:
    """Walk through the traces and train."""
    parts: list[Lessons] = []
    for number, trace in enumerate(training_traces(count, seconds)):
        parts.append(lessons_of(trace, seconds, number))
        advance()
    ours = joined([p for i, p in enumerate(parts) if i % _HELD_OUT != _HELD_OUT - 1])
    theirs = joined([p for i, p in enumerate(parts) if i % _HELD_OUT == _HELD_OUT - 1])
    read = None if reader is None else (_read(ours, reader), _read(theirs, reader))
    return fit(
        ours,
        theirs,
        hidden=hidden,
        units=units,
        epochs=epochs,
        seed=seed,
        read=read,
        progress=lambda epoch, loss: advance(),
    )


def _read(lessons: Lessons, reader: Reader) -> Floats:
    """Read every different window once: most seconds a node is asked for nothing."""
    size = len(lessons.length)
    rows = np.concatenate([lessons.events.reshape(size, -1), lessons.length[:, None]], axis=1)
    _, first, of = np.unique(
        np.ascontiguousarray(rows, dtype=np.float32).view(f"V{4 * rows.shape[1]}").reshape(-1),
        return_index=True,
        return_inverse=True,
    )
    found = reader(lessons.events[first].astype(np.float64), lessons.length[first])
    return found[of.reshape(-1)]


def _about(
    called: str,
    count: int,
    seconds: float,
    epochs: int,
    seed: int,
    trained: int,
    loss: float,
    digest: str,
) -> str:
    packages = {name: version(name) for name in ("numpy", "numba", "torch")}
    lines = [
        "# Written by the command below.",
        f'command = "{called}"',
        f"traces = {count}",
        f"trace_seconds = {seconds:g}",
        f"epochs = {epochs}",
        f"seed = {seed}",
        f"trace_seeds = [{FIRST_SEED}, {FIRST_SEED + count - 1}]",
        f"networks = [4, {3 + count}]",
        f"parameters = {trained}",
        f"held_out_nats = {loss:.6f}",
        f'digest = "{digest}"',
        f'python = "{platform.python_version()}"',
        *(f'{name} = "{number}"' for name, number in packages.items()),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Show traces and epochs on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)

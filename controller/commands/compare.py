"""``dpem compare``: allocators in pairs on the same draws, with statistics."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click
import msgspec

from quantum.errors import InputError, NoDemand
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from controller.experiment import Comparison
    from quantum.presets import Cell

#: Compared unless others are named; the first is compared with each of the others.
ALLOCATORS = "dpem,on-demand,uniform,mean-rate"
#: Nodes of the networks that the loads of the ``paper`` preset are meant for.
_PAPER_NODES = 100


@click.command("compare")
@click.option("--preset", default="paper", show_default=True, help="Arena: a fixed set of cells.")
@click.option("--sample", metavar="N", type=int, help="Only N cells of it, balanced, by key.")
@click.option("--topology", metavar="NAME|FILE", help="This network in every cell.")
@click.option("--demand", metavar="NAME|FILE", help="This demand in every cell.")
@click.option("--changes", metavar="WISH|FILE", help="Outages: outages:MTBF_S:MTTR_S, or a CSV.")
@click.option("--service-ms", metavar="A,B,...", help="Each cell with these controller delays.")
@click.option(
    "--allocators", default=ALLOCATORS, show_default=True, help="Names, the one to judge first."
)
@click.option("--seeds", default=4, show_default=True, help="Runs of each cell.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first run.")
@click.option("--seconds", default=60.0, show_default=True, help="Network time that is counted.")
@click.option("--warmup", "warmup_s", default=10.0, show_default=True, help="Time before that.")
@click.option("--engine", type=click.Choice(["processes"]), default="processes", show_default=True)
@json_option
def command(
    preset: str,
    sample: int | None,
    topology: str | None,
    demand: str | None,
    changes: str | None,
    service_ms: str | None,
    allocators: str,
    seeds: int,
    seed: int,
    seconds: float,
    warmup_s: float,
    engine: str,
    json_path: str | None,
) -> None:
    """Compare allocators on the cells of a preset, or on your own network and demand.

    All play the same draws. The first allocator is compared with each of the others, in pairs,
    with 95 % intervals over networks and seeds.
    """
    from controller.experiment import compare

    if seeds < 1:
        raise InputError(f"--seeds must be at least 1, got {seeds}")
    if not 0 <= seed < 2**62 - seeds:
        raise InputError(f"--seed must be between 0 and 2^62, got {seed}")
    if not 0.0 < seconds < math.inf:
        raise InputError(f"--seconds must be > 0, got {seconds:g}")
    if not 0.0 <= warmup_s < math.inf:
        raise InputError(f"--warmup must be >= 0, got {warmup_s:g}")
    names = [name.strip() for name in allocators.split(",") if name.strip()]
    cells = chosen_cells(
        preset,
        sample,
        topology,
        demand,
        seed,
        changes=changes,
        service_s=service_times(service_ms),
        span_s=(seconds, warmup_s),
    )
    numbers = range(seed, seed + seeds)
    with _progress(len(cells) * seeds) as advance:
        found = compare(cells, names, numbers, seconds=seconds, warmup_s=warmup_s, progress=advance)
    whole = {
        **msgspec.structs.asdict(found),
        "sample": sample,
        "topology": topology,
        "demand": demand,
        "changes": changes,
        "service_ms": service_ms,
        "seconds": seconds,
        "warmup_s": warmup_s,
    }
    write_json(whole, json_path)
    if json_path != "-":
        _show(found, topology or preset, len(cells), sample)


def service_times(text: str | None) -> tuple[float, ...]:
    """Read service times in milliseconds; in seconds, none where there is no text.

    >>> service_times("0, 10,500"), service_times(None)
    ((0.0, 0.01, 0.5), ())
    """
    times = []
    for part in [] if text is None else text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < 1e6 or value / 1e3 in times:
            raise InputError(
                f"--service-ms must be different numbers from 0 to a million, got {text!r}"
            )
        times.append(value / 1e3)
    return tuple(times)


def chosen_cells(
    preset: str,
    sample: int | None,
    topology: str | None,
    demand: str | None,
    seed: int,
    *,
    changes: str | None = None,
    service_s: Sequence[float] = (),
    span_s: tuple[float, float] = (60.0, 10.0),
) -> "list[Cell]":
    """Return the cells to play, after checking that their networks and demands exist.

    A network or a demand of the user's replaces that of every cell, and cells that become equal are
    played once. Loads in pairs/s are those of 100 nodes; other networks get them in proportion.
    ``changes`` go into every cell, and every cell is there once for each of ``service_s``.
    ``span_s`` are the seconds that count and the warm-up.
    """
    from quantum.presets import build, cells
    from quantum.presets import sample as sampled
    from quantum.topology import load_topology
    from quantum.traffic_files import is_file

    found = cells(preset)
    if topology is not None:
        nodes = len(load_topology(topology, seed=0).nodes)
        found = [
            msgspec.structs.replace(
                cell,
                topology=topology,
                load_hz=None if cell.load_hz is None else cell.load_hz * nodes / _PAPER_NODES,
            )
            for cell in found
        ]
    if demand is not None:
        found = [msgspec.structs.replace(cell, demand=demand) for cell in found]
        if is_file(demand):
            # A file brings its own load, so loads make no different cells.
            found = [
                msgspec.structs.replace(cell, load_hz=0.0, knee_fraction=None) for cell in found
            ]
    if changes is not None:
        found = [msgspec.structs.replace(cell, changes=changes) for cell in found]
    found = list(dict.fromkeys(found))
    if sample is not None:
        found = sampled(found, sample, seed)
    if service_s:
        found = [msgspec.structs.replace(cell, service_s=s) for cell in found for s in service_s]
    if topology is not None or demand is not None or changes is not None:
        seconds, warmup_s = span_s
        # Building is cheap and finds every mistake in names and files; any knee will do.
        with suppress(NoDemand):
            build(found[0], seed, seconds=seconds, warmup_s=warmup_s, knee=lambda *_: 1.0)
    return found


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda finished: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "comparing",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("comparing", total=total)
        yield lambda finished: bar.advance(task, finished)


def _show(found: "Comparison", arena: str, cells: int, sample: int | None) -> None:
    from rich.console import Console

    # A file or a pipe has no width of its own; these tables fit into 100 columns.
    console = Console(width=None if sys.stdout.isatty() else 100)
    size = f"{cells} cells" + (f" (a sample of {sample})" if sample is not None else "")
    console.print(_rates(found, f"{arena}: {size}, {len(found.seeds)} seeds"))
    notes = [row["note"] for row in found.cells if row["note"] is not None]
    for note in dict.fromkeys(notes):
        of = f"{notes.count(note)} of {len(found.cells)}"
        console.print(f"left out: {of} runs, because {note}", highlight=False)
    if found.paired:
        console.print(_pairs(found))
    if found.anova is not None:
        test = found.anova
        console.print(
            f"delivery over allocators: F({test.df[0]:.1f}, {test.df[1]:.1f}) = {test.F:.1f}, "
            f"p = {test.p:.2g}, eta² = {test.eta_squared:.2f} ({test.correction})"
        )


def _rates(found: "Comparison", title: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE)
    table.add_column("allocator", no_wrap=True)
    for name in ("delivered", "of bound", "contention", "lost", "fidelity", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in found.allocators.items():
        table.add_row(
            name,
            f"{row.delivery_rate:.3f}",
            f"{row.fraction_of_bound:.3f}",
            f"{row.contention:.4f}",
            f"{row.contention_loss:.3f}",
            "-" if row.fidelity is None else f"{row.fidelity:.4f}",
            "-" if row.latency_ms is None else f"{row.latency_ms:.0f}",
        )
    return table


def _pairs(found: "Comparison") -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title="in pairs, relative, with 95 % intervals", box=box.SIMPLE)
    for name in ("", "delivered", "better", "contention"):
        table.add_column(name, justify="right" if name else "left", no_wrap=not name)
    for pair, contrast in found.paired.items():
        delivery, contention = contrast["delivery"], contrast["contention"]
        table.add_row(
            pair,
            relative_text(delivery["relative"], [delivery["low"], delivery["high"]]),
            f"{100 * delivery['p_improvement']:.0f} %",
            relative_text(contention["relative"], [contention["low"], contention["high"]]),
        )
    return table


def relative_text(relative: float, interval: Sequence[float]) -> str:
    """Write a relative difference with its interval.

    >>> relative_text(0.254, [0.2, 0.31]), relative_text(0.1, [math.nan, math.nan])
    ('+25.4 % [+20.0, +31.0]', '+10.0 %')
    """
    if not math.isfinite(relative):
        return "-"
    text = f"{100 * relative:+.1f} %"
    if all(math.isfinite(end) for end in interval):
        text += f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return text

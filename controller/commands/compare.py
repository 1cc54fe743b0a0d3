"""``dpem compare``: allocators in pairs on the same draws, with statistics."""

import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from controller.arena.facts import Facts
    from controller.engines.engine import Engine
    from controller.experiment import Comparison

#: Compared unless others are named; the first is compared with each of the others.
ALLOCATORS = "dpem,on-demand,uniform,mean-rate"


@click.command("compare")
@click.option("--preset", default="paper", show_default=True, help="Arena: a fixed set of cells.")
@click.option("--sample", metavar="N", type=int, help="Only N cells of it, balanced, by key.")
@click.option("--topology", metavar="NAME|FILE,..", help="These networks in every cell.")
@click.option("--demand", metavar="NAME|FILE,..", help="These demands in every cell.")
@click.option(
    "--where", metavar="FACTOR=LEVEL,..", help="Only cells with these levels, as qubits=6."
)
@click.option("--changes", metavar="WISH|FILE", help="Outages: outages:MTBF_S:MTTR_S, or a CSV.")
@click.option("--service-ms", metavar="A,B,..", help="Every cell with these controller delays.")
@click.option(
    "--belief", metavar="nominal,measured", help="Links as specified, as tested, or both."
)
@click.option(
    "--allocators",
    default=ALLOCATORS,
    show_default=True,
    help="Names, the one to judge first; 'all' is every other that is installed.",
)
@click.option("--ladder", is_flag=True, help="The rungs from on-demand to dpem, step by step.")
@click.option("--seeds", default=4, show_default=True, help="Runs of each cell.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first run.")
@click.option("--seconds", default=60.0, show_default=True, help="Network time that is counted.")
@click.option("--warmup", "warmup_s", default=10.0, show_default=True, help="Time before that.")
@click.option(
    "--windowed", metavar="N", default=0, help="The bound in time windows too, for N units."
)
@click.option(
    "--engine",
    default="processes",
    show_default=True,
    metavar="processes|ray",
    help="Who plays: this machine, or a Ray cluster.",
)
@click.option("--ray-address", metavar="ADDRESS", help="Of the cluster; else RAY_ADDRESS, or none.")
@click.option("--processes", type=int, help="How many; all cores by default.")
@click.option("--out", metavar="DIR", help="Its folder; compares/NAME-DIGEST by default.")
@click.option("--anew", is_flag=True, help="Play what is there already once more.")
@click.option("--keep", is_flag=True, help="Keep all that is needed to replay each unit.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@json_option
def command(
    preset: str,
    sample: int | None,
    topology: str | None,
    demand: str | None,
    where: str | None,
    changes: str | None,
    service_ms: str | None,
    belief: str | None,
    allocators: str,
    ladder: bool,
    seeds: int,
    seed: int,
    seconds: float,
    warmup_s: float,
    windowed: int,
    engine: str,
    ray_address: str | None,
    processes: int | None,
    out: str | None,
    anew: bool,
    keep: bool,
    quiet: bool,
    json_path: str | None,
) -> None:
    """Compare allocators on the cells of a preset, or on your own network and demand.

    All play the same draws. The first allocator is compared with each of the others, in pairs,
    with 95 % intervals over networks and seeds. With --ladder the allocators are what dpem is made
    of (on-demand, uniform, mean-rate, with forecasts, with a trained policy, learning), and each
    is compared with the one below it as well. With --belief nominal,measured every cell is played
    twice: controllers believe in the specified fidelities of links, or follow tests of links.

    With --where only cells with certain levels are played: of every factor that it names one of
    the levels given, as in deadline_s=0.3,demand=hotspot,demand=scheduled. Factors are topology,
    demand, deadline_s, cutoff_s, qubits, load_hz and knee_fraction.

    A comparison lives in a folder, with a report, figures and tables. The same command goes on
    where an interrupted one ended, and shows a finished one again; --anew plays it once more.
    """
    from rich.console import Console

    from controller.engines.engine import check_engine, chosen_engine

    check_engine(engine, ray_address)
    from controller.arena.cells import beliefs_in, chosen_cells, service_times
    from controller.arena.facts import facts_of
    from controller.arena.folder import default_folder
    from controller.arena.roster import LADDER, chosen
    from controller.experiment import check

    if seeds < 1:
        raise InputError(f"--seeds must be at least 1, got {seeds}")
    if not 0 <= seed < 2**62 - seeds:
        raise InputError(f"--seed must be between 0 and 2^62, got {seed}")
    if not 0.0 < seconds < math.inf:
        raise InputError(f"--seconds must be > 0, got {seconds:g}")
    if not 0.0 <= warmup_s < math.inf:
        raise InputError(f"--warmup must be >= 0, got {warmup_s:g}")
    if windowed < 0:
        raise InputError(f"--windowed must be at least 0 units, got {windowed}")
    if processes is not None and processes < 1:
        raise InputError(f"--processes must be at least 1, got {processes}")
    cells = chosen_cells(
        preset,
        sample,
        topology,
        demand,
        seed,
        where=where,
        changes=changes,
        service_s=service_times(service_ms),
        beliefs=beliefs_in(belief),
        span_s=(seconds, warmup_s),
    )
    if ladder and allocators != ALLOCATORS:
        raise InputError("--ladder names the allocators itself; leave out --allocators")
    rungs = list(LADDER) if ladder else chosen(allocators)
    names, numbers = check(cells, rungs, range(seed, seed + seeds))
    facts = facts_of(cells, numbers, names, seconds=seconds, warmup_s=warmup_s, windowed=windowed)
    player = chosen_engine(
        engine, processes=processes, address=ray_address, files=facts.files, allocators=names
    )
    path = Path(out) if out else default_folder(topology or preset, facts)
    aside = Console(stderr=True, quiet=quiet)
    wish = {"sample": sample, "topology": topology, "demand": demand, "where": where}
    wish |= {"changes": changes, "service_ms": service_ms, "windowed": windowed}
    wish |= {"belief": belief}
    found = _play(
        facts,
        path,
        aside,
        anew=anew,
        keep=keep,
        processes=processes,
        engine=player,
        ladder=ladder,
    )
    whole = {**msgspec.structs.asdict(found), **wish, "seconds": seconds, "warmup_s": warmup_s}
    title = f"{topology or preset}: {len(cells)} cell{'s' * (len(cells) != 1)}"
    title += (
        f" (a sample of {sample})" if sample is not None else ""
    ) + f", {seeds} seed{'s' * (seeds != 1)}"
    _write(whole, found, path, title)
    write_json(whole, json_path)
    if json_path != "-" and not quiet:
        from controller.arena.text import show

        # A file or a pipe has no width of its own; these tables fit into 100 columns.
        show(found, title, Console(width=None if sys.stdout.isatty() else 100))
        click.echo(f"Report, figures and tables: {path} (open {path / 'report.html'})")


def _play(
    facts: "Facts",
    path: Path,
    aside: "Console",
    *,
    anew: bool,
    keep: bool,
    processes: int | None,
    engine: "Engine | None",
    ladder: bool,
) -> "Comparison":
    """Play what is missing in the folder, and say how to go on where that is interrupted."""
    from controller.arena.folder import Folder
    from controller.arena.watch import watched
    from controller.experiment import compare

    names, total = list(facts.allocators), len(facts.cells) * len(facts.seeds)
    with Folder(path, facts, anew=anew) as folder:
        there = folder.count(keep=keep)
        if there:
            again = "; --anew plays them again" if there == total else ""
            aside.print(f"{there} of {total} units were there{again}", highlight=False)
        missing = [
            (cell, seed)
            for cell, seed in facts.windowed
            if not folder.has(facts.cells[cell], seed, keep=keep)
        ]
        if missing:
            aside.print(
                f"bound in time windows for {len(missing)} of the units to be played; they come "
                "first and take about a quarter of a minute more each, for 100 nodes",
                highlight=False,
                soft_wrap=True,
            )
        try:
            with watched(total, names, there=there, console=aside) as advance:
                return compare(
                    facts.cells,
                    names,
                    facts.seeds,
                    seconds=facts.seconds,
                    warmup_s=facts.warmup_s,
                    processes=processes,
                    engine=engine,
                    folder=folder,
                    keep=keep,
                    windowed=facts.windowed,
                    progress=advance,
                    ladder=ladder,
                )
        except KeyboardInterrupt:
            done = folder.count(keep=keep)
            aside.print(
                f"interrupted: {done} of {total} units are kept in {path}; "
                "the same command goes on from there",
                highlight=False,
                soft_wrap=True,
            )
            raise


def _write(whole: dict[str, Any], found: "Comparison", path: Path, title: str) -> None:
    """Write the result into the folder: JSON, tables, figures, and the report that shows them."""
    from controller.arena.report import write_report
    from controller.arena.tables import write_tables

    write_json(whole, str(path / "result.json"))
    write_tables(found, path)
    shown = "preset seeds seconds warmup_s topology demand where changes sample service_ms windowed"
    asked = {name: whole[name] for name in (*shown.split(), "belief") if name in whole}
    asked["allocators"] = list(found.allocators)
    write_report(found, path, title, asked | {"dpem": version("dpem")})

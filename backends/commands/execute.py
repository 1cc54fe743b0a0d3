"""``dpem execute``: one program on one backend, an ensemble of shots; or a list of programs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.errors import DpemError, InputError, RequestError
from quantum.output import json_option, write_json
from quantum.shipped_racks import rack_path

if TYPE_CHECKING:
    from backends.contract import Backend
    from backends.program_file import Asked


@click.command("execute")
@click.argument("program", metavar="PROGRAM.json|-")
@click.option("--backend", default="analytic", show_default=True, help="Backend to execute it on.")
@click.option("--rack", metavar="FILE", help="Rack file of a laboratory (with --backend lab).")
@click.option(
    "--link",
    metavar="N",
    type=click.IntRange(0),
    help="Link of the rack to measure, counted from 0, where it has several.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of draws."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes to spread big batches over (with --backend aer); results stay the same.",
)
@json_option
def command(
    program: str,
    backend: str,
    rack: str | None,
    link: int | None,
    seed: int,
    processes: int,
    json_path: str | None,
) -> None:
    """Execute one program and estimate the fidelity of the pair it makes.

    One link is a pair, k links are a chain joined by k-1 swaps, or a GHZ state of k+1 nodes. Every
    shot makes the pair anew and tests it in XX, YY or ZZ at random: an ensemble, unlike 'dpem run',
    where a pair gives one test. With a clock every shot is a delivery, played in time.

    A file {"programs": [...]} executes each; exit code 1 if one of them could not be executed.
    """
    from backends.commands import open_backend
    from backends.program_file import Asked, read_programs

    asked = read_programs(_read(program))
    opened = open_backend(backend, str(rack_path(rack)) if rack else None, processes, link)
    try:
        if isinstance(asked, Asked):
            result = _one(asked, opened, seed)
            write_json(result, json_path)
            if json_path != "-":
                _show(result)
            return
        results = _all(asked, opened, seed)
    finally:
        opened.close()
    write_json({"backend": opened.name, "programs": results}, json_path)
    if json_path != "-":
        _show_all(results)
    if any("error" in result for result in results):
        raise click.exceptions.Exit(1)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong


def _one(asked: "Asked", backend: "Backend", seed: int) -> dict[str, Any]:
    """Execute one program, with a bar on a terminal where it is played delivery by delivery."""
    from rich.console import Console
    from rich.progress import Progress

    from backends.ensemble import run

    test = asked.program.measure
    shots = 0 if test is None else test.shots
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    try:
        with bar:
            task = bar.add_task(f"{shots} shots on {backend.name}", total=shots)
            return run(asked, backend, seed, lambda done: bar.advance(task, done))
    except RequestError as wrong:
        raise InputError(f"program: {wrong}") from wrong


def _all(
    programs: "list[Asked | InputError]", backend: "Backend", seed: int
) -> list[dict[str, Any]]:
    """Execute each program that can be; an error stands in the place of the others."""
    from rich.console import Console
    from rich.progress import track

    from backends.ensemble import run
    from quantum.seeding import generator

    out: list[dict[str, Any]] = []
    bar = track(
        programs,
        f"{len(programs)} programs on {backend.name}",
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    for number, asked in enumerate(bar):
        try:
            if isinstance(asked, InputError):
                raise asked
            own = int(generator(seed, "program", number).integers(2**63 - 1))
            out.append(run(asked, backend, own))
        except DpemError as wrong:
            where = f"programs[{number}]"
            text = str(wrong)
            out.append({"error": text if text.startswith(where) else f"{where}: {text}"})
    return out


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    guess, exact = result["estimate"], result["exact"]
    table = Table(title=f"program on {result['backend']} ({result['source']})", show_header=False)
    table.add_row("fidelity, estimated", f"{guess.best:.5f}")
    table.add_row(f"{guess.confidence:.0%} interval", f"{guess.low:.5f} to {guess.high:.5f}")
    if exact is not None:
        fidelity = exact["fidelity"]
        table.add_row(
            "fidelity, exact", "never succeeds" if fidelity is None else f"{fidelity:.9f}"
        )
        table.add_row("success probability", f"{exact['success_probability']:.9g}")
    if len(result["counts"]) == 3:
        for basis, tally in result["counts"].items():
            table.add_row(f"{basis} pass / fail", f"{tally.passed} / {tally.failed}")
    if "timing" in result:
        _add_timing(table, result["timing"])
    key = result.get("key", {}).get("exact")
    if key is not None:
        errors = ", ".join(f"{basis} {error:.4f}" for basis, error in key["qber"].items())
        table.add_row("QBER, exact", errors)
        table.add_row(
            "key fraction, exact",
            f"BB84 {key['bb84_fraction']:.4f}, six-state {key['six_state_fraction']:.4f}",
        )
    Console().print(table)


def _add_timing(table: Any, timing: dict[str, Any]) -> None:
    error = timing["standard_error_s"]
    table.add_row(
        "time to a pair",
        f"{timing['mean_s']:.6g} s" + ("" if error is None else f" +- {error:.2g} s"),
    )
    between = ", ".join(
        f"{float(chance):.0%} {seconds:.4g} s" for chance, seconds in timing["quantiles_s"].items()
    )
    table.add_row("quantiles", between)
    table.add_row("pairs per second", f"{timing['rate_hz']:.6g}")
    table.add_row("attempts to a pair", f"{timing['mean_attempts']:.6g}")


def _show_all(results: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("program", "estimated", "interval", "exact", "success", title="programs")
    console = Console()
    for number, result in enumerate(results):
        if "error" in result:
            table.add_row(str(number), "error, see below")
            continue
        guess, exact = result["estimate"], result["exact"]
        fidelity = None if exact is None else exact["fidelity"]
        table.add_row(
            str(number),
            f"{guess.best:.5f}",
            f"{guess.low:.5f} to {guess.high:.5f}",
            "" if fidelity is None else f"{fidelity:.9f}",
            "" if exact is None else f"{exact['success_probability']:.6g}",
        )
    console.print(table)
    for result in results:
        if "error" in result:
            console.print(result["error"], style="red", markup=False, highlight=False)

"""``dpem netbench``: the fidelity of a link by network benchmarking."""

import sys
from pathlib import Path
from typing import Any

import click

from quantum.errors import InputError, RequestError
from quantum.output import json_option, write_json


@click.command("netbench")
@click.argument("program", metavar="PROGRAM.json|-")
@click.option(
    "--backend", default="analytic", show_default=True, help="Simulator: analytic or aer."
)
@click.option("--lengths", default="0,1,2,4,8,16,32", show_default=True, help="Numbers of bounces.")
@click.option("--sequences", default=100, show_default=True, help="Random sequences of a length.")
@click.option("--shots", default=100, show_default=True, help="Shots of each sequence.")
@click.option(
    "--preparation-error", default=0.0, show_default=True, help="Chance that |1> is prepared."
)
@click.option(
    "--readout-error", default=0.0, show_default=True, help="Chance that the end is read wrong."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of draws."
)
@json_option
def command(
    program: str,
    backend: str,
    lengths: str,
    sequences: int,
    shots: int,
    preparation_error: float,
    readout_error: float,
    seed: int,
    json_path: str | None,
) -> None:
    """Bounce a qubit over the path of a program and estimate the fidelity of one passage.

    The program file is that of 'dpem execute'. Several links are a path: the qubit is teleported
    from node to node to its far end and back, and turned by a random Clifford at each node. How
    fast it decays tells the fidelity of the links, whatever preparation and final readout do; the
    file's readout error is that of the Bell measurements, which is part of the links.
    """
    from rich.console import Console
    from rich.progress import Progress

    from backends.bouncing import Spam
    from backends.netbench import open_simulator, run
    from quantum.program import Swap

    known = _integers(lengths)
    asked = _program(program)
    spam = Spam(preparation_error, readout_error, readout_error)
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    try:
        simulator = open_simulator(backend)
        with bar:
            links = 1 + sum(isinstance(step, Swap) for step in asked.steps)
            task = bar.add_task(
                f"bounces on {simulator.name}", total=2 * links * sum(known) * sequences
            )
            result = run(
                asked,
                simulator,
                lengths=known,
                sequences=sequences,
                shots=shots,
                seed=seed,
                spam=spam,
                progress=lambda hops: bar.advance(task, hops),
            )
    except RequestError as wrong:
        raise InputError(f"program: {wrong}") from wrong
    write_json(result, json_path)
    if json_path != "-":
        _show(result)


def _program(path: str) -> Any:
    from backends.program_file import Asked, read_programs

    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    asked = read_programs(data)
    if not isinstance(asked, Asked):
        raise InputError("program: a file of one program is needed, this one has 'programs'")
    if asked.clock is not None:
        raise InputError("program.clock has no meaning where a qubit is bounced: leave it out")
    return asked.program


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"lengths must be whole numbers with commas, got {text!r}") from None


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    found, exact = result["estimate"], result["exact"]
    links = result["links"]
    path = "1 link" if links == 1 else f"a path of {links} links"
    table = Table(
        "one passage",
        "estimate",
        f"{found.confidence:.0%} interval",
        "exact",
        title=f"{path} on {result['backend']} ({result['source']})",
    )
    for name, key in (
        ("decay f", "f"),
        ("average fidelity (1+f)/2", "average_fidelity"),
        ("link fidelity (1+3f)/4", "link_fidelity"),
    ):
        value = getattr(found, key)
        table.add_row(
            name, f"{value.best:.5f}", f"{value.low:.5f} to {value.high:.5f}", f"{exact[key]:.9f}"
        )
    table.add_row(
        "preparation and readout A", f"{found.amplitude:.5f}", "", f"{exact['amplitude']:.9f}"
    )
    table.add_row(
        "average fidelity, uncorrected", f"{result['one_passage_uncorrected']:.5f}", "", ""
    )
    console = Console()
    console.print(table)
    decay = Table("bounces", "survival", "exact")
    for row in result["survival"]:
        decay.add_row(str(row["bounces"]), f"{row['mean']:.5f}", f"{row['exact']:.5f}")
    console.print(decay)

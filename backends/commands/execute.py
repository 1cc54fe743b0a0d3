"""``dpem execute``: one program on one backend, an ensemble of shots."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.errors import InputError, RequestError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from backends.contract import Truth
    from quantum.program import Program


@click.command("execute")
@click.argument("program", metavar="PROGRAM.json|-")
@click.option("--backend", default="analytic", show_default=True, help="Backend to execute it on.")
@click.option("--rack", metavar="FILE", help="Rack file of a laboratory (with --backend lab).")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of draws."
)
@json_option
def command(program: str, backend: str, rack: str | None, seed: int, json_path: str | None) -> None:
    """Execute one program and estimate the fidelity of the pair it makes.

    One link is a pair, k links are a chain joined by k-1 swaps. Every shot makes the pair anew and
    tests it in XX, YY or ZZ at random: an ensemble, unlike 'dpem run', where a pair gives one test.
    """
    from backends.commands import open_backend
    from backends.program_file import read_program

    parsed = read_program(_read(program))
    opened = open_backend(backend, rack) if rack else open_backend(backend)
    try:
        result = execute(parsed, opened, seed)
    except RequestError as wrong:
        raise InputError(f"program: {wrong}") from wrong
    finally:
        opened.close()
    write_json(result, json_path)
    if json_path != "-":
        _show(result)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong


def execute(program: "Program", backend: Any, seed: int) -> dict[str, Any]:
    """Run a checked program and return the result with the keys of ``dpem execute --json``."""
    from backends.contract import plan_of
    from quantum.batch import stack
    from quantum.counts import Counts
    from quantum.estimate import estimate
    from quantum.seeding import generator

    ((_, batch),) = stack([program])
    outcome = backend.run(batch, plan_of([program]), generator(seed, "execute"))
    counts = Counts.from_array(outcome.counts[0])
    return {
        "backend": backend.name,
        "exact": None if outcome.truth is None else _exact(outcome.truth),
        "counts": counts,
        "estimate": estimate(counts),
        "source": outcome.source,
        "seed": seed,
    }


def _exact(truth: "Truth") -> dict[str, Any]:
    """Return what the simulator knows; a pair that never exists has no fidelity."""
    from quantum.bell import BELL_STATES

    success = float(truth.success[0])
    weights = [float(w) for w in truth.populations[0]]
    return {
        "fidelity": weights[0] if success > 0.0 else None,
        "success_probability": success,
        "bell_diagonal": dict(zip(BELL_STATES, weights, strict=True)) if success > 0.0 else None,
    }


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    guess, counts, exact = result["estimate"], result["counts"], result["exact"]
    table = Table(title=f"program on {result['backend']} ({result['source']})", show_header=False)
    table.add_row("fidelity, estimated", f"{guess.best:.5f}")
    table.add_row(f"{guess.confidence:.0%} interval", f"{guess.low:.5f} to {guess.high:.5f}")
    for basis in ("xx", "yy", "zz"):
        tally = getattr(counts, basis)
        table.add_row(f"{basis} pass / fail", f"{tally.passed} / {tally.failed}")
    if exact is not None:
        fidelity = exact["fidelity"]
        table.add_row(
            "fidelity, exact", "never succeeds" if fidelity is None else f"{fidelity:.9f}"
        )
        table.add_row("success probability", f"{exact['success_probability']:.9g}")
    Console().print(table)

"""``dpem show``: a program as an ordinary Qiskit circuit."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from quantum.program import Program

#: Columns of a drawing that goes into a file or a pipe.
_COLUMNS = 160


@click.command("show")
@click.argument("program", metavar="PROGRAM.json|-")
@click.option(
    "--basis", metavar="LABEL", help="Stabilizer tested at the end: xx, yy or zz  [default: zz]."
)
@click.option("--qasm", is_flag=True, help="Print OpenQASM 3 instead (without noise only).")
@click.option(
    "--mpl", "picture", metavar="FILE", help="Draw into a .png, .svg or .pdf file instead."
)
@json_option
def command(
    program: str, basis: str | None, qasm: bool, picture: str | None, json_path: str | None
) -> None:
    """Draw a program as a circuit, noise included.

    The circuit is an ordinary one: run on a stock AerSimulator it gives what 'dpem execute' gives.
    Registers of GHZ states are tested in a stabilizer such as xxx, zzi or yxy.
    """
    from backends.aer.circuit import circuit_of

    asked = _program(program)
    circuit = circuit_of(asked, basis)
    facts = describe(circuit, asked)
    write_json(facts, json_path)
    if qasm:
        click.echo(_qasm(circuit, facts))
    elif picture is not None:
        _draw(circuit, picture)
    elif json_path != "-":
        terminal = sys.stdout.isatty()
        columns = shutil.get_terminal_size().columns if terminal else _COLUMNS
        click.echo(str(circuit.draw("text", fold=columns, vertical_compression="high")))
        for note in facts["notes"]:
            click.echo(f"note: {note}")


def describe(circuit: Any, program: "Program") -> dict[str, Any]:
    """Return the facts of a circuit with the keys of ``dpem show --json``."""
    noise = [one.operation.label for one in circuit.data if one.operation.name in _NOISE]
    return {
        "qubits": circuit.num_qubits,
        "bits": circuit.num_clbits,
        "depth": circuit.depth(),
        "ops": dict(circuit.count_ops()),
        "noise": {label: noise.count(label) for label in dict.fromkeys(noise)},
        "registers": {register.name: register.size for register in circuit.cregs},
        "heralds": circuit.metadata["heralds"],
        "basis": circuit.metadata["basis"],
        "sign": circuit.metadata["sign"],
        "notes": _notes(circuit, program),
    }


_NOISE = ("quantum_channel", "kraus")


def _notes(circuit: Any, program: "Program") -> list[str]:
    sign = circuit.metadata["sign"]
    notes = [
        f"the test of {circuit.metadata['basis']} passes where the bits of 'test' hold an "
        f"{'even' if sign > 0 else 'odd'} number of ones"
    ]
    for name, rule in circuit.metadata["heralds"].items():
        accepts = "both bits read 1" if rule == "ones" else "its bits are equal"
        notes.append(f"{name} accepts a shot where {accepts}")
    joins = sum(name.startswith(("swap", "merge")) for name in (r.name for r in circuit.cregs))
    if program.gates.success < 1.0 and joins:
        notes.append(
            f"not drawn: a swap or merge succeeds with chance {program.gates.success:g}, which is "
            f"heralded (the circuit has {joins})"
        )
    return notes


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
        raise InputError("program.clock: waits that come out in time cannot be drawn: leave it out")
    return asked.program


def _qasm(circuit: Any, facts: dict[str, Any]) -> str:
    from qiskit import qasm3

    if facts["noise"]:
        labels = ", ".join(facts["noise"])
        raise InputError(f"qasm has no noise, and this circuit has some: {labels}")
    return str(qasm3.dumps(circuit))


def _draw(circuit: Any, picture: str) -> None:
    from qiskit.exceptions import MissingOptionalLibraryError

    if Path(picture).suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"mpl must name a .png, .svg or .pdf file, got {picture}")
    try:
        drawn = circuit.draw("mpl", fold=-1)
    except MissingOptionalLibraryError as missing:
        raise InputError(
            f"mpl needs more packages: {' '.join(missing.message.split())}"
        ) from missing
    try:
        drawn.savefig(picture)
    except OSError as wrong:
        raise InputError(f"cannot write {picture}: {wrong.strerror}") from wrong

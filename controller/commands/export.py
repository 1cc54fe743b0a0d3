"""``dpem export``: a run record as tables or as one JSON document."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from quantum.record import Record

__all__ = ["command"]


@click.command("export")
@click.argument("run", metavar="[RUN]", required=False)
@click.option(
    "--format",
    "wanted",
    type=click.Choice(["parquet", "csv", "json"]),
    default="parquet",
    show_default=True,
    help="Tables as Parquet or CSV files, or one JSON document.",
)
@click.option(
    "--out", metavar="PATH", help="Folder of the tables, or file of the JSON ('-': output)."
)
@click.option("--schema", is_flag=True, help="Write the JSON Schema of the document instead.")
@json_option
def command(
    run: str | None, wanted: str, out: str | None, schema: bool, json_path: str | None
) -> None:
    """Write the run record RUN as tables for other tools, or as JSON with a schema.

    The record is verified first. Tables are pairs, decisions, rounds and summary, in RUN-export
    beside it unless --out says otherwise: nothing is added to a sealed folder.
    """
    if json_path == "-" and (out == "-" or (schema and out is None)):
        raise InputError("--json - is for what was exported: give --out a file or folder")
    if schema:
        if run is not None:
            raise InputError("--schema is the same for all runs: leave RUN out")
        from controller.exported import schema as schema_of

        _write(schema_of(), out or "-")
        write_json({"schema": True, "files": _sizes(out)}, json_path)
        return
    if run is None:
        raise InputError("RUN must be given: the folder of a run, or --schema")
    if out == "-" and wanted != "json":
        raise InputError("--out - is for --format json: tables are several files")
    from quantum.record import read

    record = read(Path(run))
    target = out or f"{Path(run).resolve()}-export{'.json' if wanted == 'json' else ''}"
    if target != "-" and Path(target).resolve().is_relative_to(Path(run).resolve()):
        raise InputError(f"--out must not be inside of {run}: it is sealed")
    if wanted == "json":
        from controller.exported import document_of

        _write(document_of(record), target)
    else:
        _tables(record, Path(target), wanted)
    told = {"run": run, "format": wanted, "out": target, "files": _sizes(target)}
    write_json(told, json_path)
    if target != "-" and json_path != "-":
        click.echo(f"{run} is exported to {target}")


def _sizes(target: str | None) -> dict[str, int]:
    """Return the bytes of each file that was written, by its name."""
    if target in (None, "-"):
        return {}
    path = Path(str(target))
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.stat().st_size for file in files if file.is_file()}


def _tables(record: "Record", folder: Path, wanted: str) -> None:
    from controller.export_tables import tables_of, write_table

    tables = tables_of(record)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise InputError(f"cannot write {folder}: {wrong.strerror}") from wrong
    for name, table in tables.items():
        write_table(table, folder / f"{name}.{wanted}")


def _write(value: dict[str, Any], target: str) -> None:
    if target != "-" and Path(target).is_dir():
        raise InputError(f"cannot write {target}: it is a folder")
    write_json(value, target)
    sys.stdout.flush()

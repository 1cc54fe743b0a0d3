"""``dpem audit``: verify what a service wrote down."""

import click

from quantum.output import json_option, write_json

__all__ = ["command"]


@click.group("audit")
def command() -> None:
    """Verify the journal of a service: its hash chain, and that nothing was done twice."""


@command.command("verify")
@click.argument("journal", metavar="FILE")
@json_option
def verify(journal: str, json_path: str | None) -> None:
    """Verify the hash chain of a journal; the first row that is wrong is named.

    Logs of a rack are verified by dpem lab audit.
    """
    from pathlib import Path

    from controller.service.chain import read

    rows = entries = 0
    for _, found in read(Path(journal)):
        rows, entries = rows + 1, entries + len(found)
    write_json({"file": journal, "rows": rows, "entries": entries}, json_path)
    if json_path != "-":
        click.echo(f"{journal}: {rows} rows, {entries} entries, the chain holds")


@command.command("check")
@click.argument("journal", metavar="FILE")
@json_option
def check(journal: str, json_path: str | None) -> None:
    """Prove from a journal that no request was carried out twice and no pair handed out twice."""
    from pathlib import Path

    from controller.service.checking import check as prove

    proof = prove(Path(journal))
    write_json({"file": journal, **proof._asdict()}, json_path)
    if json_path != "-":
        click.echo(
            f"{journal}: {proof.answers} answers, {proof.granted} granted, {proof.pairs} pairs, "
            f"{proof.starts} starts: no request was carried out twice, no pair handed out twice"
        )
        if proof.changes:
            click.echo(
                f"{proof.changes} changes of the network: every start stands where the last one "
                "ended, and no pair of a node that had left was handed out"
            )
        if proof.jobs:
            click.echo(
                f"{proof.jobs} jobs, {proof.executed} pairs executed, {proof.expired} expired, "
                f"{proof.open} under way: no job left twice, no pair expired twice or was executed "
                "and expired"
            )


@command.command("regions")
@click.argument("folder", metavar="FOLDER")
@json_option
def regions(folder: str, json_path: str | None) -> None:
    """Prove from the journals of all regions that no pair between them was lost or used twice."""
    from pathlib import Path

    from controller.regions.checking import check_regions, journals_in

    proof = check_regions(journals_in(Path(folder)))
    write_json({"folder": folder, **proof._asdict()}, json_path)
    if json_path != "-":
        click.echo(
            f"{folder}: {proof.regions} regions, {proof.granted} requests granted across, "
            f"{proof.pairs} pairs of {proof.used} legs ({proof.spent} spent without a pair, "
            f"{proof.let_go} let go of): nothing was used twice"
        )

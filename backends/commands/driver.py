"""``dpem conformance driver``: does a driver keep its contract, on a stub or on the instrument?"""

from typing import TYPE_CHECKING

import click

from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from backends.drivers.conformance import Finding

__all__ = ["command"]


@click.command("driver")
@click.argument("kind")
@click.option(
    "--address", metavar="tcp://HOST:PORT", help="The instrument; a stub of our own unless given."
)
@json_option
def command(kind: str, address: str | None, json_path: str | None) -> None:
    """Check the driver of instrument KIND; exit code 1 if a check fails.

    The light should be on. The instrument is left in its safe state.
    """
    from backends.rack import StubProcess, driver_of

    driver_of(kind)
    if address is None:
        with StubProcess(kind, []) as stub:
            findings = _check(kind, stub.address)
    else:
        findings = _check(kind, address)
    ok = all(finding.passed for finding in findings)
    rows = [{"name": f.check, "ok": f.passed, "detail": f.detail} for f in findings]
    report = {"driver": kind, "address": address or "stub", "ok": ok, "checks": rows}
    write_json(report, json_path)
    if json_path != "-":
        _show(kind, findings)
    if not ok:
        raise click.exceptions.Exit(1)


def _check(kind: str, address: str) -> "list[Finding]":
    from backends.drivers.conformance import check_pair_tester
    from backends.rack import driver_of

    return check_pair_tester(lambda: driver_of(kind)(address))


def _show(kind: str, findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "", "detail", title=f"conformance of driver {kind}")
    for finding in findings:
        table.add_row(finding.check, "ok" if finding.passed else "FAILED", finding.detail)
    Console().print(table)

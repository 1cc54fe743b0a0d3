"""``dpem conformance driver``: does a driver keep its contract, on a stub or on the instrument?"""

from typing import TYPE_CHECKING, Any

import click

from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from backends.drivers.conformance import Finding, Subject

__all__ = ["command"]

#: What makes a stub fast enough for a check: bench seconds in a second.
_SPEEDS = {"apt": "50"}


@click.command("driver")
@click.argument("kind")
@click.option(
    "--address",
    metavar="ADDRESS",
    help="The instrument, such as tcp://HOST:PORT; a stub of our own unless given.",
)
@click.option(
    "--allow-actions",
    is_flag=True,
    help="Let the checks switch, move and bias the instrument at the address.",
)
@click.option(
    "--ports",
    default="1:17,2:18",
    show_default=True,
    help="Two connections that an optical switch may make, INPUT:OUTPUT.",
)
@json_option
def command(
    kind: str, address: str | None, allow_actions: bool, ports: str, json_path: str | None
) -> None:
    """Check the driver of instrument KIND; exit code 1 if a check fails.

    On an instrument only questions are asked, unless actions are allowed or it says that it is a
    stub; what was not checked is said. A pair tester needs light. An instrument that may be acted
    on is left in its safe state.
    """
    from backends.rack import StubProcess, driver_of

    new_driver = driver_of(kind)
    given = _ports(ports)
    if address is None:
        options = ["--speed", _SPEEDS[kind]] if kind in _SPEEDS else []
        with StubProcess(kind, options) as stub:
            findings = _on_stub(kind, new_driver, stub, given)
    else:
        findings = _on_address(new_driver, address, allow_actions, given)
    ok = all(finding.passed for finding in findings)
    rows = [
        {"name": f.check, "ok": f.passed, "verdict": f.verdict, "detail": f.detail or f.skipped}
        for f in findings
    ]
    report = {"driver": kind, "address": address or "stub", "ok": ok, "checks": rows}
    write_json(report, json_path)
    if json_path != "-":
        _show(kind, findings)
    if not ok:
        raise click.exceptions.Exit(1)


def _on_stub(kind: str, new_driver: Any, stub: Any, ports: Any) -> "list[Finding]":
    from backends.drivers.conformance import Subject, check_driver
    from backends.rack_trouble import StubTrouble

    trouble = StubTrouble(kind, stub.control)
    return check_driver(Subject(new_driver, stub.address, acts=True, trouble=trouble, ports=ports))


def _on_address(new_driver: Any, address: str, acts: bool, ports: Any) -> "list[Finding]":
    from backends.drivers.conformance import Subject, check_driver

    subject = Subject(new_driver, address, acts=acts, ports=ports)
    subject.acts = acts or _is_stub(subject)
    return check_driver(subject)


def _is_stub(subject: "Subject") -> bool:
    with subject.opened() as driver:
        return bool(driver.identify().is_stub)


def _ports(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    from quantum.errors import InputError

    pairs = [part.partition(":") for part in text.split(",")]
    if len(pairs) != 2 or not all(a.isdigit() and b.isdigit() for a, _, b in pairs):
        raise InputError(f"--ports must be INPUT:OUTPUT,INPUT:OUTPUT, got {text!r}")
    (a, _, x), (b, _, y) = pairs
    return (int(a), int(x)), (int(b), int(y))


def _show(kind: str, findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "", "detail", title=f"conformance of driver {kind}")
    for finding in findings:
        loud = finding.verdict.upper() if finding.verdict == "failed" else finding.verdict
        table.add_row(finding.check, loud, finding.detail or finding.skipped)
    Console().print(table)

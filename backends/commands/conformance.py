"""``dpem conformance``: does a backend or a driver keep its contract?"""

import importlib
import importlib.util
from functools import partial
from typing import TYPE_CHECKING

import click

from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from backends.conformance import Check


class Kits(click.Group):
    """Finds the conformance kits; that of drivers is loaded where it is installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the kits that are there."""
        names = list(super().list_commands(ctx))
        return sorted([*names, "driver"] if _driver_kit() else names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a kit, or return None where there is no such kit."""
        if cmd_name == "driver" and _driver_kit():
            command = getattr(importlib.import_module(_DRIVERS), "command", None)
            return command if isinstance(command, click.Command) else None
        return super().get_command(ctx, cmd_name)


_DRIVERS = "backends.commands.driver"


def _driver_kit() -> bool:
    try:
        return importlib.util.find_spec(_DRIVERS) is not None
    except ModuleNotFoundError:
        return False


@click.group("conformance", cls=Kits)
def command() -> None:
    """Check that a backend or a driver keeps its contract."""


@command.command("backend")
@click.argument("name")
@click.option(
    "--deadline-s",
    type=click.FloatRange(min=0.0, min_open=True, max=86400.0),
    default=60.0,
    show_default=True,
    help="How long one check may take.",
)
@json_option
def backend(name: str, deadline_s: float, json_path: str | None) -> None:
    """Check the backend NAME against systems with closed answers; exit code 1 if a check fails.

    It runs in a process of its own; a check that hangs fails, and the rest is not checked. What a
    backend says that it cannot do is "refused", which is allowed.
    """
    from backends.commands import open_backend
    from backends.conformance import check_isolated

    checks = check_isolated(partial(open_backend, name), deadline_s)
    ok = all(check.ok for check in checks)
    rows = [{"name": c.name, "ok": c.ok, "verdict": c.verdict, "detail": c.detail} for c in checks]
    write_json({"backend": name, "ok": ok, "checks": rows}, json_path)
    if json_path != "-":
        _show(name, checks)
    if not ok:
        raise click.exceptions.Exit(1)


def _show(name: str, checks: "list[Check]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("check", "", "detail", title=f"conformance of backend {name}")
    for check in checks:
        loud = check.verdict.upper() if check.verdict == "failed" else check.verdict
        table.add_row(check.name, loud, check.detail)
    Console().print(table)

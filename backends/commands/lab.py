"""``dpem lab``: the instruments of a rack and the safety of a rack, for people."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quantum.errors import DeviceError, InputError
from quantum.output import json_option, write_json
from quantum.shipped_racks import rack_path

if TYPE_CHECKING:
    from backends.supervisor.messages import Report, Stopped

__all__ = ["command"]

_RACK = click.argument(
    "rack", metavar="RACK.toml", callback=lambda _, __, wanted: rack_path(wanted)
)
_KEY = click.option(
    "--key", metavar="FILE", type=click.Path(path_type=Path), help="Key file; else the local key."
)
_REASON = click.option("--reason", required=True, help="Why; it goes into the audit log.")


@click.group("lab")
def command() -> None:
    """Check, stop, re-arm and watch the instruments of a rack.

    Not a certified safety function: see docs/safety.md.
    """


@command.command("check")
@_RACK
@json_option
def check(rack: Path, json_path: str | None) -> None:
    """Say which instruments of RACK.toml are connected and healthy; exit code 1 if one is not.

    Asks a running supervisor if there is one. Nothing is changed on any instrument.
    """
    from backends.supervisor.checking import check_rack

    rows = check_rack(rack)
    ok = all(row["ok"] for row in rows)
    write_json({"rack": str(rack), "ok": ok, "instruments": rows}, json_path)
    if json_path != "-":
        _table(
            f"rack {rack}",
            ("instrument", "kind", "address", "", "detail"),
            [
                (r["name"], r["kind"], r["address"], "ok" if r["ok"] else "FAILED", r["detail"])
                for r in rows
            ],
        )
    if not ok:
        raise click.exceptions.Exit(1)


@command.command("status")
@_RACK
@_KEY
@json_option
def status(rack: Path, key: Path | None, json_path: str | None) -> None:
    """Say how RACK.toml stands: mode, latch, lease, what was read back. Exit code 1 if latched."""
    from backends.supervisor.client import status as ask
    from backends.supervisor.places import place_of, read_endpoint, read_kept
    from quantum.rack import load_rack

    load_rack(rack)
    place = place_of(rack)
    at = read_endpoint(place)
    if at is None:
        kept = read_kept(place)
        latched = kept.latched or ("a supervisor ended without a word" if kept.active else "")
        said: dict[str, Any] = {"running": False, "mode": kept.mode, "latched": latched}
        said["token"] = kept.token
    else:
        said = {"running": True, **_plain(ask(rack, key)), "controls": at.controls}
        said["processes"] = {"guardian": at.guardian, "supervisor": at.supervisor}
    said["log_file"] = str(place / "audit.jsonl")
    write_json(said, json_path)
    if json_path != "-":
        _table(f"rack {rack}", ("", ""), [(k, _text(v)) for k, v in said.items()])
    if said["latched"]:
        raise click.exceptions.Exit(1)


@command.command("estop")
@_RACK
@_KEY
@click.option("--reason", default="stopped by hand", show_default=True)
@json_option
def estop(rack: Path, key: Path | None, reason: str, json_path: str | None) -> None:
    """Emergency stop: latch RACK.toml and bring it into its safe state, now.

    Exit code 1 if an instrument could not be read back as safe.
    """
    from backends.supervisor.client import estop as stop

    done: Stopped = stop(rack, reason, key)
    said = _plain(done)
    write_json(said, json_path)
    if json_path != "-":
        click.echo(f"last command written after {done.written_ms:.1f} ms")
        _table("read back", ("instrument", "state"), list(done.read_back.items()))
    if not done.safe:
        raise click.exceptions.Exit(1)


@command.command("rearm")
@_RACK
@_KEY
@_REASON
@json_option
def rearm(rack: Path, key: Path | None, reason: str, json_path: str | None) -> None:
    """Undo the latch of RACK.toml: a person's act, with a key of role arm and a reason."""
    from backends.supervisor.rearming import rearm as undo

    why = undo(rack, reason, key)
    write_json({"rack": str(rack), "was_latched": why, "reason": reason}, json_path)
    if json_path != "-":
        click.echo(f"armed again; it was latched because: {why}")


@command.command("supervise")
@_RACK
@click.option(
    "--mode",
    type=click.Choice(["sim", "stub", "shadow", "armed"]),
    default="stub",
    show_default=True,
    help="sim: stubs in the place of all; shadow: instruments are only read; armed: instruments.",
)
@_KEY
@json_option
def supervise(rack: Path, mode: str, key: Path | None, json_path: str | None) -> None:
    """Run the supervisor of RACK.toml until Ctrl-C; runs on this rack then use it.

    Shadow and armed open real instruments: they need a key of role arm. --json is written when the
    rack can be used.
    """
    from backends.supervisor.launching import Launched
    from backends.supervisor.places import place_of
    from backends.supervisor.rearming import check_person
    from quantum.rack import load_rack

    check_person(load_rack(rack), mode, key)
    launched = Launched(rack, mode)
    place = place_of(rack)
    write_json({"rack": str(rack), "mode": mode, "state": str(place)}, json_path)
    if json_path != "-":
        click.echo(f"supervising {rack} in mode {mode}; state and log in {place}")
        sys.stdout.flush()
    try:
        while launched.running:
            time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        launched.close(10.0)
    if launched.code:
        raise DeviceError("the supervisor was lost; the guardian made the rack safe and latched it")


@command.command("key")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Whose key it is.")
@click.option(
    "--role", type=click.Choice(["observe", "operate", "arm"]), default="arm", show_default=True
)
@json_option
def key(file: Path, name: str, role: str, json_path: str | None) -> None:
    """Make a key FILE (mode 0600) and print the lines by which a rack file knows it."""
    from backends.supervisor.keys import new_key

    pair = new_key(file)
    said = {"file": str(file), "name": name, "role": role, "public": pair.public}
    write_json(said, json_path)
    if json_path == "-":
        return
    click.echo(
        f'[[safety.key]]\nname = "{name}"\nrole = "{role}"\npublic = {json.dumps(pair.public)}'
    )


@command.command("audit")
@click.argument("file", callback=lambda _, __, wanted: rack_path(wanted))
@json_option
def audit(file: Path, json_path: str | None) -> None:
    """Verify the hash chain of an audit log, or of a rack's (give RACK.toml)."""
    from backends.supervisor.audit import verify
    from backends.supervisor.places import place_of

    path = place_of(file) / "audit.jsonl" if file.suffix == ".toml" else file
    if not path.exists():
        raise InputError(f"cannot read {path}: no such file")
    found = verify(path)
    write_json({"file": str(path), "lines": found.lines, "head": found.head}, json_path)
    if json_path != "-":
        click.echo(f"{path}: {found.lines} lines, chain holds, head {found.head}")


def _plain(message: "Report | Stopped") -> dict[str, Any]:
    import msgspec

    said: dict[str, Any] = msgspec.to_builtins(message, builtin_types=(bytes,))
    return {name: value for name, value in said.items() if name not in ("rid", "type")}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console().print(table)

"""``dpem keys``: who may speak to brokers and services, by keys of their own."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json
from quantum.roles import Role

if TYPE_CHECKING:
    from controller.security.keys import PublicKey

__all__ = ["command"]

_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Folder of keys (mode 0700); else keys in $DPEM_STATE or the user's state folder.",
)


@click.group("keys")
def command() -> None:
    """Make, list and revoke the keys by which brokers know who speaks.

    NAME.key is secret and stays where it is; NAME.pub is what a broker needs in its key folder.
    """


@command.command("new")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(get_args(Role)), help="What it may do.")
@_FOLDER
@json_option
def new(name: str, role: Role, folder: Path | None, json_path: str | None) -> None:
    """Make a key called NAME.

    observe, request, operate and arm are for people and programs, each may do what those before it
    may; agent, worker and broker are for the parts of a network.
    """
    from controller.security.keys import default_folder, new_key

    place = folder or default_folder()
    key = new_key(place, name, role)
    write_json(_told(key, place), json_path)
    if json_path != "-":
        click.echo(f"{place / name}.key  secret: leave it here")
        click.echo(f"{place / name}.pub  {role}: give it to whoever runs the broker")


@command.command("list")
@_FOLDER
@json_option
def show(folder: Path | None, json_path: str | None) -> None:
    """List the keys that a broker with this folder admits, and those that were revoked.

    The exit code is 1 where a file is broken; its key is not admitted.
    """
    from controller.security.keyring import read_folder
    from controller.security.keys import default_folder

    place = folder or default_folder()
    keys, troubles = read_folder(place)
    rows = [_told(key, place) for key in sorted(keys, key=lambda k: (bool(k.revoked), k.name))]
    write_json({"folder": str(place), "keys": rows, "troubles": troubles}, json_path)
    if json_path != "-":
        _table(place, keys, troubles)
    if troubles:
        raise click.exceptions.Exit(1)


@command.command("revoke")
@click.argument("name")
@_FOLDER
@json_option
def revoke(name: str, folder: Path | None, json_path: str | None) -> None:
    """Strike the key called NAME off the list for good.

    Brokers that run notice within a second, refuse its messages and cut its connections.
    """
    from controller.security.keys import default_folder, revoke_key

    place = folder or default_folder()
    key = revoke_key(place, name)
    write_json(_told(key, place), json_path)
    if json_path != "-":
        click.echo(f"{name} ({key.role}) is revoked")


def _told(key: "PublicKey", place: Path) -> dict[str, object]:
    return {
        "name": key.name,
        "role": key.role,
        "public": key.public,
        "made": key.made,
        "revoked": key.revoked or None,
        "secret_here": not key.revoked and _is_there(place / f"{key.name}.key"),
    }


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong


def _table(place: Path, keys: "list[PublicKey]", troubles: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"keys in {place}"), title_justify="left")
    for column in ("name", "role", "public", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for key in sorted(keys, key=lambda k: (bool(k.revoked), k.name)):
        row = (key.name, key.role, key.public, key.made, key.revoked)
        table.add_row(*map(Text, row), style="dim" if key.revoked else "")
    console = Console()
    console.print(table)
    for line in troubles:
        console.print(Text(line, style="bold red"))

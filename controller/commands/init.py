"""``dpem init``: a configuration file that explains itself."""

from pathlib import Path

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("init")
@click.argument("path", metavar="[FILE|-]", default="dpem.toml")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
def command(path: str, force: bool, json_path: str | None) -> None:
    """Write a commented configuration with every key of a run and its default.

    FILE is dpem.toml unless given, '-' is standard output. Edit it, then: dpem run --config FILE.
    """
    from controller.configuration import configuration_text, keys
    from quantum.output import write_whole

    if path == json_path == "-":
        raise InputError("standard output is for the configuration or for --json, not for both")
    text = configuration_text()
    told = {"file": path, "defaults": {key.name: key.default for key in keys()}}
    if path == "-":
        write_json(told, json_path)
        click.echo(text, nl=False)
        return
    target = Path(path)
    if target.exists() and not (force and target.is_file()):
        how = "give another name" if target.is_dir() else "give another name, or --force"
        raise InputError(f"{path} is there already; {how}")
    write_whole(target, text.encode())
    write_json(told, json_path)
    if json_path != "-":
        click.echo(f"{path} is written. Edit it, then: dpem run --config {path}")

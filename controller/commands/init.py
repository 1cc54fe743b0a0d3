"""``dpem init``: a configuration file that explains itself."""

from pathlib import Path

import click

from quantum.errors import InputError

__all__ = ["command"]


@click.command("init")
@click.argument("path", metavar="[FILE|-]", default="dpem.toml")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(path: str, force: bool) -> None:
    """Write a commented configuration with every key of a run and its default.

    FILE is dpem.toml unless given, '-' is standard output. Edit it, then: dpem run --config FILE.
    """
    from controller.configuration import configuration_text
    from quantum.output import write_whole

    text = configuration_text()
    if path == "-":
        click.echo(text, nl=False)
        return
    target = Path(path)
    if target.exists() and not (force and target.is_file()):
        how = "give another name" if target.is_dir() else "give another name, or --force"
        raise InputError(f"{path} is there already; {how}")
    write_whole(target, text.encode())
    click.echo(f"{path} is written. Edit it, then: dpem run --config {path}")

"""``dpem kme``: serve stored keys to applications by ETSI GS QKD 014."""

from pathlib import Path

import click

from quantum.output import json_option, write_json

__all__ = ["command"]


@click.group("kme")
def command() -> None:
    """Serve stored keys to applications over HTTPS (ETSI GS QKD 014)."""


@command.command("serve")
@click.argument("file", metavar="KME.toml", type=click.Path(path_type=Path))
@json_option
def serve_command(file: Path, json_path: str | None) -> None:
    """Serve the keys of the store that KME.toml names, until it is interrupted.

    Prints one line when it listens, or writes --json. Every client needs a certificate of the
    file's authority; its common name says which application (SAE) it is.
    """
    import asyncio
    import contextlib
    import signal

    from controller.qkd.kme_file import load_kme
    from controller.qkd.server import serve

    kme = load_kme(file)

    def told(port: int) -> None:
        url = f"https://{kme.host}:{port}"
        write_json({"id": kme.id, "url": url, "port": port}, json_path)
        if json_path != "-":
            click.echo(f"{kme.id} listens on {url}")

    async def run() -> None:
        task = asyncio.ensure_future(serve(kme, told))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


@command.command("certificates")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("names", nargs=-1, required=True)
@click.option("--host", "hosts", multiple=True, default=("localhost",), show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
@json_option
def certificates_command(
    folder: Path, names: tuple[str, ...], hosts: tuple[str, ...], days: int, json_path: str | None
) -> None:
    """Write an authority and a certificate with its key for each of NAMES into FOLDER, for a trial.

    NAMES are the ids of KMEs and SAEs. The authority's own key is not kept.
    """
    from controller.qkd.certificates import issue

    files = issue(folder, names, hosts, days)
    write_json({"files": [str(path) for path in files]}, json_path)
    if json_path != "-":
        for path in files:
            click.echo(path)

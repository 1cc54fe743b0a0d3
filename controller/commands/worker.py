"""``dpem worker``: executes the jobs of a service, or of a run, on this machine."""

from importlib.metadata import entry_points
from pathlib import Path

import click

from quantum.log_options import log_config, log_options
from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("worker")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    required=True,
    help="The TOML file of the service or the run, or of the whole site.",
)
@click.option(
    "--of",
    type=click.Choice(["serve", "run"]),
    help="Whose worker, where the file has tables of both.",
)
@click.option(
    "--key",
    metavar="FILE.key",
    type=click.Path(path_type=Path),
    help="This worker's key; the only one of role worker in the folder of keys unless given.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.1, 86400.0),
    default=60.0,
    show_default=True,
    help="Wait so many seconds for whoever hands out the jobs; for a run that was lost, again.",
)
@json_option
@log_options
def command(
    config_path: str,
    of: str | None,
    key: Path | None,
    wait_s: float,
    json_path: str | None,
    log: str | None,
    log_level: str | None,
    log_file: str | None,
) -> None:
    """Execute jobs of dpem serve or dpem run, which may be on another machine.

    Comes back by itself when the connection or the service is lost; ends when the run is over, or
    was lost for the time of --wait, with Ctrl-C or SIGTERM. See docs/machines.md. The JSON says how
    many jobs were executed.
    """
    import signal
    import sys

    from controller.machines import worker_of
    from quantum import logs

    wanted = log_config(log, log_level, log_file)
    config = worker_of(config_path, of=of, key=key, wait_s=wait_s)
    logs.start(wanted, config.name)
    # Ends in order: what is open is closed, and what was done is told.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    [part] = entry_points(group="dpem.parts", name="worker")
    work = part.load()
    jobs = 0

    def count(_: object) -> None:
        nonlocal jobs
        jobs += 1

    try:
        click.echo(f"worker {config.name} on {config.backend}, for {config.address}")
        work(config, count)
    finally:
        done = {"worker": config.name, "backend": config.backend, "broker": config.address}
        write_json({**done, "jobs": jobs}, json_path)

"""``dpem agent``: speaks for nodes of a run whose broker is elsewhere."""

from pathlib import Path

import click

from quantum.log_options import log_config, log_options
from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("agent")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    required=True,
    help="The TOML file of the run, or of the whole site.",
)
@click.option(
    "--node",
    type=click.IntRange(0),
    required=True,
    help="Number of a node; the agent speaks for the group of nodes that it is in.",
)
@click.option(
    "--key",
    metavar="FILE.key",
    type=click.Path(path_type=Path),
    help="This agent's key; the only one of role agent in the folder of keys unless given.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.1, 86400.0),
    default=60.0,
    show_default=True,
    help="Wait so many seconds for the run, and again where it was lost.",
)
@json_option
@log_options
def command(
    config_path: str,
    node: int,
    key: Path | None,
    wait_s: float,
    json_path: str | None,
    log: str | None,
    log_level: str | None,
    log_file: str | None,
) -> None:
    """Speak for nodes of a dpem run that waits for its agents, maybe on another machine.

    The run says what there is to know; the file needs no more than where it listens and the keys.
    Ends when the run is over, or with Ctrl-C or SIGTERM. See docs/machines.md.
    The JSON says for which nodes it spoke.
    """
    import signal
    import sys

    from controller.agent import act_by_brief
    from controller.machines import agent_of
    from quantum import logs

    wanted = log_config(log, log_level, log_file)
    connection = agent_of(config_path, key=key)
    logs.start(wanted, connection.name)
    # Ends in order: what is open is closed, and what was done is told.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    click.echo(f"agent {connection.name} of node {node}, for {connection.address}")

    def tell(line: str) -> None:
        click.echo(line)

    nodes = act_by_brief(connection, node, connect_s=wait_s, tell=tell)
    done = {"agent": connection.name, "broker": connection.address, "nodes": nodes}
    write_json(done, json_path)

"""The options ``--log``, ``--log-level`` and ``--log-file`` of commands that stay for a while."""

from collections.abc import Callable
from typing import Any

import click

from quantum.logs import FORMATS, LEVELS, LogConfig

__all__ = ["log_config", "log_options"]


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets ``log``, ``log_level`` and ``log_file``."""
    for option in (
        click.option(
            "--log-file", metavar="FILE", help="Append log lines to FILE instead of stderr."
        ),
        click.option("--log-level", type=click.Choice(LEVELS), help="What to log (info)."),
        click.option(
            "--log", type=click.Choice(FORMATS), help="Log what happens, a line for each event."
        ),
    ):
        command = option(command)
    return command


def log_config(log: str | None, log_level: str | None, log_file: str | None) -> LogConfig | None:
    """Return what the options say; None where nobody wants a log.

    >>> log_config(None, None, None)
    >>> log_config(None, "debug", None).format
    'text'
    """
    if log is None and log_level is None and log_file is None:
        return None
    return LogConfig(
        format=log or "text",  # type: ignore[arg-type]
        level=log_level or "info",  # type: ignore[arg-type]
        file=log_file,
    )

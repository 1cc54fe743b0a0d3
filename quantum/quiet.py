"""``--quiet`` for commands that do not have it themselves: nothing is shown but errors.

Progress bars are drawn on terminals only, so standard error passes for something else. A result
that ``--json -`` asks for is written all the same.
"""

import functools
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import click

__all__ = ["with_quiet"]


class _NoTerminal:
    """A stream that is no terminal, and otherwise itself."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Nowhere(io.TextIOBase):
    """A stream that keeps nothing of what is written."""

    encoding = "utf-8"

    def write(self, text: str, /) -> int:
        return len(text)


def with_quiet(command: click.Command) -> click.Command:
    """Let a command know ``--quiet``, and so its subcommands; return it.

    Commands that pass unknown options on to somebody else are left as they are.
    """
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            within = command.get_command(context, name)
            if within is not None:
                with_quiet(within)
        return command
    passes_on = command.context_settings.get("ignore_unknown_options", False)
    if passes_on or any("--quiet" in each.opts for each in command.params):
        return command
    work = command.callback
    assert work is not None

    @functools.wraps(work)
    def quietly(*words: Any, quiet: bool, **options: Any) -> Any:
        if not quiet:
            return work(*words, **options)
        wanted = options.get("json_path") == "-"
        with (
            redirect_stdout(sys.stdout if wanted else _Nowhere()),
            redirect_stderr(_NoTerminal(sys.stderr)),
        ):
            return work(*words, **options)

    command.callback = quietly
    command.params.append(click.Option(["--quiet"], is_flag=True, help="Show nothing but errors."))
    return command

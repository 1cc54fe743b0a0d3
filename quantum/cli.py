"""The ``dpem`` command: gathers the subcommands that the packages register.

Subcommands are entry points of the group ``dpem.commands``. They are loaded only when asked for,
so that a lab PC without torch and a trainer without qiskit both get the commands they can run.
"""

import os
import sys
from importlib.metadata import EntryPoint, entry_points

import click

from quantum.errors import DpemError
from quantum.quiet import with_quiet
from quantum.words import near

__all__ = ["main"]


class Commands(click.Group):
    """Finds subcommands among the installed entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all installed subcommands."""
        return sorted(found().keys())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one subcommand, or None when there is no such name."""
        point = found().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command), f"{point.value} is not a click command"
        return with_quiet(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand that is asked for, or say which one may have been meant."""
        name = args[0]
        if not name.startswith("-") and name not in found():
            raise click.UsageError(
                f"no such command {name!r}{near(name, sorted(found()))}; dpem --help lists them"
            )
        return super().resolve_command(ctx, args)


def found() -> dict[str, EntryPoint]:
    """Return the installed subcommands by name."""
    return {point.name: point for point in entry_points(group="dpem.commands")}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dpem")
def dpem() -> None:
    """Plan, run and measure entanglement in quantum networks, on simulators or in the lab."""


def main() -> None:
    """Run ``dpem``; an error of ours is one line on stderr and an exit code, never a traceback."""
    try:
        # Not standalone, click returns the code of an Exit and the result of a command, None here.
        code = dpem.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as wrong:
        # Nothing was asked: the whole help, as it is, and not as an error in one line.
        click.echo(wrong.format_message(), err=True)
        sys.exit(wrong.exit_code)
    except click.ClickException as wrong:
        said = " ".join(wrong.format_message().split())
        click.echo(f"dpem: {said[:1].lower()}{said[1:]}", err=True)
        sys.exit(wrong.exit_code)
    except DpemError as wrong:
        click.echo(f"dpem: {wrong}", err=True)
        sys.exit(wrong.exit_code)
    except ModuleNotFoundError as missing:
        click.echo(
            f"dpem: {missing.name} is not installed; pip install 'dpem[learn,aer]' adds it",
            err=True,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (``dpem ... | head``): not our error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

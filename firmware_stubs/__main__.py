"""``python -m firmware_stubs KIND``: the same as ``dpem stub KIND``, without the other packages."""

import sys

import click

from firmware_stubs.commands import command
from quantum.errors import DpemError


def main() -> None:
    """Run a stub; an error of ours is one line on stderr and its exit code."""
    try:
        command.main(prog_name="python -m firmware_stubs", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except click.Abort:
        sys.exit(130)
    except DpemError as wrong:
        click.echo(f"stub: {wrong}", err=True)
        sys.exit(wrong.exit_code)


if __name__ == "__main__":
    main()

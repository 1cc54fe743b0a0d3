"""``dpem squidasm``: a script written for SquidASM, run without NetSquid."""

import os
import random
import sys
import time

import click

from quantum.errors import DpemError, InputError
from quantum.output import json_option, write_json

__all__ = ["command"]


# After the script's name everything is the script's, --help included.
@click.command("squidasm", context_settings={"allow_interspersed_args": False})
@click.option(
    "--engine",
    type=click.Choice(["aer", "numpy"]),
    default="aer",
    show_default=True,
    help="What keeps quantum states: Qiskit Aer or dense matrices.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    help="Seed of all draws, those of random and numpy.random included.  [default: a fresh one]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Cut the repetitions of each run into as many blocks, side by side.",
)
@click.option(
    "--most-events",
    type=click.IntRange(1000, 10**12),
    help="Events between the ends of two runs, a tenth of them at one instant; more are taken for"
    " an endless loop.  [default: 300000]",
)
@json_option
@click.argument("script", metavar="SCRIPT.py")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def command(
    engine: str,
    seed: int | None,
    processes: int,
    most_events: int | None,
    json_path: str | None,
    script: str,
    arguments: tuple[str, ...],
) -> None:
    """Run SCRIPT.py, written for SquidASM, with its own arguments ARGS.

    Its output and its exit code are passed on; --json FILE says how it ended. What it does that
    makes no sense is one line on stderr and exit code 2. Where a NetSquid is installed, the script
    runs on that instead.
    """
    from backends.squid.run import MOST_EVENTS
    from backends.squid.standin.install import Installed, install
    from backends.squid.standin.script import of_script, one_line, run_script

    if json_path == "-":
        raise InputError("--json needs a FILE here: standard output is the script's")
    if not os.path.isfile(script):
        raise InputError(f"cannot read {script}: no such file")
    if install(engine, seed, processes, most_events or MOST_EVENTS) is Installed.NETSQUID:
        click.echo("dpem: NetSquid is installed here, so the script runs on it", err=True)
    if seed is not None:
        _seed_globals(seed)
    path = os.path.abspath(script)
    begun_s = time.monotonic()

    def told(code: int, why: str = "") -> None:
        said = {
            "script": script,
            "arguments": list(arguments),
            "engine": engine,
            "seed": seed,
            "seconds": time.monotonic() - begun_s,
            "exit_code": code,
            "error": why,
        }
        write_json(said, json_path)

    try:
        run_script(path, arguments)
    except SystemExit as left:
        # As Python has it: no code is 0, and words are said and are 1.
        told(left.code if isinstance(left.code, int) else int(left.code is not None))
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        raise
    except DpemError as wrong:
        line = DpemError(one_line(wrong))
        line.exit_code = wrong.exit_code
        told(line.exit_code, str(line))
        raise line from wrong
    except Exception as error:  # noqa: BLE001 - whatever a script raises, Python's way shows it
        of_script(error, path)
        told(1, f"{type(error).__name__}: {error}")
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
    else:
        told(0)


def _seed_globals(seed: int) -> None:
    """Seed what programs draw from themselves."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - programs draw from this one

"""``dpem run``: the closed loop, as processes over encrypted ZeroMQ."""

import os
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.commands.federation_options import federation_options
from quantum.errors import DeviceError, InputError
from quantum.log_options import log_config, log_options
from quantum.output import json_option, write_json
from quantum.preset_names import PRESETS
from quantum.shipped_racks import rack_path
from quantum.words import near

if TYPE_CHECKING:
    from controller.live import Run, Stage
    from controller.meeting import BrokerConfig
    from controller.setting import Setting

__all__ = ["command"]

_DEFAULT_RACK = "id900"


@click.command("run")
@click.option("--config", "config_path", metavar="FILE", help="Options from a file of dpem init.")
@click.option("--preset", metavar="NAME", help=f"{', '.join(PRESETS)} (default {PRESETS[0]}).")
@click.option("--topology", metavar="NAME|FILE", help="Network: mesh, geometric, surfnet, ...")
@click.option(
    "--demand", metavar="NAME|FILE", help="scheduled, poisson, hotspot, bursts, abilene, ..."
)
@click.option("--changes", metavar="WISH|FILE", help="Outages: outages:MTBF_S:MTTR_S, or a CSV.")
@click.option("--load", "load_hz", type=float, help="Pairs requested per second.")
@click.option("--backend", metavar="NAME", help="aer (default), analytic, squidasm or lab.")
@click.option(
    "--rack",
    metavar="FILE",
    help="Rack file of a laboratory (with --backend lab), or four-links, which is shipped.",
)
@click.option("--allocator", metavar="NAME", help="dpem (default) or the name of a rival.")
@click.option("--seconds", type=float, help="Network time that is counted (60).")
@click.option("--warmup", "warmup_s", type=float, help="Network time before that (10).")
@click.option("--seed", type=int, help="Seed of all draws (0).")
@click.option(
    "--policy",
    metavar="FILE",
    help="Start from a policy of dpem train, or from 'heuristic'; the shipped one unless given.",
)
@click.option("--no-gate", is_flag=True, help="Let all that is learned go live, worse or not.")
@click.option("--no-learn", is_flag=True, help="Decide by the policy as it is, do not learn.")
@federation_options
@click.option("--agents", type=int, help="Agent processes (2); each hosts many nodes.")
@click.option("--workers", type=int, help="Worker processes (1).")
@click.option(
    "--pace",
    type=click.FloatRange(0, 1e6, min_open=True),
    metavar="X",
    help="At most X seconds of network time a second, to be watched; else as fast as it goes.",
)
@click.option("--out", metavar="DIR", help="Run folder; a new one under runs/ unless given.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@log_options
@json_option
def command(
    config_path: str | None,
    no_learn: bool,
    no_gate: bool,
    pace: float | None,
    out: str | None,
    quiet: bool,
    log: str | None,
    log_level: str | None,
    log_file: str | None,
    json_path: str | None,
    **options: Any,
) -> None:
    """Run the closed loop: agents ask over ZeroMQ, a backend makes pairs, tests are the reward.

    Without options: 100 nodes, scheduled demand, 60 pairs per second, on Qiskit Aer.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if no_learn:
        given["learn"] = False
    if no_gate:
        given["gate"] = False
    setting, meeting = _setting(config_path, given)
    folder = Path(out) if out else _new_folder(setting.seed)
    from controller.live import run_live
    from quantum import logs

    wanted = log_config(log, log_level, log_file)
    logs.start(wanted, "broker")
    # A table that is drawn anew and lines of a log cannot share a terminal.
    shown = sys.stderr.isatty() and not quiet and (wanted is None or wanted.file is not None)
    with _Screen(shown) as stage:
        run = run_live(setting, folder, stage, pace=pace, meeting=meeting)
    write_json(run.summary, json_path)
    if json_path != "-" and not quiet:
        _show(run)
    if run.interrupted:
        click.echo(f"dpem: interrupted; the record so far is in {folder}", err=True)
        sys.exit(130)
    if run.lost:
        raise DeviceError(f"{run.lost}; the record so far is in {folder}")


def _setting(
    config_path: str | None, given: dict[str, Any]
) -> "tuple[Setting, BrokerConfig | None]":
    """Merge the configuration file and the command line, which wins; where the parts meet."""
    import msgspec

    from controller.configuration import setting_of_values
    from controller.meeting import BROKER, read_run
    from controller.rivals.allocator import find, find_live

    values, meeting = read_run(config_path) if config_path is not None else ({}, None)
    setting = setting_of_values(values | given, config_path)
    _known("backend", setting.backend, "dpem.backends")
    find_live(setting.allocator)
    for name in setting.rivals:
        find(name)
    if setting.backend == "lab":
        if meeting is not None:
            raise InputError(
                f"{config_path}: a run on instruments starts its own processes, whose hearts it "
                f"listens to: take table {BROKER} away"
            )
        rack = str(rack_path(setting.rack or _DEFAULT_RACK))
        rivals = () if "rivals" not in values else setting.rivals
        return msgspec.structs.replace(setting, rack=rack, rivals=rivals), None
    if setting.rack is not None:
        raise InputError(f"rack is for backend lab only, the backend is {setting.backend}")
    return setting, meeting


def _known(what: str, name: str, group: str) -> None:
    names = sorted(point.name for point in entry_points(group=group))
    if name not in names:
        meant = near(name, names)
        raise InputError(f"{what} {name!r} is unknown{meant}; known: {', '.join(names)}")


def _new_folder(seed: int) -> Path:
    """Name a run folder after the time; never one that exists."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{stamp}-seed{seed}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


class _Screen:
    """A live table on a terminal; a line per stage elsewhere is nobody's wish, so nothing."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._live: Any = None
        self._drawn = 0.0
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> "Stage":
        if not self._shown:
            return lambda *_: None
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
        self._live.start()
        return self._draw

    def _draw(self, word: str, telemetry: Any) -> None:
        now = time.monotonic()
        if telemetry is not None and now - self._drawn < 0.1:
            return
        self._drawn = now
        from controller.screen import progress_view

        self._live.update(progress_view(word, telemetry, self._left_s(telemetry, now)))

    def _left_s(self, telemetry: Any, now: float) -> float | None:
        """Guess by the speed so far; the first second says too little."""
        if telemetry is None:
            return None
        if self._first is None:
            self._first = (now, telemetry.slot)
        began, slot = self._first
        if now - began < 1.0 or telemetry.slot <= slot:
            return None
        per_slot_s = (now - began) / (telemetry.slot - slot)
        return float(per_slot_s * (telemetry.horizon - telemetry.slot))

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()


def _show(run: "Run") -> None:
    """Print the summary for people."""
    from rich.console import Console

    from controller.table import facts_table, summary_table

    console = Console()
    console.print(summary_table(run.summary, run.rivals, title="What the network delivered"))
    console.print(facts_table(run.summary))
    folder = run.summary["run_dir"]
    console.print(f"Figure: {os.path.join(folder, 'run.png')}")
    console.print(f"Check it with: dpem replay {folder}")

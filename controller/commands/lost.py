"""``dpem lost``: what a network delivers while its controller, or its aggregator, is gone."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json, write_whole
from quantum.preset_names import PRESETS

__all__ = ["command"]


@click.command("lost")
@click.option("--preset", default="paper", show_default=True, help=f"{', '.join(PRESETS)}.")
@click.option(
    "--topology", metavar="NAME|FILE", default="mesh", show_default=True, help="The network."
)
@click.option(
    "--demand", metavar="NAME|FILE", default="poisson", show_default=True, help="Who asks when."
)
@click.option("--load", "load_hz", type=float, help="Pairs requested per second.")
@click.option(
    "--central",
    metavar="NAME",
    default="mean-rate",
    show_default=True,
    help="Allocator that loses its controller.",
)
@click.option("--seconds", default=40.0, show_default=True, help="Network time that is counted.")
@click.option("--warmup", "warmup_s", default=10.0, show_default=True, help="Time before that.")
@click.option("--lost-at", "at_s", default=15.0, show_default=True, help="Gone from then on (s).")
@click.option("--lost-for", "for_s", default=10.0, show_default=True, help="For so long (s).")
@click.option("--seeds", default=3, show_default=True, help="Runs of the same network and load.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first run.")
@click.option("--no-learn", is_flag=True, help="Nodes decide by the policy they start from.")
@click.option("--out", metavar="DIR", required=True, help="Folder for figure and numbers.")
@json_option
def command(
    preset: str,
    topology: str,
    demand: str,
    load_hz: float | None,
    central: str,
    seconds: float,
    warmup_s: float,
    at_s: float,
    for_s: float,
    seeds: int,
    seed: int,
    no_learn: bool,
    out: str,
    json_path: str | None,
) -> None:
    """Play the same requests with and without a controller that is gone for a while.

    Nodes that decide themselves lose their aggregator and go on with the policy that they had; a
    central allocator loses its controller. In the twin; see docs/arena.md for what the model says
    and what it does not.
    """
    import msgspec

    from controller.losing import PLAYS, Loss, Outcome, check, play_losses
    from controller.loss_numbers import curves, numbers
    from controller.picture.loss import loss_figure
    from controller.setting import Setting

    if not 1 <= seeds <= 1000:
        raise InputError(f"--seeds must be between 1 and 1000, got {seeds}")
    for name, value in (("--lost-at", at_s), ("--lost-for", for_s)):
        if not math.isfinite(value):
            raise InputError(f"{name} must be a number of seconds, got {value:g}")
    setting = Setting(
        preset=preset,
        topology=topology,
        demand=demand,
        load_hz=load_hz,
        seconds=seconds,
        warmup_s=warmup_s,
        seed=seed,
        learn=not no_learn,
    ).check()
    loss = Loss(at_s, for_s)
    check(setting, loss, central)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise InputError(f"--out {out}: {wrong.strerror}") from wrong
    runs: list[dict[str, Outcome]] = []
    with _progress(seeds * len(PLAYS)) as advance:
        for k in range(seeds):
            own = msgspec.structs.replace(setting, seed=seed + k).check()
            run: dict[str, Outcome] = {}
            for name, outcome in play_losses(own, loss, central):
                run[name] = outcome
                advance()
            runs.append(run)
    found = numbers(runs, loss, seconds)
    bin_s = min(1.0, seconds)
    time_s, shares = curves(runs, seconds, bin_s)
    whole: dict[str, Any] = {
        "setting": msgspec.to_builtins(setting),
        "central": central,
        "seeds": seeds,
        "lost_at_s": at_s,
        "lost_for_s": for_s,
        "plays": {name: {"says": PLAYS[name], **found[name]} for name in PLAYS},
        "time_s": time_s,
        "shares": shares,
    }
    meanwhile = {name: found[name]["meanwhile"]["share"] or 0.0 for name in PLAYS}
    lost = (at_s, at_s + for_s)
    for kind in ("png", "svg"):
        figure = loss_figure(time_s, shares, PLAYS, lost=lost, meanwhile=meanwhile, kind=kind)
        write_whole(folder / f"lost.{kind}", figure)
    write_json(whole, str(folder / "lost.json"))
    write_json(whole, json_path)
    if json_path != "-":
        _show(found, folder)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Show plays and the time left on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    shown = sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("playing", total=total)
        yield lambda: bar.advance(task)


def _show(found: dict[str, dict[str, Any]], folder: Path) -> None:
    from controller.losing import PLAYS

    click.echo(f"{'pairs delivered / requested':46}     before  meanwhile      after")
    for name, says in PLAYS.items():
        cells = [_cell(found[name][phase]) for phase in ("before", "meanwhile", "after")]
        click.echo(f"{says:46}" + "".join(f"{cell:>11}" for cell in cells))
    for name in ("central", "filling"):
        lead = found[name]["lead"]
        if lead["mean"] is not None:
            half = "" if lead["half_width"] is None else f" +- {lead['half_width']:.2f}"
            click.echo(f"dpem over {name!r} meanwhile, run by run: {lead['mean']:+.2f}{half}")
    click.echo(f"Figure and numbers: {folder}")


def _cell(phase: dict[str, Any]) -> str:
    if phase["share"] is None:
        return "-"
    half = "" if phase["half_width"] is None else f"+-{phase['half_width']:.2f}"
    return f"{phase['share']:.2f}{half}"

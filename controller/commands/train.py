"""``dpem train``: learning in the twin, over episodes, resumable."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.commands.federation_options import federation_options
from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from controller.training import Episode, Training

__all__ = ["command"]


@click.command("train")
@click.option("--topology", default="mesh", show_default=True, metavar="NAME|FILE", help="Network.")
@click.option("--demand", default="scheduled", show_default=True, metavar="NAME|FILE")
@click.option("--load", "load_hz", type=float, help="Pairs requested per second.")
@click.option("--seconds", default=60.0, show_default=True, help="Network time of an episode.")
@click.option("--episodes", default=4, show_default=True, help="Episodes to play now.")
@click.option(
    "--planned-episodes",
    type=int,
    help="Episodes that share the privacy budget: those of this call, unless given.",
)
@federation_options
@click.option("--seed", default=0, show_default=True, help="Seed of the first episode.")
@click.option("--engine", default="processes", show_default=True, help="processes.")
@click.option("--device", default="cpu", show_default=True, help="cpu.")
@click.option("--out", metavar="FILE", help="Policy file (policy.safetensors).")
@click.option("--resume", metavar="FILE", help="Go on with the training that wrote this policy.")
@json_option
def command(
    topology: str,
    demand: str,
    load_hz: float | None,
    seconds: float,
    episodes: int,
    seed: int,
    engine: str,
    device: str,
    out: str | None,
    resume: str | None,
    planned_episodes: int | None,
    json_path: str | None,
    **federation: Any,
) -> None:
    """Learn in the twin and write a policy that ``dpem run --policy FILE`` starts from.

    Episode k plays the network and the draws of seed + k, and what was learned stays. The policy,
    one set of weights for any network, is written after every episode; beside it the learning
    state, which ``--resume`` goes on from. An interrupt loses the episode that is being played.
    """
    _offered("engine", engine, "processes")
    _offered("device", device, "cpu")
    # A new name unless told otherwise: nobody's policy is overwritten by accident.
    target = Path(out or resume or "policy.safetensors")
    if target.exists() and (resume is None or target.resolve() != Path(resume).resolve()):
        raise InputError(f"{target} exists: go on with --resume {target}, or give another --out")
    if target.suffix != ".safetensors":
        raise InputError(f"out must end in .safetensors, got {target}")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {target}: {target.parent} is no folder")

    import torch

    from controller.setting import Setting
    from controller.training import train

    torch.set_num_threads(1)
    setting = Setting(
        topology=topology,
        demand=demand,
        load_hz=load_hz,
        seconds=seconds,
        seed=seed,
        **{name: value for name, value in federation.items() if value is not None},
    ).check()
    with _progress(episodes) as advance:
        found = train(
            setting,
            episodes,
            target,
            resume=None if resume is None else Path(resume),
            planned=planned_episodes,
            progress=advance,
        )
    write_json(found, json_path)
    if json_path != "-":
        _show(found)


def _offered(name: str, value: str, works: str) -> None:
    if value != works:
        raise InputError(f"--{name} {value} is not offered here; it is {works}")


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[Episode], None]]":
    """Show progress on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("learning", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last = "{task.description}"
    with Progress(*columns, last, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def advance(episode: "Episode") -> None:
            bar.update(task, advance=1, description=f"delivered {episode.delivery_rate:.3f}")

        yield advance


def _show(found: "Training") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from controller.table import privacy_line

    console = Console()
    table = Table(title="delivered, beside mean-rate on the same draws", box=box.SIMPLE)
    for name in ("seed", "delivered", "mean-rate", "difference", "of bound", "reward", "rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in found.episodes:
        table.add_row(
            str(e.seed),
            f"{e.delivery_rate:.3f}",
            f"{e.rival_delivery_rate:.3f}",
            f"{e.delivery_rate - e.rival_delivery_rate:+.4f}",
            f"{e.fraction_of_bound:.3f}",
            f"{e.reward:.1f}",
            str(e.rounds),
        )
    console.print(table)
    private = privacy_line(
        found.privacy, found.aggregator, found.federated_rounds, found.epsilon, found.delta
    )
    console.print(f"Policy: {found.policy} ({private})", soft_wrap=True)
    console.print(f"Learning state, not to be given away: {found.state}", soft_wrap=True)

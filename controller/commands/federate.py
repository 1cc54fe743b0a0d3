"""``dpem federate``: federated learning alone, its privacy, its cost and its enemies."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.commands.federation_options import federation_options
from quantum.errors import InputError
from quantum.output import figure_kind, json_option, write_json, write_whole

if TYPE_CHECKING:
    from controller.federating import Federated
    from controller.setting import Setting

__all__ = ["command"]


@click.command("federate")
@click.option("--clients", default=100, show_default=True, help="Nodes of the mesh.")
@click.option("--rounds", default=20, show_default=True, help="Federated rounds.")
@click.option("--task", default="both", show_default=True, metavar="policy|forecast|both")
@click.option("--preset", default="paper", show_default=True, metavar="NAME")
@click.option("--demand", default="scheduled", show_default=True, metavar="NAME|FILE")
@click.option("--load", "load_hz", type=float, help="Pairs requested per second.")
@click.option("--seed", default=0, show_default=True, help="Seed of networks and draws.")
@click.option("--seeds", default=1, show_default=True, help="Seeds to play, from --seed on.")
@federation_options
@click.option("--poison", type=float, help="Share of clients that lie, such as 0.1.")
@click.option("--attack", default="sign-flip", show_default=True, metavar="NAME")
@click.option("--convergence", is_flag=True, help="Who learns a policy soonest: all, each, or one?")
@click.option("--audit", "audited", is_flag=True, help="Measure a lower bound of epsilon.")
@click.option("--figure", metavar="FILE", help="Draw what was found (.png or .svg).")
@json_option
def command(
    clients: int,
    rounds: int,
    task: str,
    preset: str,
    demand: str,
    load_hz: float | None,
    seed: int,
    seeds: int,
    poison: float | None,
    attack: str,
    convergence: bool,
    audited: bool,
    figure: str | None,
    json_path: str | None,
    **options: Any,
) -> None:
    """Learn together without a run: with and without privacy, with liars, and audited.

    Performance of the policy is its share of the bound in points, of the forecast the deviance
    that it explains in per cent, both on what nobody has trained on.

    With --convergence a policy is learned from nothing by averaging, by every node alone, by one
    central learner, and by averaging with noise; the rounds that each takes are compared.
    """
    for name, value, low, high in (
        ("clients", clients, 10, 2000),
        ("rounds", rounds, 1, 500),
        ("seeds", seeds, 1, 100),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} must be between {low} and {high}, got {value}")
    if task not in ("policy", "forecast", "both"):
        raise InputError(f"task must be policy, forecast or both, got {task!r}")
    from controller.federating import experiment
    from controller.federation import Federation
    from controller.poison import Poison
    from controller.setting import Setting

    kind = figure_kind(figure)
    given = {name: value for name, value in options.items() if value is not None}
    federation = Federation(**given).check()
    liars = None if poison is None else Poison(poison, attack).check()
    setting = Setting(preset=preset, demand=demand, load_hz=load_hz, seed=seed).check()
    if setting.cell.knee_fraction is not None:
        raise InputError(f"preset {preset} needs --load, such as 60 pairs per second")
    import torch

    torch.set_num_threads(1)
    several = tuple(range(seed, seed + seeds))
    if convergence:
        if task == "forecast" or given or poison is not None or audited:
            raise InputError(
                "--convergence compares its own schemes of the policy: leave out --task forecast, "
                "--poison, --audit and what is of privacy and rounds"
            )
        _converge(setting, clients, rounds, several, figure, json_path)
        return
    with _progress() as advance:
        found = experiment(
            federation,
            setting=setting,
            clients=clients,
            rounds=rounds,
            tasks=("policy", "forecast") if task == "both" else (task,),
            seeds=several,
            poison=liars,
            audited=audited,
            progress=advance,
        )
    write_json(found, json_path)
    if figure is not None:
        from controller.picture.federation import federation_figure

        drawn = federation_figure(
            found.rows, found.audits, found.units, finding=found.headline, kind=kind
        )
        write_whole(Path(figure), drawn)
    if json_path != "-":
        _show(found)


def _converge(
    setting: "Setting",
    clients: int,
    rounds: int,
    seeds: tuple[int, ...],
    figure: str | None,
    json_path: str | None,
) -> None:
    """Learn from nothing by every scheme, and say who was there first."""
    from rich.console import Console

    from controller.convergence import converge
    from controller.convergence_text import headline_of, show_converged

    with _progress() as advance:
        found = converge(setting, clients=clients, rounds=rounds, seeds=seeds, progress=advance)
    write_json(found, json_path)
    if figure is not None:
        from controller.picture.convergence import convergence_figure

        kind = figure_kind(figure)
        write_whole(Path(figure), convergence_figure(found, finding=headline_of(found), kind=kind))
    if json_path != "-":
        show_converged(found, Console(width=None if sys.stdout.isatty() else 100))


@contextmanager
def _progress() -> "Iterator[Callable[[str, int, int], None]]":
    """Show what is being played on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("federating", total=None)
        yield lambda word, done, total: bar.update(
            line, description=word, completed=done, total=total
        )


def _show(found: "Federated") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for task, unit in found.units.items():
        title = f"{task}: {unit}, {len(found.seeds)} seed(s)"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("scheme")
        # Numbers are whole in a narrow terminal; names are folded there.
        for name in ("epsilon", "result", "loss", "95 %", "kept", "dropped"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in found.rows:
            if row.task == task:
                table.add_row(
                    row.scheme,
                    Text("NONE", style="bold red")
                    if row.epsilon is None
                    else Text(f"{row.epsilon:.2f}"),
                    f"{row.performance:.2f}",
                    f"{row.loss:+.2f}",
                    _interval(row.loss_low, row.loss_high, "{:+.2f}"),
                    "-" if row.kept is None else f"{row.kept:.1%}",
                    str(row.dropped),
                )
        console.print(table)
    told = {row.delta for row in found.rows if row.delta is not None}
    delta = ", ".join(f"{value:.2g}" for value in sorted(told))
    console.print(
        f"Epsilon is of all rounds together, at delta {delta}. Losses are against no privacy and "
        "no liars, paired by seed.",
        soft_wrap=True,
    )
    for audit in found.audits:
        console.print(
            f"Audit, {audit.privacy}: epsilon >= {audit.epsilon_low:.2f} with confidence "
            f"{audit.confidence:g}, stated {audit.epsilon:.2f} "
            f"({audit.worlds} worlds could have shown {audit.most:.2f}).",
            soft_wrap=True,
        )
    for one in found.findings:
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "not decided"}[one.holds]
        interval = _interval(one.low, one.high, "{:.3f}")
        value = f"{one.value:.3f} ({interval})" if interval else f"{one.value:.3f}"
        console.print(f"{one.claim}: {value}, {verdict}", soft_wrap=True)


def _interval(low: float | None, high: float | None, form: str) -> str:
    if low is None or high is None:
        return ""
    return f"{form.format(low)} to {form.format(high)}"

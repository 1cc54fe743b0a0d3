"""``dpem forecast``: how well demand can be foretold, by whom, and at what cost."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantum.errors import InputError
from quantum.output import figure_kind, json_option, write_json, write_whole

if TYPE_CHECKING:
    from rich.table import Table

    from controller.forecasting.comparing import Compared
    from controller.forecasting.worth import Worth

__all__ = ["command"]

#: Keys of a row, their headings, and how they are shown: of counts, and of the next request.
_COUNTS = (
    ("crps", "CRPS", "{:.4f}"),
    ("pinball", "pinball", "{:.4f}"),
    ("wape", "WAPE", "{:.2f}"),
    ("mase", "MASE", "{:.2f}"),
    ("coverage", "80 %", "{:.3f}"),
    ("closed", "closed", "{:+.0%}"),
    ("closed_tuned", "of tuned", "{:+.0%}"),
)
_NEXT = (
    ("brier", "Brier", "{:.5f}"),
    ("log_score", "nats", "{:.4f}"),
    ("cost_ms", "ms", "{:.2f}"),
    ("trained_parameters", "parameters", "{:d}"),
)


@click.command("forecast")
@click.option("--topology", default="mesh", show_default=True, metavar="NAME|FILE", help="Network.")
@click.option("--demand", default="scheduled", show_default=True, metavar="NAME|FILE")
@click.option("--preset", default="paper", show_default=True, help="Whose first cell it is.")
@click.option("--load", "load_hz", type=float, help="Pairs requested per second.")
@click.option("--seconds", default=120.0, show_default=True, help="Network time that is scored.")
@click.option("--warmup", "warmup_s", default=40.0, show_default=True, help="Seconds before it.")
@click.option("--seed", default=0, show_default=True, help="Seed of the demand.")
@click.option(
    "--forecaster",
    type=click.Choice(["gru", "quantum", "untrained"]),
    default="gru",
    show_default=True,
    help="Whose forecasts are compared with the rivals'.",
)
@click.option(
    "--value",
    "value_seeds",
    metavar="N",
    default=0,
    help="Play N runs too: what forecasts are worth in pairs delivered.",
)
@click.option("--deadline", "deadline_s", type=float, help="Of requests in these runs (1 s).")
@click.option("--figure", metavar="FILE", help="Draw demand and forecast (.png or .svg).")
@json_option
def command(
    topology: str,
    demand: str,
    preset: str,
    load_hz: float | None,
    seconds: float,
    warmup_s: float,
    seed: int,
    forecaster: str,
    value_seeds: int,
    deadline_s: float | None,
    figure: str | None,
    json_path: str | None,
) -> None:
    """Compare forecasters of requests, walking forward in time.

    Every half second of network time each says how many pairs every node will be asked for in the
    next ten steps of a tenth of a second; all of them know the past only. The columns: the
    continuous ranked probability score and the pinball loss of those counts (pairs), the absolute
    error of their means over what came (WAPE) and over that of the last step (MASE), how often the
    80 % interval holds them, the Brier score of "a class asks within half a second", the log score
    of when a node pair asks next (nats), the share of the gap between profile x level and the true
    process that is closed, the same for the tuned profile, and the cost of one forecast for all
    nodes. ``untrained`` starts from random weights and learns as it goes; ``quantum`` reads
    requests with a quantum reservoir, beside a GRU of as many trained parameters.

    With --value the same demand is played by tuned mean-rate at the nodes, without forecasts, with
    recent rates, with each forecaster, with the true process and with every request told
    beforehand, on the same draws. --preset takes qubits, cutoff, deadline and load from the first
    cell of another preset; loads that are shares of the knee are 60 % of it.
    """
    kind = figure_kind(figure)
    if not 0 <= seed < 1_000_000:
        raise InputError(f"--seed must be 0 to 999999, got {seed}: training uses those above")
    if not 0.0 <= warmup_s < 1e5 or not 12.0 <= seconds < 1e5:
        raise InputError("--seconds must be 12 to 100000 and --warmup 0 to 100000")

    if not 0 <= value_seeds <= 1000:
        raise InputError(f"--value must be 0 to 1000 runs, got {value_seeds}")
    if deadline_s is not None and not (value_seeds and 0.0 < deadline_s < 1e3):
        raise InputError("--deadline must be above 0 and below 1000 s, and needs --value")

    from controller.forecasting.comparing import compare

    with _progress() as advance:
        found = compare(
            topology,
            demand,
            forecaster,
            load_hz=load_hz,
            warmup_s=warmup_s,
            seconds=seconds,
            seed=seed,
            value_seeds=value_seeds,
            deadline_s=deadline_s,
            preset=preset,
            progress=advance,
        )
    write_json(found, json_path)
    if figure is not None:
        from controller.picture.forecast import forecast_figure

        drawn = forecast_figure(
            **found.shown,
            scores={row.forecaster: row.crps for row in found.rows},
            judged=forecaster,
            finding=found.finding,
            kind=kind,
        )
        write_whole(Path(figure), drawn)
    if json_path != "-":
        _show(found)


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """Show progress on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("walking forward", total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _show(found: "Compared") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(
        f"{found.demand} on {found.topology}: {found.forecasts} forecasts, {found.nodes} nodes, "
        f"{found.commodities} node pairs",
        soft_wrap=True,
    )
    for title, columns in (("pairs in each step", _COUNTS), ("the next request", _NEXT)):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("forecaster", no_wrap=True)
        for _, heading, _ in columns:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in found.rows:
            cells = [Text(row.forecaster, style="bold cyan" if row.judged else "")]
            for key, _, form in columns:
                value = getattr(row, key)
                cells.append(Text("" if value is None else form.format(value)))
            table.add_row(*cells)
        console.print(table)
    console.print(found.finding, soft_wrap=True)
    console.print(found.cost, soft_wrap=True)
    if found.worth is not None:
        console.print(_worth_table(found.worth))


def _worth_table(rows: "Sequence[Worth]") -> "Table":
    from rich import box
    from rich.table import Table

    title = "what a forecast is worth: pairs delivered over requested, on the same draws"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("who forecasts", no_wrap=True)
    for heading in ("delivered", "gain, points", "95 %", "of what is there"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        ends = ""
        if row.low is not None and row.high is not None:
            ends = f"{100 * row.low:+.2f} to {100 * row.high:+.2f}"
        table.add_row(
            row.forecaster,
            f"{row.delivery_rate:.4f}",
            f"{100 * row.gain:+.2f}",
            ends,
            "" if row.closed is None else f"{row.closed:+.0%}",
        )
    return table

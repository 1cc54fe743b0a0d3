"""What ``dpem federate --convergence`` says on a terminal."""

import math

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.convergence import Converged

__all__ = ["headline_of", "show_converged"]


def headline_of(found: Converged) -> str:
    """Say in a line who was there first.

    An interval that holds 0 says that nobody is seen to be faster.
    """
    said: dict[str, list[str]] = {}
    for one in found.beside:
        low, high = one.sooner.fewer_low, one.sooner.fewer_high
        word = "sooner than" if low > 0.0 else "later than" if high < 0.0 else "not seen apart from"
        said.setdefault(word, []).append(one.against)
    first = found.curves[0].scheme
    return f"{first}: " + ", ".join(f"{word} {' and '.join(of)}" for word, of in said.items())


def show_converged(found: Converged, console: Console) -> None:
    """Print how long each scheme took, and the first beside the others."""
    title = f"learning from nothing: {len(found.seeds)} seed(s), {found.clients} nodes, "
    title += f"{found.rounds} rounds of {found.round_s:g} s; points of the bound"
    table = _table(title, ("scheme", "epsilon", "start", "final", "rounds to 95 %", "95 %"))
    for one in found.curves:
        start = float(np.mean([row[0] for row in one.performances]))
        table.add_row(
            one.scheme,
            Text("-") if one.epsilon is None else Text(f"{one.epsilon:.2f}"),
            f"{start:.1f}",
            f"{one.to_final.level:.1f}",
            f"{one.to_final.steps:g}",
            _interval(one.to_final.low, one.to_final.high, "{:.0f}"),
        )
    console.print(table)
    first = found.curves[0].scheme
    title = f"{first} beside each, paired by seed"
    table = _table(title, ("scheme", "rounds sooner", "95 %", "final level higher by", "95 %"))
    for pair in found.beside:
        ahead = pair.sooner
        table.add_row(
            pair.against,
            f"{ahead.fewer:+g}",
            _interval(ahead.fewer_low, ahead.fewer_high, "{:+.0f}"),
            f"{ahead.higher:+.1f}",
            _interval(ahead.higher_low, ahead.higher_high, "{:+.1f}"),
        )
    if found.beside:
        console.print(table)
    for curve in found.curves:
        console.print(f"{curve.scheme}: {curve.what}.", soft_wrap=True, highlight=False)
    console.print(
        f"The heuristic, which scores were taken from, reaches {np.mean(found.heuristic):.1f}.",
        soft_wrap=True,
        highlight=False,
    )


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name == "scheme" else "right", no_wrap=True)
    return table


def _interval(low: float, high: float, form: str) -> str:
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{form.format(low)} to {form.format(high)}"

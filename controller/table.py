"""Results on a terminal: what a run came to, beside its rivals, and a view while it goes on.

Values in, renderables out; printing is the work of the commands.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quantum.estimate import Estimate

__all__ = [
    "Live",
    "cell",
    "facts_table",
    "live_table",
    "number",
    "privacy_line",
    "ranking",
    "summary_table",
    "text_of",
]

Summary = Mapping[str, Any]

# Key in the summary, heading, and whether more (1) or less (-1) is better.
_COLUMNS = (
    ("delivery_rate", "delivered", 1),
    ("fraction_of_bound", "of bound", 1),
    ("contention", "contention", -1),
    ("contention_loss", "lost by it", -1),
    ("fidelity_true", "true fidelity", 1),
    ("latency_ms", "p50 (ms)", -1),
)

# Key in the summary and what to call it; a key that is absent or null is left out.
_FACTS = (
    ("backend", "backend"),
    ("wire", "wire security"),
    ("slots", "slots"),
    ("requests", "requests"),
    ("pairs_requested", "pairs requested"),
    ("pairs_delivered", "pairs delivered in time and good"),
    ("bound", "upper bound (pairs)"),
    ("pairs_executed", "pairs executed"),
    ("pairs_tested", "pairs tested"),
    ("pairs_per_second", "pairs per second"),
    ("fidelity", "measured fidelity (low, best, high)"),
    ("fidelity_predicted", "the same pairs in closed form"),
    ("fidelity_links", "fresh pairs on links (low, best, high)"),
    ("latency_ms", "latency p50, p99 (ms of network time)"),
    ("updates", "learning steps"),
    ("federated_rounds", "federated rounds"),
    ("privacy", "privacy of shared weights"),
    ("decision_digest", "decision digest"),
    ("run_dir", "run folder"),
)


def summary_table(
    summary: Summary, rivals: Mapping[str, Summary] | None = None, *, title: str | None = None
) -> Table:
    """Return a table of the run and its rivals, best delivery first, each column's best bold."""
    own, rows, columns = ranking(summary, rivals or {})
    heading = None if title is None else escape(title)
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("allocator", no_wrap=True)
    for _, heading, _ in columns:
        table.add_column(heading, justify="right")
    best = {
        key: max((sign * number(row, key) for row in rows.values()), key=_or)
        for key, _, sign in columns
    }
    for name, row in rows.items():
        cells = [Text(name, style="bold cyan" if name == own else "")]
        for key, _, sign in columns:
            value = number(row, key)
            top = len(rows) > 1 and sign * value == best[key]
            cells.append(Text(cell(key, value), style="bold" if top else ""))
        table.add_row(*cells)
    return table


def facts_table(summary: Summary) -> Table:
    """Return the facts of one run, a line each; what is not known is left out."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, label in _FACTS:
        if key == "privacy" and "privacy" in summary:
            line = privacy_line(
                str(summary["privacy"]),
                str(summary.get("aggregator", "mean")),
                int(summary.get("federated_rounds") or 0),
                summary.get("epsilon"),
                summary.get("delta"),
            )
            table.add_row(label, Text(line, style="bold red" if "NONE" in line else ""))
        elif summary.get(key) is not None:
            table.add_row(label, Text(text_of(summary[key])))
    return table


def privacy_line(
    privacy: str, aggregator: str, rounds: int, epsilon: float | None, delta: float | None
) -> str:
    """Say in a line what the weights that were shared give away.

    >>> privacy_line("central", "mean", 13, 7.995, 1e-3)
    'central: epsilon 8.00 at delta 0.001, over all 13 rounds (mean)'
    >>> privacy_line("none", "median", 13, None, None)
    'NONE: weights were shared without noise, 13 rounds (median)'
    >>> privacy_line("central", "mean", 0, None, None)
    'no weights were shared'
    """
    if not rounds:
        return "no weights were shared"
    if epsilon is None or delta is None:
        what = "weights were shared without noise" if privacy == "none" else "no guarantee"
        return f"NONE: {what}, {rounds} rounds ({aggregator})"
    spent = f"epsilon {epsilon:.2f} at delta {delta:.2g}"
    return f"{privacy}: {spent}, over all {rounds} rounds ({aggregator})"


@dataclass(frozen=True)
class Live:
    """Where a run stands at ``time_s`` of ``seconds`` of network time."""

    time_s: float
    seconds: float
    pairs_requested: int
    pairs_delivered: int
    contention: float
    fidelity: Estimate | None = None
    rounds: int = 0
    reward: float | None = None
    epsilon: float | None = None
    left_s: float | None = None
    """Seconds that are still to be waited, about; None where nobody can tell yet."""


def live_table(live: Live) -> RenderableType:
    """Return what a terminal shows of a running run: a bar and its figures."""
    bar = ProgressBar(total=max(live.seconds, 1e-9), completed=min(live.time_s, live.seconds))
    grid = Table.grid(padding=(0, 2))
    left = "" if live.left_s is None else f"about {live.left_s:,.0f} s"
    grid.add_row(
        "network time",
        Text(f"{live.time_s:.1f} of {live.seconds:.1f} s"),
        "time left" if left else "",
        Text(left),
    )
    share = live.pairs_delivered / live.pairs_requested if live.pairs_requested else math.nan
    grid.add_row(
        "pairs requested",
        Text(f"{live.pairs_requested:,}", justify="right"),
        "delivered",
        Text(f"{live.pairs_delivered:,} ({_percent(share)})"),
    )
    fidelity = live.fidelity
    shown = "not tested yet"
    if fidelity is not None and fidelity.shots:
        shown = f"{fidelity.best:.3f} ({fidelity.low:.3f} to {fidelity.high:.3f})"
    grid.add_row("contention", Text(f"{live.contention:.4f}"), "fidelity", Text(shown))
    if live.rounds:
        reward = "" if live.reward is None else f"{live.reward:.3g}"
        spent = "" if live.epsilon is None else f", epsilon {live.epsilon:.3g}"
        grid.add_row("federated rounds", Text(f"{live.rounds}{spent}"), "reward", Text(reward))
    # The bar ends no line of its own, so it needs a row.
    whole = Table.grid(expand=True)
    whole.add_row(bar)
    whole.add_row(grid)
    return whole


def number(values: Summary, key: str) -> float:
    """Return one figure of a summary, nan where it is absent: an interval's best, a latency's p50.

    >>> number({"fidelity": {"low": 0.8, "best": 0.9, "high": 0.95}}, "fidelity")
    0.9
    """
    value = values.get(key)
    if isinstance(value, Mapping):
        value = value.get("best", value.get("p50"))
    return float(value) if isinstance(value, Real) else math.nan


def cell(key: str, value: float) -> str:
    """Return one figure as a table shows it.

    >>> cell("contention", 0.01234), cell("latency_ms", 51.26), cell("fidelity", math.nan)
    ('0.0123', '51.3', '-')
    """
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if key == "latency_ms" else f"{value:.4f}"


def ranking(
    summary: Summary, rivals: Mapping[str, Summary]
) -> tuple[str, dict[str, Summary], list[tuple[str, str, int]]]:
    """Return the run's own name, all rows with the best delivery first, and the columns known."""
    own = str(summary.get("allocator", "dpem"))
    rows = {**{name: row for name, row in rivals.items() if name != own}, own: summary}
    order = sorted(rows, key=lambda name: (-_or(number(rows[name], "delivery_rate")), name))
    columns = [c for c in _COLUMNS if any(not math.isnan(number(r, c[0])) for r in rows.values())]
    return own, {name: rows[name] for name in order}, columns


def text_of(value: object) -> str:
    """Return a value of a summary as a person reads it.

    >>> text_of({"low": 0.81234, "best": 0.9, "high": 0.95, "confidence": 0.95, "shots": 40})
    '0.8123, 0.9, 0.95 (confidence 0.95, 40 shots)'
    >>> text_of(1234567), text_of(0.000123456)
    ('1,234,567', '0.0001235')
    """
    if isinstance(value, Mapping):
        parts = {k: text_of(v) for k, v in value.items()}
        if {"low", "best", "high"} <= parts.keys():
            line = f"{parts['low']}, {parts['best']}, {parts['high']}"
            if {"confidence", "shots"} <= parts.keys():
                line += f" (confidence {parts['confidence']}, {parts['shots']} shots)"
            return line
        if parts.keys() == {"p50", "p99"}:
            return f"{parts['p50']}, {parts['p99']}"
        return ", ".join(f"{k} {v}" for k, v in parts.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Real):
        return f"{float(value):.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(text_of(v) for v in value)
    return "-" if value is None else str(value)


def _or(value: float) -> float:
    """Rank what is not known last."""
    return -math.inf if math.isnan(value) else value


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"

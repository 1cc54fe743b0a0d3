"""A comparison in the terminal: who reached what, the planned contrasts, and the tests."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.arena.summary import Comparison
from controller.arena.unit import Figures

__all__ = ["bounds_text", "columns_of", "p_text", "ranked", "relative_text", "show", "tests_of"]

#: Field, heading and form of the figures that have one; others are shown by their names.
_HEADINGS = {
    "fraction_of_bound": ("of bound", "{:.3f}"),
    "delivery_rate": ("delivered", "{:.3f}"),
    "contention": ("contention", "{:.4f}"),
    "contention_loss": ("lost", "{:.3f}"),
    "fidelity": ("fidelity", "{:.4f}"),
    "latency_ms": ("ms", "{:.0f}"),
    "jain": ("Jain", "{:.3f}"),
    "least_share": ("least", "{:.3f}"),
}
_HIDDEN = ("pairs_delivered", "latency_p50_ms", "latency_p99_ms", "fraction_of_windowed")


def show(found: Comparison, title: str, console: Console) -> None:
    """Print a comparison; it fits into 100 columns, and any number of allocators."""
    judged = next(iter(found.allocators))
    for note in dict.fromkeys(row["note"] for row in found.left_out):
        count = sum(row["note"] == note for row in found.left_out)
        console.print(f"left out: {count} of {len(found.cells)} units, because {note}")
    if len(found.left_out) == len(found.cells):
        return
    console.print(_rates(found, judged, title))
    console.print(bounds_text(found), highlight=False)
    if found.paired:
        title = f"{judged} against each, on the same draws; relative, 95 % over networks and seeds"
        console.print(_pairs(found.paired, title, "rival", lambda key: key.split(" vs ")[1]))
    if found.steps:
        title = "the ladder: what each rung adds to the one below it, relative"
        console.print(_pairs(found.steps, title, "step", lambda key: key))
    if found.beliefs:
        title = f"links as tested, and as specified (nominal); the others against {judged} tested"
        console.print(_pairs(found.beliefs, title, "belief", _belief))
    for line in tests_of(found):
        console.print(line, highlight=False)


def _belief(key: str) -> str:
    """Shorten what two beliefs are called.

    >>> _belief("a tested vs a nominal"), _belief("a tested vs b nominal")
    ('a: tested vs nominal', 'vs b nominal')
    """
    ours, theirs = key.split(" vs ")
    name, other = ours.rsplit(" ", 1)[0], theirs.rsplit(" ", 1)[0]
    return f"{name}: tested vs nominal" if name == other else f"vs {theirs}"


def bounds_text(found: Comparison) -> str:
    """Say in a sentence or two what nobody could exceed."""
    bounds = found.bounds
    if bounds is None or bounds.fluid is None:
        return ""
    said = f"The upper bound is {bounds.fluid:.1%} of what was requested."
    if bounds.fair_share is not None and bounds.fair_total is not None:
        said += (
            f" Every node pair can have {bounds.fair_share:.1%} of its demand at once; with that "
            f"left to all, the sum is at most {bounds.fair_total:.1%} of the bound."
        )
    if bounds.windowed is not None:
        plural = "s" * (bounds.windowed_units != 1)
        said += (
            f" In time windows ({bounds.windowed_units} unit{plural}, ten seconds each) the bound "
            f"is {bounds.windowed:.1%} of the fluid one of the same requests."
        )
    return said


def ranked(found: Comparison) -> list[str]:
    """Return the allocators, the largest fraction of the bound first."""
    return sorted(found.allocators, key=lambda name: -found.allocators[name].fraction_of_bound)


def columns_of(found: Comparison) -> list[tuple[str, str, str]]:
    """Return field, heading and form of every figure that any allocator has."""
    rest = [name for name in Figures.__struct_fields__ if name not in (*_HEADINGS, *_HIDDEN)]
    fields = {**_HEADINGS, **{name: (name.replace("_", " "), "{:.3g}") for name in rest}}
    return [
        (field, heading, form)
        for field, (heading, form) in fields.items()
        if any(getattr(row, field, None) is not None for row in found.allocators.values())
    ]


def _rates(found: Comparison, judged: str, title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("allocator", no_wrap=True)
    # What the report has besides would not fit.
    columns = [column for column in columns_of(found) if column[0] != "least_share"]
    for _, heading, _ in columns:
        table.add_column(heading, justify="right")
    for name in ranked(found):
        row = found.allocators[name]
        values = [getattr(row, field) for field, _, _ in columns]
        cells = [
            "-" if value is None else form.format(value)
            for value, (_, _, form) in zip(values, columns, strict=True)
        ]
        mine = name == judged and len(found.allocators) > 1
        table.add_row(Text(f"{name} <" if mine else name), *cells, style="bold" if mine else "")
    return table


def _pairs(
    contrasts: Mapping[str, Mapping[str, Any]],
    title: str,
    heading: str,
    named: Callable[[str], str],
) -> Table:
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(heading, no_wrap=True)
    for column in ("delivered", "better in", "p (Holm)", "not worse", "contention"):
        table.add_column(column, justify="right", no_wrap=True)
    # Rivals by what is won over them; the steps of a ladder as they follow each other.
    order = list(contrasts)
    if heading == "rival":
        order.sort(key=lambda pair: _or(contrasts[pair]["delivery"]["relative"]))
    for pair in order:
        contrast = contrasts[pair]
        delivery, contention = contrast["delivery"], contrast["contention"]
        table.add_row(
            named(pair),
            relative_text(delivery["relative"], [delivery["low"], delivery["high"]]),
            f"{100 * delivery['p_improvement']:.0f} %",
            p_text(delivery["p_holm"]),
            "yes" if contrast["not_worse"]["not_worse"] else "not shown",
            relative_text(contention["relative"], []),
        )
    return table


def tests_of(found: Comparison) -> list[str]:
    """Return a line for every test of all allocators together."""
    lines = []
    if found.anova is not None:
        test = found.anova
        lines.append(
            f"delivery over allocators: F({test.df[0]:.1f}, {test.df[1]:.1f}) = {test.F:.1f}, "
            f"p {p_text(test.p, sign=True)}, generalised eta² = {test.eta_squared:.2f} "
            f"({test.correction}, epsilon {test.epsilon:.2f})"
        )
    if found.mixed is not None:
        model = found.mixed
        if model.note:
            lines.append(f"mixed model: {model.note}")
        elif not model.converged:
            lines.append("mixed model: did not converge; its numbers are not to be used")
        else:
            between = (
                ""
                if model.topology_variance is None
                else (f"topology {model.topology_variance:.2g}, ")
            )
            lines.append(
                f"mixed model of {model.rows} runs: variance between {between}"
                f"trace {model.trace_variance:.2g}, residual {model.residual_variance:.2g}"
            )
    return lines


def p_text(p: float, *, sign: bool = False) -> str:
    """Write a p value.

    >>> p_text(0.0301), p_text(1e-9), p_text(0.5, sign=True), p_text(math.nan)
    ('0.030', '< 0.0001', '= 0.500', '-')
    """
    if math.isnan(p):
        return "-"
    if p < 1e-4:
        return "< 0.0001"
    text = f"{p:.3f}" if p >= 1e-3 else f"{p:.4f}"
    return f"= {text}" if sign else text


def relative_text(relative: float, interval: Sequence[float]) -> str:
    """Write a relative difference with its interval.

    >>> relative_text(0.254, [0.2, 0.31]), relative_text(0.1, [math.nan, math.nan])
    ('+25.4 % [+20.0, +31.0]', '+10.0 %')
    """
    if not math.isfinite(relative):
        return "-"
    text = f"{100 * relative:+.1f} %"
    if interval and all(math.isfinite(end) for end in interval):
        text += f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return text


def _or(value: Any) -> float:
    """Rank what is not known last."""
    return float(value) if math.isfinite(value) else math.inf

"""The report of a comparison: one Markdown page with figures, for a paper or a repository."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from controller.arena.page import report_page
from controller.arena.summary import MARGIN, Comparison
from controller.arena.tables import rows_of
from controller.arena.text import bounds_text, columns_of, p_text, ranked, relative_text, tests_of
from controller.statistics import Coefficient, Mixed
from quantum.output import write_whole

__all__ = ["digests_of", "draw", "report_text", "write_report"]

#: Files whose digests the page has.
_BESIDE = ("comparison.json", "units.jsonl", "units.csv", "units.parquet", "result.json")
#: What a figure shows, by its file name.
_CAPTIONS = {
    "delivery": "Delivered over requested pairs over the load; dashed: the upper bound; crosses: "
    "the bound in time windows, for the requests of ten seconds, where it was asked for. The band "
    "of the judged allocator is a 95 % interval over networks and seeds.",
    "pairs": "The judged allocator against each rival, on the same draws, with 95 % intervals.",
    "regimes": "Who has the largest fraction of the bound in which regime, and by how many points; "
    "the oracle, which knows the future, takes no part.",
    "contention": "Contention, and pairs lost to other requests, over the load.",
    "delay": "Fractions of the bound over the service time of a central controller.",
    "sizes": "Delivery over the number of nodes, with regression lines.",
}


def write_report(
    found: Comparison, folder: Path, title: str, asked: Mapping[str, Any] | None = None
) -> None:
    """Write ``report.md``, ``report.html`` and, where matplotlib is installed, ``figures/*.png``.

    The page holds its figures, the digests of the files in the folder, and ``asked``: what was
    compared.
    """
    drawn = draw(found) if find_spec("matplotlib") is not None else {}
    if drawn:
        (folder / "figures").mkdir(exist_ok=True)
    for name, data in drawn.items():
        write_whole(folder / "figures" / f"{name}.png", data)
    text = report_text(found, title, list(drawn))
    write_whole(folder / "report.md", text.encode())
    page = report_page(text, drawn, digests_of(folder), asked or {})
    write_whole(folder / "report.html", page.encode())


def digests_of(folder: Path) -> dict[str, str]:
    """Return the digests of the files of a comparison that its page names."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name in _BESIDE
    }


def draw(found: Comparison) -> dict[str, bytes]:
    """Draw every figure for which there is something to see, as PNG."""
    from controller.picture.loads import contention_figure, delivery_figure
    from controller.picture.pairs import pairs_figure
    from controller.picture.regimes import regime_figure
    from controller.picture.sweeps import delay_figure, size_figure

    rows = [row for row in rows_of(found) if row["note"] is None]
    if not rows:
        return {}
    judged = next(iter(found.allocators))
    drawn = {"delivery": delivery_figure(rows, judged)}
    if found.paired:
        drawn["pairs"] = pairs_figure(found.paired, judged)
        drawn["regimes"] = regime_figure(rows, judged)
    drawn["contention"] = contention_figure(rows, judged)
    if len({row.get("service_s") for row in rows}) > 1:
        drawn["delay"] = delay_figure(rows, judged)
    if found.sizes:
        drawn["sizes"] = size_figure(rows, found.sizes, judged)
    return drawn


def report_text(found: Comparison, title: str, figures: list[str]) -> str:
    """Return the page."""
    return "\n".join(_lines(found, title, figures)) + "\n"


def _lines(found: Comparison, title: str, figures: list[str]) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    judged = next(iter(found.allocators))
    yield (
        f"Every allocator played the same draws: {len(found.cells)} units, a cell with a seed "
        "each. "
        f"{judged} is judged. Numbers are means over units; intervals are 95 % and resample or "
        "count networks with a seed, not cells."
    )
    yield from _left_out(found)
    yield from ("", "## Who reached what", "")
    yield from _rates(found, judged)
    if found.bounds is not None:
        yield from ("", bounds_text(found))
        yield from _windowed(found)
    if found.paired:
        yield from ("", f"## {judged} against each rival", "")
        yield from _pairs_of(found.paired, "rival", f"{judged} vs ")
    if found.steps:
        yield from ("", "## The ladder", "", "What each rung adds to the one below it.", "")
        yield from _pairs_of(found.steps, "step", "")
    if found.beliefs:
        yield from ("", "## What controllers believe of links", "")
        yield "Links as tested in the run, and as specified (nominal), in the same cells."
        yield ""
        yield from _pairs_of(found.beliefs, "belief", "")
    tests = tests_of(found)
    if tests:
        yield from ("", "## All together", "")
        yield from (f"- {line}" for line in tests)
    if found.mixed is not None and not found.mixed.note:
        yield from _mixed(found.mixed)
    if found.sizes:
        yield from _sizes(found)
    if figures:
        yield from ("", "## Figures", "")
    for name in figures:
        yield from (f"![{name}](figures/{name}.png)", "", _CAPTIONS[name], "")


def _left_out(found: Comparison) -> Iterator[str]:
    for row in found.left_out:
        cell = row["cell"]
        yield ""
        yield f"Left out: {cell['topology']}, {cell['demand']}, seed {row['seed']}: {row['note']}."


def _rates(found: Comparison, judged: str) -> Iterator[str]:
    columns = columns_of(found)
    yield "| allocator | " + " | ".join(heading for _, heading, _ in columns) + " |"
    yield "|---" + "|---:" * len(columns) + "|"
    for name in ranked(found):
        values = [getattr(found.allocators[name], field) for field, _, _ in columns]
        texts = [
            "-" if value is None else form.format(value)
            for value, (_, _, form) in zip(values, columns, strict=True)
        ]
        yield f"| {f'**{name}**' if name == judged else name} | " + " | ".join(texts) + " |"


def _windowed(found: Comparison) -> Iterator[str]:
    """Say what the allocators reach of the bound in time windows, where a unit has it."""
    reached = {name: found.allocators[name].fraction_of_windowed for name in ranked(found)}
    known = {name: value for name, value in reached.items() if value is not None}
    if known:
        yield ""
        yield "Of the bound in time windows, for its requests: " + ", ".join(
            f"{name} {value:.3f}" for name, value in known.items()
        )


def _pairs_of(
    contrasts: Mapping[str, Mapping[str, Any]], heading: str, without: str
) -> Iterator[str]:
    yield (
        "Relative is the ratio of means - 1, with a cluster bootstrap; the difference is in parts "
        "of the bound: interquartile mean with its bootstrap, and mean with Student's t. p is of a "
        "t test on clusters, adjusted by Holm over these contrasts. *Not worse* is shown where two "
        f"one-sided t tests refute a loss of {100 * MARGIN:g} % of the bound or more."
    )
    yield ""
    yield (
        f"| {heading} | delivered, relative | IQM difference | mean difference | better in | d_z "
        "| p (Holm) | not worse | contention, relative |"
    )
    yield "|---" + "|---:" * 8 + "|"
    for pair, contrast in contrasts.items():
        delivery, bound = contrast["delivery"], contrast["fraction_of_bound"]
        cells = [
            relative_text(delivery["relative"], [delivery["low"], delivery["high"]]),
            _difference(bound, "iqm_difference", "iqm"),
            _difference(bound, "difference", "t"),
            f"{100 * delivery['p_improvement']:.0f} %",
            f"{delivery['d_z']:.2f}",
            p_text(delivery["p_holm"]),
            "yes" if contrast["not_worse"]["not_worse"] else "not shown",
            relative_text(
                contrast["contention"]["relative"],
                [contrast["contention"]["low"], contrast["contention"]["high"]],
            ),
        ]
        yield f"| {pair.removeprefix(without)} | " + " | ".join(cells) + " |"


def _difference(contrast: dict[str, float], field: str, ends: str) -> str:
    return _between(contrast[field], contrast[f"{ends}_low"], contrast[f"{ends}_high"])


def _between(value: float, low: float, high: float) -> str:
    """Write a number with its interval, where there is one.

    >>> _between(0.12, 0.1, 0.14), _between(0.12, math.nan, math.nan)
    ('+0.1200 [+0.1000, +0.1400]', '+0.1200')
    """
    known = math.isfinite(low) and math.isfinite(high)
    return f"{value:+.4f}" + (f" [{low:+.4f}, {high:+.4f}]" if known else "")


def _mixed(model: Mixed) -> Iterator[str]:
    yield from ("", "### Mixed model", "")
    yield (
        "`fraction of the bound ~ allocator * load + (1 | topology) + (1 | trace)`; differences to "
        f"{model.reference} at mean load, and how they change with a standard deviation of load."
    )
    if not model.converged:
        yield "**The fit did not converge; do not use these numbers.**"
    yield from ("", "| allocator | difference | with load |", "|---|---:|---:|")
    for name, effect in model.allocators.items():
        more = model.by_load.get(name)
        yield f"| {name} | {_effect(effect)} | {'-' if more is None else _effect(more)} |"
    for warning in model.warnings:
        yield from ("", f"The fit says: {warning}")


def _effect(of: Coefficient) -> str:
    return _between(of.estimate, of.low, of.high)


def _sizes(found: Comparison) -> Iterator[str]:
    yield from ("", "## Over the size of the network", "")
    yield "Delivery rate per 100 nodes, by least squares over networks with a seed."
    yield from ("", "| allocator | slope | R2 |", "|---|---:|---:|")
    for name in ranked(found):
        line = found.sizes[name]["delivery_rate"]
        slope = _between(100 * line.slope, 100 * line.low, 100 * line.high)
        yield f"| {name} | {slope} | {line.r2:.3f} |"

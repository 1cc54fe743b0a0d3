"""The picture of federated experiments: what privacy and liars cost, and what an audit found."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from controller.picture.style import (
    BLUE,
    GREY,
    INK,
    SKY,
    VERMILION,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)

if TYPE_CHECKING:
    from controller.audit import Audit
    from controller.federated_findings import Row

__all__ = ["federation_figure"]


def federation_figure(
    rows: "Sequence[Row]",
    audits: "Sequence[Audit]",
    units: Mapping[str, str],
    *,
    finding: str,
    kind: str = "png",
) -> bytes:
    """Draw a panel for each task, with its schemes below each other, and one for the audits.

    Points are seeds; the bar is the mean, its line the interval of the loss against no privacy.
    """
    check_format(kind)
    longest = max(sum(row.task == task for row in rows) for task in units)
    with look():
        panels = len(units) + bool(audits)
        figure = new_figure(5.6 * panels + 0.6, 0.42 * longest + 1.9)
        places = figure.subplots(1, panels, squeeze=False)[0]
        for axes, (task, unit) in zip(places, units.items(), strict=False):
            _task(axes, [row for row in rows if row.task == task], task, unit)
        if audits:
            _audits(places[-1], audits)
        headline(figure, finding)
        return to_bytes(figure, kind)


def _task(axes: Axes, rows: "Sequence[Row]", task: str, unit: str) -> None:
    clean, place = rows[0].performance, np.arange(len(rows))[::-1]
    # What failed altogether would squeeze all others into a corner: it gets an arrow.
    left = min(0.0, max(-0.5 * abs(clean), min(row.performance for row in rows)))
    right = 1.15 * max(max(row.performance for row in rows), 1e-9)
    for y, row in zip(place.tolist(), rows, strict=True):
        colour = VERMILION if row.poison and not row.bounded else SKY if row.poison else BLUE
        axes.barh(y, max(row.performance, left), color=colour, height=0.62, alpha=0.75)
        inside = [value for value in row.performances if value >= left]
        axes.scatter(inside, np.full(len(inside), y), s=9, color=INK, zorder=5)
        if row.loss_low is not None and row.loss_high is not None:
            ends = [max(clean - row.loss_high, left), max(clean - row.loss_low, left)]
            axes.plot(ends, [y, y], color=INK, linewidth=1.4, zorder=4)
        if row.performance < left:
            axes.text(
                left, y, f" ◀ {row.performance:.3g}", va="center", color="white", fontweight="bold"
            )
    axes.axvline(clean, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    axes.set_yticks(place, [f"{row.scheme}\n{_privacy(row)}" for row in rows], fontsize=8.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left, right)
    axes.set_xlabel(unit)
    axes.set_title(f"{task}, {rows[0].federated_rounds} rounds, {len(rows[0].performances)} seeds")


def _privacy(row: "Row") -> str:
    if row.epsilon is None or row.delta is None:
        return "no ε"
    return f"ε = {row.epsilon:.2f}, δ = {row.delta:.2g}"


def _audits(axes: Axes, audits: "Sequence[Audit]") -> None:
    place = np.arange(len(audits))[::-1]
    axes.barh(place, [one.epsilon for one in audits], color=GREY, height=0.5, label="stated")
    axes.barh(
        place, [one.epsilon_low for one in audits], color=BLUE, height=0.3, label="shown at least"
    )
    axes.set_yticks(place, [f"{one.privacy}\n{one.worlds:,} worlds" for one in audits])
    axes.set_ylim(-0.7, len(audits) - 0.1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"ε at δ = {audits[0].delta:.2g}, confidence {audits[0].confidence:.0%}")
    axes.set_title("privacy audit with canaries")
    axes.legend(loc="upper right", ncols=2)

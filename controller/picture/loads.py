"""Pictures over the load: what was delivered, with the bound drawn in, and contention."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from controller.picture.cast import (
    Look,
    Row,
    cast,
    curve,
    draw_curve,
    half_width,
    legend,
    load_axis,
    means,
)
from controller.picture.style import (
    BLUE,
    INK,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)

__all__ = ["contention_figure", "delivery_figure"]

#: Panels side by side.
_ACROSS = 3


def delivery_figure(rows: Sequence[Row], judged: str, *, kind: str = "png") -> bytes:
    """Draw the delivery rate over the load, a panel for each demand; the bound is the dashed line.

    Means over everything else; the band of the judged allocator is 95 % over networks and seeds.
    """
    check_format(kind)
    looks, (label, x) = cast(rows, judged), load_axis(rows)
    demands = list(dict.fromkeys(row["demand"] for row in rows))
    with look():
        lines = -(-len(demands) // _ACROSS)
        across = min(_ACROSS, len(demands))
        high = max(3.4 * lines + 0.9, 0.21 * len(looks) + 1.6)
        figure = new_figure(max(7.6, 3.4 * across + 3.0), high)
        panels = figure.subplots(lines, across, squeeze=False, sharey=True).ravel()
        for panel, demand in zip(panels, demands, strict=False):
            inside = [row for row in rows if row["demand"] == demand]
            _delivery(panel, inside, looks, x, judged)
            panel.set_title(_short(demand))
            panel.set_xlabel(label)
        for panel in panels[len(demands) :]:
            panel.set_axis_off()
        for panel in panels[::across]:
            panel.set_ylabel("pairs delivered / requested")
        windows = any(row.get("windowed") is not None for row in rows)
        legend(figure, looks, bound=True, windows=windows)
        headline(figure, _finding(rows, judged))
        return to_bytes(figure, kind)


def contention_figure(rows: Sequence[Row], judged: str, *, kind: str = "png") -> bytes:
    """Draw contention and contention loss over the load, means over everything else."""
    check_format(kind)
    looks, (label, x) = cast(rows, judged), load_axis(rows)
    fields = (
        ("contention", "resource-slots that two requests want"),
        ("contention_loss", "pairs lost to other requests / requested"),
    )
    with look():
        figure = new_figure(10.6, max(4.4, 0.21 * len(looks) + 1.6))
        for panel, (field, title) in zip(figure.subplots(1, 2), fields, strict=True):
            for name, mine in looks.items():
                inside = [row for row in rows if row["allocator"] == name]
                draw_curve(panel, mine, *curve(inside, x, field))
            panel.set_ylim(bottom=0)
            panel.set_xlabel(label)
            panel.set_title(title)
            _ticks(panel, sorted({x(row) for row in rows}))
        legend(figure, looks)
        total = means(rows, lambda row: row["allocator"], "contention")
        least = min(total, key=lambda name: (total[name], name))
        headline(
            figure, f"Least contention: {least} ({total[least]:.4f}){_of(total, judged, least)}"
        )
        return to_bytes(figure, kind)


def _delivery(
    axes: Axes,
    rows: Sequence[Row],
    looks: dict[str, Look],
    x: Callable[[Row], float],
    judged: str,
) -> None:
    asked = [{**row, "share": min(1.0, row["bound"] / row["pairs_requested"])} for row in rows]
    axes.plot(*curve(asked, x, "share"), color=INK, linestyle=(0, (5, 3)), linewidth=1.3, zorder=3)
    tight = [
        {**row, "share": row["windowed"] / row["windowed_requested"]}
        for row in rows
        if row.get("windowed") is not None
    ]
    axes.plot(*curve(tight, x, "share"), color=INK, linestyle="none", marker="x", zorder=10)
    for name, mine in looks.items():
        inside = [row for row in rows if row["allocator"] == name]
        draw_curve(axes, mine, *curve(inside, x, "delivery_rate"))
        if name == judged:
            _band(axes, inside, x)
    axes.set_ylim(0, 1.02)
    _ticks(axes, sorted({x(row) for row in rows}))


def _band(axes: Axes, rows: Sequence[Row], x: Callable[[Row], float]) -> None:
    place, middle = curve(rows, x, "delivery_rate")
    half = []
    for at in place:
        inside = [row for row in rows if x(row) == at]
        of = means(inside, lambda row: (row["topology"], row["seed"]), "delivery_rate")
        half.append(half_width(list(of.values())))
    low, high = np.subtract(middle, half), np.add(middle, half)
    axes.fill_between(place, low, np.minimum(high, 1.0), color=BLUE, alpha=0.15, linewidth=0)


def _ticks(axes: Axes, places: Sequence[float]) -> None:
    """Put ticks at the loads themselves, as long as they are few; one load needs room."""
    if len(places) == 1:
        axes.set_xlim(0.5 * places[0], 1.5 * places[0] or 1.0)
    if len(places) <= 6:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))


def _finding(rows: Sequence[Row], judged: str) -> str:
    of = means(rows, lambda row: row["allocator"], "fraction_of_bound")
    rivals = [name for name in of if name != judged]
    said = f"{judged} delivers {of[judged]:.1%} of the upper bound"
    if not rivals:
        return said
    best = max(rivals, key=lambda name: of[name])
    return f"{said}, {best} {of[best]:.1%}"


def _of(total: dict[str, float], judged: str, least: str) -> str:
    return "" if judged == least else f", {judged} {total[judged]:.4f}"


def _short(name: str) -> str:
    """Shorten the path of a file to its name."""
    return name.rpartition("/")[2]

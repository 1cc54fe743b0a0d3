"""Allocators as they look in every picture of a comparison, and rows put together for them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from controller.picture.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION

__all__ = ["Look", "Row", "cast", "curve", "draw_curve", "half_width", "legend", "load_axis"]
__all__ += ["means"]

#: A row of the table of units: fields of cell and unit, ``allocator`` and its figures.
Row = Mapping[str, Any]

# Best rivals have colours; the others share greys, and shapes and dashes tell them apart.
_COLOURS = (VERMILION, GREEN, ORANGE, PURPLE, SKY)
_MARKERS = "sD^vPXp*d<>"
_GREYS = ("#6E6E6E", "#9A9A9A")
_DASHES: tuple[Any, ...] = ((0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 2)))


@dataclass(frozen=True)
class Look:
    """How one allocator is drawn."""

    colour: str
    marker: str
    dashes: Any
    width: float
    layer: int


def cast(rows: Sequence[Row], judged: str) -> dict[str, Look]:
    """Give every allocator its look, the best first; the judged one is blue and bold."""
    best = means(rows, lambda row: row["allocator"], "fraction_of_bound")
    order = sorted(best, key=lambda name: (-best[name], name))
    looks, rivals = {}, 0
    for name in order:
        if name == judged:
            looks[name] = Look(BLUE, "o", "-", 2.8, 9)
            continue
        marker = _MARKERS[rivals % len(_MARKERS)]
        if rivals < len(_COLOURS):
            looks[name] = Look(_COLOURS[rivals], marker, "-", 1.7, 7)
        else:
            grey = _GREYS[rivals % len(_GREYS)]
            looks[name] = Look(grey, marker, _DASHES[rivals % len(_DASHES)], 1.1, 4)
        rivals += 1
    return looks


def means(rows: Sequence[Row], key: Callable[[Row], Any], field: str) -> dict[Any, float]:
    """Return the mean of a figure over the rows of each key; rows without it do not count."""
    groups: dict[Any, list[float]] = {}
    for row in rows:
        if row[field] is not None:
            groups.setdefault(key(row), []).append(float(row[field]))
    return {name: math.fsum(values) / len(values) for name, values in groups.items()}


def load_axis(rows: Sequence[Row]) -> tuple[str, Callable[[Row], float]]:
    """Return what loads are called and how a row tells its own."""
    if all(row["knee_fraction"] is not None for row in rows):
        return "load (% of the knee)", lambda row: 100.0 * row["knee_fraction"]
    if len({row["nodes"] for row in rows}) > 1:
        return "load (pairs/s per node)", lambda row: float(f"{row['load_hz'] / row['nodes']:.4g}")
    return "load (pairs/s)", lambda row: float(f"{row['load_hz']:.4g}")


def curve(
    rows: Sequence[Row], x: Callable[[Row], float], field: str
) -> tuple[list[float], list[float]]:
    """Return the points of one line, each a mean over rows, from left to right."""
    found = means(rows, x, field)
    return sorted(found), [found[place] for place in sorted(found)]


def draw_curve(axes: Axes, look: Look, x: Sequence[float], y: Sequence[float]) -> None:
    """Draw the line of an allocator."""
    axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=look.width,
        marker=look.marker,
        markersize=4.5 if look.layer < 9 else 6,
        zorder=look.layer,
        clip_on=False,
    )


def legend(
    figure: Figure,
    looks: Mapping[str, Look],
    *,
    bound: bool = False,
    windows: bool = False,
    title: str | None = None,
) -> None:
    """Put one legend for all panels on the right, in the order of the looks."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle=look.dashes,
            linewidth=look.width,
            marker=look.marker,
            markersize=5,
            label=name,
        )
        for name, look in looks.items()
    ]
    if windows:
        cross = Line2D([], [], color=INK, linestyle="none", marker="x", label="bound in windows")
        handles.insert(0, cross)
    if bound:
        line = Line2D([], [], color=INK, linestyle=(0, (5, 3)), linewidth=1.3, label="upper bound")
        handles.insert(0, line)
    figure.legend(
        handles=handles, loc="outside right center", fontsize=9.5, handlelength=2.6, title=title
    )


def half_width(values: Sequence[float]) -> float:
    """Return half of the 95 % interval of a mean, by Student's t; nan for fewer than two."""
    from scipy import stats

    if len(values) < 2:
        return math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return error * float(stats.t.ppf(0.975, len(values) - 1))

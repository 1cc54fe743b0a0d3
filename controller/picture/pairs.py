"""The forest plot: the judged allocator against each rival, with intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from controller.picture.style import (
    BLUE,
    INK,
    SKY,
    VERMILION,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)

__all__ = ["pairs_figure"]


def pairs_figure(
    paired: Mapping[str, Mapping[str, Any]], judged: str, *, kind: str = "png"
) -> bytes:
    """Draw the planned contrasts.

    ``paired`` is that of a comparison. Left: ratio of delivered pairs - 1, with its bootstrap
    interval; right: interquartile mean of the differences in fractions of the bound, with its
    bootstrap interval (thick) and the mean with Student's t (thin, below).
    """
    check_format(kind)
    order = sorted(paired, key=lambda pair: _or(paired[pair]["delivery"]["relative"]), reverse=True)
    names = [pair.removeprefix(f"{judged} vs ") for pair in order]
    delivery = [paired[pair]["delivery"] for pair in order]
    bound = [paired[pair]["fraction_of_bound"] for pair in order]
    with look():
        figure = new_figure(11, 1.75 + 0.36 * max(2, len(order)))
        left, right = figure.subplots(1, 2, sharey=True)
        places = np.arange(len(order), dtype=float)
        relative = [(c["relative"], c["low"], c["high"]) for c in delivery]
        _bars(left, places, relative, BLUE, 2.6, "o")
        left.set_title("delivered pairs, ratio of means - 1")
        left.set_xlabel("difference (%)")
        middle = [(c["iqm_difference"], c["iqm_low"], c["iqm_high"]) for c in bound]
        straight = [(c["difference"], c["t_low"], c["t_high"]) for c in bound]
        _bars(right, places - 0.1, middle, BLUE, 2.6, "o", "interquartile mean")
        _bars(right, places + 0.2, straight, SKY, 1.3, "|", "mean, Student's t")
        margin = -100.0 * float(paired[order[0]]["not_worse"]["margin"])
        right.axvline(margin, color=VERMILION, linestyle=(0, (5, 3)), linewidth=1.3, label="margin")
        right.set_title("fraction of the bound, difference in points", pad=26)
        right.set_xlabel("difference (points)")
        right.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, fontsize=9, borderaxespad=0.2
        )
        for axes in (left, right):
            axes.axvline(0.0, color=INK, linewidth=1.0)
        left.set_yticks(places, names)
        left.set_ylim(-0.6, len(order) - 0.4)
        left.invert_yaxis()
        shown = sum(c["low"] > 0.0 for c in delivery)
        headline(
            figure, f"{judged} delivers more than {shown} of {len(order)} rivals, with its interval"
        )
        return to_bytes(figure, kind)


def _bars(
    axes: Axes,
    places: np.ndarray,
    values: Sequence[tuple[float, float, float]],
    colour: str,
    width: float,
    marker: str,
    label: str | None = None,
) -> None:
    table = 100.0 * np.array(values, dtype=np.float64).reshape(-1, 3)
    axes.hlines(places, table[:, 1], table[:, 2], color=colour, linewidth=width)
    axes.plot(
        table[:, 0], places, marker, color=colour, markersize=6, linestyle="none", label=label
    )


def _or(value: float | None) -> float:
    return -math.inf if value is None or not math.isfinite(value) else value

"""Pictures of sweeps: over the controller's service time, and over the size of the network."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from controller.picture.cast import Row, cast, curve, draw_curve, legend, means
from controller.picture.style import (
    BLUE,
    INK,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)
from controller.statistics import Regression

__all__ = ["crossing", "delay_figure", "size_figure"]


def delay_figure(rows: Sequence[Row], judged: str, *, kind: str = "png") -> bytes:
    """Draw fractions of the bound over the service time of a central controller.

    Where the judged allocator crosses the rival that is best without delay, a line says where.
    """
    check_format(kind)
    looks = cast(rows, judged)

    def x(row: Row) -> float:
        return 1e3 * float(row["service_s"])

    lines = {
        name: curve([row for row in rows if row["allocator"] == name], x, "fraction_of_bound")
        for name in looks
    }
    rivals = [name for name in lines if name != judged]
    best = max(rivals, key=lambda name: lines[name][1][0], default=None)
    with look():
        figure = new_figure(9.6, max(4.6, 0.21 * len(looks) + 1.6))
        axes = figure.subplots()
        for name, mine in looks.items():
            draw_curve(axes, mine, *lines[name])
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("service time of a central controller (ms)")
        axes.set_ylabel("fraction of the bound")
        said = f"{judged} beside central rivals whose controller takes its time"
        if best is not None:
            at = crossing(lines[judged][0], lines[judged][1], lines[best][1])
            gaps = np.subtract(lines[judged][1], lines[best][1])
            ahead, behind = (judged, best) if gaps.sum() > 0.0 else (best, judged)
            said = f"{ahead} delivers more than {behind} at every service time"
            if at is not None:
                axes.axvline(at, color=INK, linestyle=(0, (5, 3)), linewidth=1.2)
                axes.text(at, 0.02, f" {at:.0f} ms", ha="left", va="bottom", fontsize=9.5)
                said = f"{judged} and {best} cross at {at:.0f} ms"
        legend(figure, looks)
        headline(figure, said)
        return to_bytes(figure, kind)


def crossing(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the first x at which two lines cross, None where they do not.

    >>> crossing([0.0, 10.0], [1.0, 1.0], [1.5, 0.5])
    5.0
    """
    gap = np.subtract(a, b)
    for k in range(len(gap) - 1):
        if gap[k] * gap[k + 1] < 0.0:
            return float(x[k] + (x[k + 1] - x[k]) * gap[k] / (gap[k] - gap[k + 1]))
    return None


def size_figure(
    rows: Sequence[Row],
    sizes: Mapping[str, Mapping[str, Regression]],
    judged: str,
    *,
    kind: str = "png",
) -> bytes:
    """Draw delivery over the number of nodes, with the regression of every allocator.

    Points are networks with a seed, of the judged allocator; ``sizes`` is that of a comparison.
    """
    check_format(kind)
    looks = cast(rows, judged)
    with look():
        figure = new_figure(11.2, max(4.6, 0.21 * len(looks) + 1.6))
        axes = figure.subplots()
        ends = np.array([min(r["nodes"] for r in rows), max(r["nodes"] for r in rows)], dtype=float)
        for name, mine in looks.items():
            line = sizes[name]["delivery_rate"]
            axes.plot(
                ends,
                line.intercept + line.slope * ends,
                color=mine.colour,
                linestyle=mine.dashes,
                linewidth=mine.width,
                zorder=mine.layer,
            )
        own = [row for row in rows if row["allocator"] == judged]
        points = means(
            own, lambda row: (row["topology"], row["seed"], row["nodes"]), "delivery_rate"
        )
        axes.scatter(
            [nodes for _, _, nodes in points], list(points.values()), s=22, color=BLUE, zorder=10
        )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("nodes")
        axes.set_ylabel("pairs delivered / requested")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        told = {}
        for name, mine in looks.items():
            line = sizes[name]["delivery_rate"]
            per = 100.0 * np.array([line.slope, line.low, line.high])
            label = f"{name}  {per[0]:+.3f} [{per[1]:+.3f}, {per[2]:+.3f}], R² {line.r2:.2f}"
            told[label] = mine
        legend(figure, told, title="change per 100 nodes, 95 % interval")
        ours = sizes[judged]["delivery_rate"]
        headline(
            figure,
            f"Delivery of {judged} changes by {100 * ours.slope:+.3f} "
            f"per 100 nodes (R² {ours.r2:.2f})",
        )
        return to_bytes(figure, kind)

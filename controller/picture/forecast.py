"""The picture of a forecast: what came at a node, what was expected, and who came how near."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from controller.picture.style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)

__all__ = ["forecast_figure"]

Floats = NDArray[np.float64]


def forecast_figure(
    time_s: Sequence[float],
    came: Sequence[float],
    expected: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    scores: Mapping[str, float],
    *,
    judged: str,
    finding: str,
    kind: str = "png",
) -> bytes:
    """Draw the busiest node's demand with its forecast, and the mean CRPS of all forecasters.

    ``came`` pairs in the half second after each time, ``expected`` pairs with the 80 % interval
    from ``low`` to ``high``; ``scores`` pairs, less is better.
    """
    check_format(kind)
    with look():
        figure = new_figure(10.6, max(4.4, 0.3 * len(scores) + 1.8))
        demand, rivals = figure.subplots(1, 2, width_ratios=(2.0, 1.0))
        _demand(demand, *(np.asarray(x, dtype=np.float64) for x in (time_s, came, expected)))
        demand.fill_between(
            time_s, low, high, color=BLUE, alpha=0.18, linewidth=0, step="post", label="80 %"
        )
        demand.legend(loc="upper right")
        _scores(rivals, scores, judged)
        headline(figure, finding)
        return to_bytes(figure, kind)


def _demand(axes: Axes, time_s: Floats, came: Floats, expected: Floats) -> None:
    axes.vlines(time_s, 0.0, came, color=INK, linewidth=1.2, label="came")
    axes.step(time_s, expected, where="post", color=BLUE, linewidth=1.5, label="expected")
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("network time (s)")
    axes.set_ylabel("pairs in the next half second")
    axes.set_title("the busiest node")


def _scores(axes: Axes, scores: Mapping[str, float], judged: str) -> None:
    names = sorted(scores, key=lambda name: -scores[name])
    colours = [BLUE if n == judged else VERMILION if n == "oracle" else GREY for n in names]
    axes.barh(names, [scores[name] for name in names], color=colours)
    axes.set_xlim(left=0.95 * min(scores.values()))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("CRPS of a step (pairs)")
    axes.set_title("all forecasters")

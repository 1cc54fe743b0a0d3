"""The picture of how fast a policy is learned: together, alone, and by one central learner."""

from typing import TYPE_CHECKING

import numpy as np

from controller.picture.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)
from controller.statistics import iqm

if TYPE_CHECKING:
    from controller.convergence import Converged

__all__ = ["convergence_figure"]

_COLOURS = (BLUE, VERMILION, ORANGE, PURPLE)


def convergence_figure(found: "Converged", *, finding: str, kind: str = "png") -> bytes:
    """Draw performance over rounds, thin for a seed, thick for the interquartile mean of seeds.

    A dot marks the rounds to 95 % of a scheme's own final level.
    """
    check_format(kind)
    at = np.arange(found.rounds + 1)
    with look():
        figure = new_figure(9.6, 4.8)
        axes = figure.subplots()
        for colour, one in zip(_COLOURS, found.curves, strict=False):
            table = np.array(one.performances)
            for row in table:
                axes.plot(at, row, color=colour, linewidth=0.6, alpha=0.3)
            middle = np.array([iqm(column) for column in table.T])
            axes.plot(at, middle, color=colour, linewidth=2.2, label=one.scheme)
            axes.scatter(
                [one.to_final.steps],
                [middle[int(one.to_final.steps)]],
                color=colour,
                s=48,
                zorder=5,
            )
        axes.axhline(
            float(np.mean(found.heuristic)), color=GREY, linestyle=(0, (5, 3)), label="heuristic"
        )
        axes.set_xlim(0, found.rounds)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel(f"rounds of {found.round_s:g} s")
        axes.set_ylabel("points of the bound, unseen draws")
        axes.legend(loc="lower right", ncols=2)
        headline(figure, finding)
        return to_bytes(figure, kind)

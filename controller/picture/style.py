"""The look that all pictures share, and the one place that turns a figure into bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from quantum.errors import InputError

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILION",
    "check_format",
    "empty",
    "headline",
    "look",
    "new_figure",
    "to_bytes",
]

# M. Okabe and K. Ito, "Color universal design" (2008).
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8C8C8C"
INK = "#222222"

# Height kept free for the headline.
_HEADLINE_IN = 0.42

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "dpem",
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in our style inside the block; the caller's settings of matplotlib come back after."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """Open a white figure that needs no display."""
    # A margin on the right for titles that reach beyond their panel.
    height = 1.0 - _HEADLINE_IN / height_in
    layout = ConstrainedLayoutEngine(rect=(0.008, 0.0, 0.975, height), w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width_in, height_in), dpi=160, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def headline(figure: Figure, text: str) -> None:
    """Put the finding above all panels, smaller where it is long."""
    # A bold letter is two thirds as wide as it is high, on average.
    size = min(14.0, 0.96 * 72.0 * figure.get_figwidth() / (0.66 * max(1, len(text))))
    figure.suptitle(text, x=0.012, y=0.985, ha="left", va="top", fontsize=size, fontweight="bold")


def empty(axes: Axes, text: str) -> None:
    """Say in an otherwise bare panel why there is nothing to see."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def check_format(kind: str) -> None:
    """Refuse what is neither ``png`` nor ``svg``."""
    if kind not in ("png", "svg"):
        raise InputError(f"figure format must be 'png' or 'svg', got {kind!r}")


def to_bytes(figure: Figure, kind: str) -> bytes:
    """Return the figure as ``png`` or ``svg``, without date and program name."""
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()

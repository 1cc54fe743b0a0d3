"""The picture of a network: a map coloured by measured fidelity, and every link's interval."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from controller.picture.style import (
    GREY,
    INK,
    VERMILION,
    check_format,
    empty,
    headline,
    look,
    new_figure,
    to_bytes,
)
from quantum.errors import InputError

__all__ = ["network_figure"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def network_figure(
    position_km: ArrayLike,
    links: ArrayLike,
    fidelity: ArrayLike,
    demand_hz: ArrayLike,
    *,
    levels: Sequence[float] = (),
    name: str = "",
    kind: str = "png",
) -> bytes:
    """Draw a network and return the bytes of a ``png`` or ``svg`` file.

    ``position_km`` (n, 2); ``links`` (m, 2) node indices; ``fidelity`` (m, 3) measured low, best
    and high, rows of nan where a link was never tested; ``demand_hz`` (n,) pairs per second asked
    for with this node as an end; ``levels`` the fidelities that requests ask for.
    """
    check_format(kind)
    place = np.asarray(position_km, dtype=np.float64).reshape(-1, 2)
    ends = np.asarray(links, dtype=np.int64).reshape(-1, 2)
    measured = np.asarray(fidelity, dtype=np.float64).reshape(-1, 3)
    demand = np.asarray(demand_hz, dtype=np.float64).reshape(-1)
    if len(measured) != len(ends):
        raise InputError(f"fidelity must have one row for each of {len(ends)} links")
    if len(demand) != len(place):
        raise InputError(f"demand_hz must have one value for each of {len(place)} nodes")
    if not np.all(np.isfinite(place)) or not np.all(np.isfinite(demand)) or np.any(demand < 0):
        raise InputError("position_km and demand_hz must be finite, demand_hz not negative")
    if len(ends) and (ends.min() < 0 or ends.max() >= len(place)):
        raise InputError(f"links name nodes 0 to {len(place) - 1} only")
    known = np.asarray(np.isfinite(measured).all(axis=1))
    scale = _scale(measured[known], levels)
    with look():
        figure = new_figure(11, 5.6)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _map(left, place, ends, measured, demand, known, scale)
        _ranking(right, measured[known], levels, scale)
        if known.any():
            colours = mpl.cm.ScalarMappable(norm=scale, cmap="viridis_r")
            bar = figure.colorbar(colours, ax=left, shrink=0.75, pad=0.02)
            bar.ax.set_title("fidelity", loc="left", fontsize=9.5, fontweight="normal")
            bar.ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
            bar.ax.yaxis.set_major_formatter("{x:.2f}")
        title = _finding(measured[known], len(ends), levels)
        headline(figure, f"{name}: {title}" if name else title)
        return to_bytes(figure, kind)


def _finding(measured: Floats, links: int, levels: Sequence[float]) -> str:
    if not len(measured):
        return f"none of {links} links was tested"
    if levels:
        wanted = max(levels)
        below = int(np.sum(measured[:, 2] < wanted))
        above = int(np.sum(measured[:, 0] >= wanted))
        return f"{above} of {links} links lie above {wanted:.2f} with their interval, {below} below"
    low, high = measured[:, 1].min(), measured[:, 1].max()
    span = f"{low:.2f} to {high:.2f}" if len(measured) > 1 else f"{low:.2f}"
    return f"{len(measured)} of {links} links tested, fidelity {span}"


def _scale(measured: Floats, levels: Sequence[float]) -> Normalize:
    if not len(measured):
        return Normalize(0.0, 1.0)
    low, high = float(measured[:, 1].min()), float(measured[:, 1].max())
    if high - low < 0.05:
        low, high = low - 0.025, high + 0.025
    return Normalize(max(0.0, low), min(1.0, high))


def _map(
    axes: Axes,
    place: Floats,
    ends: Ints,
    measured: Floats,
    demand: Floats,
    known: NDArray[np.bool_],
    scale: Normalize,
) -> None:
    if not len(place):
        empty(axes, "the network has no nodes")
        return
    dark = LineCollection(
        list(place[ends[~known]]), colors=GREY, linewidths=1.0, linestyles=(0, (1.5, 2)), zorder=1
    )
    axes.add_collection(dark)
    bright = LineCollection(list(place[ends[known]]), cmap="viridis_r", norm=scale, zorder=2)
    bright.set_array(measured[known, 1])
    bright.set_linewidth(2.4)
    axes.add_collection(bright)
    top = float(demand.max()) or 1.0
    area = 14 + 190 * demand / top
    east, north = place.T
    axes.scatter(east, north, s=area, color="white", edgecolors=INK, linewidths=1.1, zorder=3)
    # Empty markers with a label make the legend of sizes.
    for share in (1.0, 0.3) if demand.any() else ():
        axes.scatter(
            [],
            [],
            s=14 + 190 * share,
            color="white",
            edgecolors=INK,
            linewidths=1.1,
            label=f"{top * share:.2g} pairs/s asked",
        )
    if (~known).any():
        axes.plot([], [], color=GREY, linestyle=(0, (1.5, 2)), label="never tested")
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)
    axes.autoscale_view()
    axes.grid(visible=False)
    axes.set_xlabel("east (km)")
    axes.set_ylabel("north (km)")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, fontsize=9.5, handletextpad=0.6
        )


def _ranking(axes: Axes, measured: Floats, levels: Sequence[float], scale: Normalize) -> None:
    if not len(measured):
        empty(axes, "no test pair was measured on any link")
        return
    low, best, high = measured[np.argsort(measured[:, 1], kind="stable")].T
    rank = np.arange(1, len(best) + 1)
    colours = mpl.colormaps["viridis_r"](scale(best))
    width = max(0.8, min(4.0, 160 / len(best)))
    axes.vlines(rank, low, high, colors=colours, linewidth=width, label="interval")
    dot = max(4.0, min(30.0, 900 / len(best)))
    axes.scatter(rank, best, s=dot, color=INK, zorder=3, label="best estimate")
    bottom, top = float(low.min()), float(high.max())
    for number, level in enumerate(sorted(levels)):
        label = "requested" if number == 0 else None
        axes.axhline(level, color=VERMILION, linestyle=(0, (5, 3)), linewidth=1.3, label=label)
        bottom, top = min(bottom, level), max(top, level)
    room = max(top - bottom, 0.02)
    axes.set_ylim(max(0.0, bottom - 0.06 * room), min(1.0 + 0.02 * room, top + 0.08 * room))
    axes.set_xlim(0, len(best) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("links, the worst first")
    axes.set_ylabel("measured fidelity and its interval")
    axes.set_title(f"Typical width of an interval: {np.median(high - low):.3f}")
    axes.legend(loc="upper left", fontsize=9.5)

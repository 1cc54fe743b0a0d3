"""Pictures of games, on matplotlib Axes that you may have made."""

from typing import Any

import numpy as np

from controller.api.games import Played
from quantum.bell import fidelity
from quantum.errors import InputError
from quantum.network import Network

__all__ = ["plot", "plot_network"]

# M. Okabe and K. Ito, "Color universal design" (2008).
_DONE, _ASKED, _INK = "#0072B2", "#BBBBBB", "#222222"


def plot(*played: Played, ax: Any = None) -> Any:
    """Draw pairs asked and delivered over network time, a line for each game; return the Axes.

    Sums run over all requests, by the time of the request; delivered pairs met their fidelity.
    """
    if not played or not all(isinstance(one, Played) for one in played):
        raise InputError("plot needs at least one result of api.play")
    axes = _axes(ax)
    first = played[0].requests
    axes.step(
        first["time_s"], np.cumsum(first["pairs"]), where="post", color=_ASKED, label="requested"
    )
    styles = ("-", "--", ":", "-.")
    for number, one in enumerate(played):
        axes.step(
            one.requests["time_s"],
            np.cumsum(one.requests["good"]),
            where="post",
            color=_DONE,
            linestyle=styles[number % len(styles)],
            alpha=1.0 if number < len(styles) else 0.5,
            label=one.allocator,
        )
    axes.set(xlabel="network time of the request (s)", ylabel="pairs")
    axes.legend(frameon=False)
    return axes


def plot_network(network: Network, ax: Any = None) -> Any:
    """Draw nodes where they are and links by the fidelity of a fresh pair; return the Axes."""
    if not isinstance(network, Network):
        raise InputError(f"network must come from api.network, got {type(network).__name__}")
    axes = _axes(ax)
    # Only after matplotlib has been asked for in a way that says how to get it.
    from matplotlib.collections import LineCollection

    place = network.position_km
    lines = LineCollection([place[link] for link in network.links.tolist()], cmap="cividis")
    lines.set_array(fidelity(network.populations))
    axes.add_collection(lines)
    axes.plot(*place.T, "o", color=_INK, markersize=4)
    if len(network.nodes) <= 30:
        for name, (x, y) in zip(network.nodes, place.tolist(), strict=True):
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=8)
    axes.set(xlabel="east (km)", ylabel="north (km)", aspect="equal", title=network.name)
    if len(network.links):
        axes.figure.colorbar(lines, ax=axes, label="fidelity of a fresh pair")
    return axes


def _axes(given: Any) -> Any:
    if given is not None:
        return given
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'dpem[learn]'") from None
    return plt.subplots()[1]

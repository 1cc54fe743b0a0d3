"""The picture of a controller that is lost: what was delivered before, meanwhile and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.picture.style import (
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)

__all__ = ["loss_figure"]

#: Colour, line style and width of every play.
_LOOKS: dict[str, tuple[str, Any, float]] = {
    "dpem whole": (BLUE, (0, (2, 2)), 1.2),
    "central whole": (VERMILION, (0, (2, 2)), 1.2),
    "filling": (ORANGE, "-", 1.8),
    "central": (VERMILION, "-", 2.2),
    "dpem": (BLUE, "-", 2.2),
}


def loss_figure(
    time_s: Sequence[float],
    shares: Mapping[str, Sequence[float | None]],
    names: Mapping[str, str],
    *,
    lost: tuple[float, float],
    meanwhile: Mapping[str, float],
    kind: str = "png",
) -> bytes:
    """Draw shares of delivered pairs over the time of their request, one curve for every play.

    ``time_s`` are the middles of the bins, ``shares`` is None where nobody asked; ``lost`` begin
    and end; ``meanwhile`` the shares over that time, by play.
    """
    check_format(kind)
    with look():
        figure = new_figure(9.6, 5.0)
        axes = figure.subplots()
        axes.axvspan(*lost, color=GREY, alpha=0.18, linewidth=0)
        axes.text(lost[0], 1.03, " controller gone", color=GREY, va="bottom", fontsize=9)
        for name, (colour, style, width) in _LOOKS.items():
            y = [float("nan") if share is None else share for share in shares[name]]
            label = names[name]
            axes.plot(time_s, y, color=colour, linestyle=style, linewidth=width, label=label)
        axes.set_ylim(0.0, 1.02)
        axes.set_xlabel("time of the request (s of network time)")
        axes.set_ylabel("pairs delivered / requested")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)
        headline(
            figure,
            f"While the controller is gone: {meanwhile['dpem']:.2f} delivered by nodes, "
            f"{meanwhile['central']:.2f} by a central allocator",
        )
        return to_bytes(figure, kind)

"""What a live network costs as it grows: ``python -m controller.picture.scale IN.json OUT.png``.

IN.json is what ``dpem bench scale --json`` wrote.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from controller.picture.style import (
    BLUE,
    GREEN,
    ORANGE,
    check_format,
    headline,
    look,
    new_figure,
    to_bytes,
)
from quantum.output import write_whole

__all__ = ["scale_figure"]

_PARTS = {"broker": ("broker", BLUE), "agents": ("4 agent processes", ORANGE)}
_PARTS |= {"workers": ("worker", GREEN)}


def scale_figure(rows: Sequence[Mapping[str, Any]], *, kind: str = "png") -> bytes:
    """Draw processor time per node and slot, and memory, over the number of nodes."""
    check_format(kind)
    most = rows[-1]
    whole = sum(most[f"{part}_us_per_node_slot"] for part in _PARTS) * most["nodes"] / 1e3
    with look():
        figure = new_figure(9.6, 4.2)
        times, sizes = figure.subplots(1, 2)
        _panel(times, rows, "us_per_node_slot", "processor time per node and slot (µs)")
        _panel(sizes, rows, "mib", "resident memory (MiB)")
        times.legend(loc="upper right")
        headline(
            figure, f"{most['nodes']:,} nodes in 4 processes: {whole:.0f} ms of processor a slot"
        )
        return to_bytes(figure, kind)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, title: str) -> None:
    nodes = [row["nodes"] for row in rows]
    for part, (label, colour) in _PARTS.items():
        values = [row[f"{part}_{key}"] for row in rows]
        axes.plot(nodes, values, color=colour, marker="o", label=label)
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_xticks(nodes, [f"{n:,}" for n in nodes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("nodes")


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    write_whole(
        target, scale_figure(json.loads(source.read_bytes())["rows"], kind=target.suffix[1:])
    )

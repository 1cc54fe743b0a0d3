"""``dpem bench scale``: what a live network costs as it grows, in memory and in processor time.

The closed loop as ``dpem run`` plays it (CURVE over loopback, four agent processes, one analytic
worker), on meshes of more and more nodes with the load in proportion. Times are processor time of
each process from the first telemetry to the last, so that they hold on a busy machine too. Stock
targets come from shortest paths: the linear program that spreads them is planned offline.
"""

import tempfile
from pathlib import Path
from typing import Any

from controller.live import run_live
from controller.setting import Setting
from controller.usage import Point, grouped, need_proc, points
from quantum.egp import Telemetry
from quantum.presets import LOAD_PER_NODE_HZ

__all__ = ["SIZES", "measured", "scale"]

#: Nodes of the networks.
SIZES = (100, 300, 1000)
AGENTS = 4
_SECONDS = 4.0


def scale() -> dict[str, Any]:
    """Measure networks of :data:`SIZES`, the smallest of which is the reference; Linux only."""
    rows = [measured(nodes) for nodes in SIZES]
    first, last = rows[0], rows[-1]
    return {
        "name": "scale",
        "results": {
            f"{key}_{row['nodes']}": value
            for row in rows[1:]
            for key, value in row.items()
            if key != "nodes"
        },
        "reference": {f"{key}_{first['nodes']}": value for key, value in first.items()},
        "ratio": {
            f"{part}_{kind}": last[f"{part}_{kind}"] / first[f"{part}_{kind}"]
            for kind in ("us_per_node_slot", "mib")
            for part in ("broker", "agents")
        },
        "rows": rows,
    }


def measured(nodes: int, *, seconds: float = _SECONDS) -> dict[str, Any]:
    """Play a live run of ``nodes`` nodes in :data:`AGENTS` processes and say what it costs.

    Microseconds of processor time per node and slot, MiB of the processes at the end, and KiB that
    a node more costs in its agent process, on top of what the process itself needs.
    """
    need_proc("dpem bench scale")
    seen: list[tuple[int, dict[str, Point]]] = []

    def stage(_: str, telemetry: Telemetry | None) -> None:
        if telemetry is not None:
            seen.append((telemetry.slot, points()))

    setting = Setting(
        topology=f"mesh-{nodes}",
        demand="poisson",
        load_hz=LOAD_PER_NODE_HZ * nodes,
        backend="analytic",
        learn=False,
        seconds=seconds,
        warmup_s=1.0,
        agents=AGENTS,
        rivals=(),
    )
    with tempfile.TemporaryDirectory(prefix="dpem-bench-") as folder:
        summary = run_live(setting, Path(folder) / "run", stage).summary
    # The first slots compile kernels.
    begun = next(n for n, (slot, _) in enumerate(seen) if slot >= 1.0 / 0.02)
    (first, before), (last, after) = seen[begun], seen[-2]
    spent = grouped({name: after[name].cpu_s - before[name].cpu_s for name in after})
    memory = grouped({name: point.memory_mib for name, point in after.items()})
    return {
        "nodes": nodes,
        "slots": last - first,
        "pairs_requested": summary["pairs_requested"],
        **{
            f"{part}_us_per_node_slot": 1e6 * cpu_s / (last - first) / nodes
            for part, cpu_s in spent.items()
        },
        **{f"{part}_mib": mib for part, mib in memory.items()},
    }

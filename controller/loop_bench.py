"""``dpem bench loop``: executed pairs per second from agent to reward, through real sockets.

The closed loop as ``dpem run`` plays it (two agent processes, broker, one Aer worker, CURVE over
loopback, everything on the record), on the paper's mesh with hardware that makes and swaps many
times more pairs, asked for in requests of four. Every link pair is executed once, with its own
populations and its own waits, as part of the chain that it ended in; what was drawn for a test is
measured, and rewards go back to the agents. Agents remember what they did; the rounds in which they
learn from it come every five seconds in a run and are left out here (``dpem bench ppo``).

The rate is by the wall clock over slots in which every kernel is compiled; on a machine that others
use the processor time of all processes for each pair says more. The reference is the same loop in
one process: the same minds and the same dispatcher, no sockets, and the ledger's closed form in the
place of Aer.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from controller.game import prepare
from controller.live import run_live
from controller.rivals.dpem import player
from controller.setting import Setting, scenario_of
from controller.usage import Point, grouped, need_proc, points
from quantum.egp import Telemetry
from quantum.flows import knee
from quantum.ledger import new_ledger
from quantum.ledger.state import ASSEMBLED, SWAPS, TESTS
from quantum.topology import load_topology, to_json

__all__ = ["loop"]

#: Generation and swap rates over those of the paper's network, and qubits of a node.
MORE_PAIRS, MORE_SWAPS, QUBITS = 100.0, 1000.0, 128
LOAD_HZ = 8000.0
#: Less than the five seconds of a round, in which nodes learn and the gate plays the past.
SECONDS, WARMUP_S = 3.0, 0.9


class Seen(NamedTuple):
    """One look at the run: its telemetry, when, and what its processes had used."""

    telemetry: Telemetry
    at_s: float
    used: dict[str, Point]


def loop() -> dict[str, Any]:
    """Measure the closed loop and its reference; Linux only; keys of DESIGN section 7."""
    need_proc("dpem bench loop")
    with tempfile.TemporaryDirectory(prefix="dpem-bench-") as name:
        folder = Path(name)
        setting = _setting(folder)
        seen: list[Seen] = []

        def stage(_: str, telemetry: Telemetry | None) -> None:
            if telemetry is not None:
                seen.append(Seen(telemetry, time.perf_counter(), points()))

        run_live(setting, folder / "run", stage)
        alone = _alone(setting)
    return _figures(seen, alone)


def _setting(folder: Path) -> Setting:
    network = load_topology("mesh", seed=0)
    fast = replace(
        network,
        name="mesh-fast",
        generation_hz=network.generation_hz * MORE_PAIRS,
        swap_hz=network.swap_hz * MORE_SWAPS,
        qubits=np.full(len(network.nodes), QUBITS),
    )
    path = folder / "network.json"
    path.write_bytes(to_json(fast))
    return Setting(
        topology=str(path),
        demand="poisson",
        load_hz=LOAD_HZ,
        seconds=SECONDS,
        warmup_s=WARMUP_S,
        rivals=(),
    )


def _figures(seen: list[Seen], alone: float) -> dict[str, Any]:
    """Sum up what was seen from the end of the warm-up until requests end."""
    slot_s = seen[0].telemetry.slot_s
    first = next(one for one in seen if one.telemetry.slot * slot_s >= WARMUP_S)
    last = next(one for one in seen if one.telemetry.slot * slot_s >= WARMUP_S + SECONDS)
    pairs = last.telemetry.executed - first.telemetry.executed
    wall_s = last.at_s - first.at_s
    used = grouped({k: p.cpu_s - first.used[k].cpu_s for k, p in last.used.items()})
    rate = pairs / wall_s
    return {
        "name": "loop",
        "results": {
            "pairs_per_s": rate,
            "pairs_per_cpu_s": pairs / sum(used.values()),
            **{f"{part}_us_per_pair": 1e6 * cpu_s / pairs for part, cpu_s in used.items()},
            "processors_used": sum(used.values()) / wall_s,
            "pairs_executed": pairs,
            "pairs_tested": last.telemetry.tested - first.telemetry.tested,
            "slots_per_s": (last.telemetry.slot - first.telemetry.slot) / wall_s,
        },
        "reference": {"in_process_closed_form_pairs_per_s": alone},
        "ratio": {"pairs_vs_in_process": rate / alone},
    }


def _alone(setting: Setting) -> float:
    """Play the same setting in one process; returns elementary pairs used per second."""
    game = prepare(scenario_of(setting, knee))
    play, ledger = player(game), new_ledger(game.world, events=8192)
    began = time.perf_counter()
    play(ledger, game.world.horizon)
    took = time.perf_counter() - began
    # Every swap joins two pairs; an assembled pair of k links used k of them.
    used = int(ledger.totals[SWAPS] + ledger.totals[ASSEMBLED] + ledger.totals[TESTS])
    return used / took

"""``dpem bench loop``: executed pairs per second from agent to reward, through real sockets.

The closed loop as ``dpem run`` plays it (two agent processes, broker, one Aer worker, CURVE over
loopback), on a network that makes and swaps many times more pairs than the paper's and is asked for
them in requests of four. The reference is the same loop in one process: the same minds and the
same dispatcher, no sockets, and the ledger's closed form in the place of Aer.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.game import prepare
from controller.live import run_live
from controller.rivals.dpem import player
from controller.setting import Setting, scenario_of
from quantum.flows import knee
from quantum.ledger import new_ledger
from quantum.ledger.state import ASSEMBLED, SWAPS, TESTS
from quantum.topology import load_topology, to_json

__all__ = ["loop"]

#: Generation and swap rates over those of the paper's network, where swaps are the scarcer.
MORE_PAIRS, MORE_SWAPS = 14.0, 40.0
LOAD_HZ = 2000.0
SECONDS = 6.0


def loop() -> dict[str, Any]:
    """Measure the closed loop and its reference; keys of DESIGN section 7."""
    with tempfile.TemporaryDirectory(prefix="dpem-bench-") as folder:
        network = load_topology("mesh", seed=0)
        fast = replace(
            network,
            name="mesh-fast",
            generation_hz=network.generation_hz * MORE_PAIRS,
            swap_hz=network.swap_hz * MORE_SWAPS,
        )
        path = Path(folder) / "network.json"
        path.write_bytes(to_json(fast))
        setting = Setting(
            topology=str(path),
            demand="poisson",
            load_hz=LOAD_HZ,
            seconds=SECONDS,
            warmup_s=1.0,
            rivals=(),
        )
        # The first run compiles kernels in every process; it is not measured.
        short = Setting(**{**_fields(setting), "seconds": 0.5})
        run_live(short, Path(folder) / "warm", lambda *_: None)
        summary = run_live(setting, Path(folder) / "run", lambda *_: None).summary
        alone = _alone(setting)
    rate = float(summary["pairs_per_second"])
    return {
        "name": "loop",
        "results": {
            "pairs_per_s": rate,
            "pairs_executed": summary["pairs_executed"],
            "pairs_tested": summary["pairs_tested"],
            "slots_per_s": (setting.seconds + setting.warmup_s) / 0.02 / summary["wall_s"],
            "updates": summary["updates"],
            "federated_rounds": summary["federated_rounds"],
        },
        "reference": {"in_process_closed_form_pairs_per_s": alone},
        "ratio": {"pairs_vs_in_process": rate / alone},
    }


def _fields(setting: Setting) -> dict[str, Any]:
    return {name: getattr(setting, name) for name in setting.__struct_fields__}


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

"""A run over real sockets is the twin, decision by decision, where nobody learns."""

import pytest

from controller.live import run_live
from controller.parity import parity
from controller.replaying import replay
from controller.setting import Setting
from quantum.record import read

OUTAGES = "outages:2:1"
CELLS = [
    (topology, allocator, changes)
    for topology in ("abilene", "grid-3x4")
    for allocator in ("dpem", "mean-rate")
    for changes in (None, OUTAGES)
]
#: One of the eight runs; tests/system/test_run.py has two more without outages.
QUICK = {("abilene", "dpem", OUTAGES)}


def run(folder, topology, allocator, changes, demand="poisson", backend="analytic", **more):
    setting = Setting(
        topology=topology,
        allocator=allocator,
        changes=changes,
        learn=False,
        demand=demand,
        load_hz=20.0,
        backend=backend,
        seconds=3.0,
        warmup_s=1.0,
        seed=11,
        agents=2 if allocator == "dpem" else 1,
        rivals=(),
        **more,
    )
    summary = run_live(setting, folder, lambda *_: None).summary
    return summary, read(folder)


def asked_in(record):
    return sum(len(event["asked"]) for event in record.events if event["event"] == "slot")


@pytest.mark.parametrize(
    "cell", [pytest.param(c, marks=() if c in QUICK else pytest.mark.long) for c in CELLS]
)
def test_live_and_twin_take_the_same_decisions(cell, tmp_path):
    summary, record = run(tmp_path / "run", *cell)
    same, again = parity(record), replay(record)
    assert same.slots == record.header["horizon"] > summary["slots"]
    assert same.requests == asked_in(record) > 10
    assert (same.decisions, same.pairs) == (again.decisions, again.pairs)
    assert same.decisions > 100 and summary["pairs_delivered"] > 0
    assert same.decision_digest == again.decision_digest == summary["decision_digest"]


def test_pairs_swapped_ahead_are_executed_by_aer_and_play_again(tmp_path):
    """Announced requests: whole pairs wait at their ends, live as in the twin and in a replay."""
    summary, record = run(
        tmp_path / "run", "abilene", "dpem", None, demand="announced", backend="aer"
    )
    same, again = parity(record), replay(record)
    assert same.decision_digest == again.decision_digest == summary["decision_digest"]
    served = [row for event in record.events if event["event"] == "slot" for row in event["served"]]
    # Columns 5 and 6 are how long the two qubits of every link pair waited.
    ahead = [row for row in served if len(row) > 6 and isinstance(row[6][0], int)]
    assert len(ahead) > 3 and all(row[5] != row[6] for row in ahead)
    assert again.recomputed_tests == again.tests > 0 and summary["pairs_failed"] == 0

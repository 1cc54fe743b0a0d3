"""Verify a run folder, read its tests and draw them: ``python 5_read_a_record.py [RUN]``.

Without a run folder a small record is written first. The picture is ``record.png``.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from quantum.bell import pass_probability, werner
from quantum.counts import Counts
from quantum.estimate import estimate
from quantum.record import RecordWriter, read

with tempfile.TemporaryDirectory() as scratch:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "run"
    if len(sys.argv) == 1:  # one test in each slot, of pairs with fidelity 0.93
        rng, chance = np.random.default_rng(5), pass_probability(werner(0.93))
        with RecordWriter(folder, {"made_by": "an example"}) as writer:
            for slot, basis in enumerate(rng.integers(3, size=400).tolist()):
                tests = {"basis": [basis], "passed": [int(rng.random() < chance[basis])]}
                writer.append({"event": "results", "slot": slot, **tests})
            writer.close()
    record = read(folder)  # checks every byte; RecordError where one differs

table, rows = np.zeros((3, 2), dtype=np.int64), []  # bases xx, yy, zz by passed, failed
for event in (event for event in record.events if event["event"] == "results"):
    for basis, passed in zip(event["basis"], event["passed"], strict=True):
        table[basis, int(passed < 1)] += passed >= 0  # -1: the pair was kept
    found = estimate(Counts.from_array(table))
    rows.append((event["slot"], found.low, found.best, found.high))
print(f"{record.seal.events} events verified; {found.shots} tests: fidelity {found.best:.3f}")
slots, low, best, high = np.array(rows).T
plt.plot(slots, low, "C0:", slots, best, "C0", slots, high, "C0:")
plt.gca().set(xlabel="slot", ylabel="measured fidelity so far")
plt.savefig("record.png")

"""Estimates of whole batches are those of one program after the other."""

import numpy as np
import pytest

from quantum import estimate as room
from quantum.errors import InputError
from quantum.estimate import estimate_batch, estimate_passes
from quantum.seeding import generator


def counts_of(case, size, stabilizers):
    rng = generator(2, "estimate-batch", case)
    if case == "any shots":
        counts = rng.integers(0, 30, (size, stabilizers, 2))
        counts[0], counts[1, :, 0], counts[2, :, 1] = 0, 0, 0
        return counts
    shots = {"few": 12, "equal": 300, "many": 100_000}[case]
    counts = np.zeros((size, stabilizers, 2), dtype=np.int64)
    counts[:, 0, 0] = rng.integers(0, shots + 1, size)
    counts[:3, 0, 0] = 0, shots, shots // 2
    counts[:, -1, 1] = shots - counts[:, 0, 0]
    return counts


@pytest.mark.parametrize("case", ["any shots", "few", "equal", "many"])
@pytest.mark.parametrize("qubits", [2, 3, 8])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_same_numbers_as_one_by_one(case, qubits, confidence):
    counts = counts_of(case, 40, 2**qubits - 1)
    together = np.stack(estimate_batch(counts, confidence=confidence), axis=1)
    for table, row in zip(counts, together, strict=True):
        passed, shots = int(table[:, 0].sum()), int(table.sum())
        one = estimate_passes(passed, shots, qubits=qubits, confidence=confidence)
        assert row.tolist() == [one.low, one.best, one.high]


def test_a_table_is_made_once(monkeypatch):
    room._table.cache_clear()
    counts = counts_of("equal", 40, 3)
    estimate_batch(counts)
    monkeypatch.setattr(room, "betaincinv", None)
    assert len(estimate_batch(counts[:5])[0]) == 5


def test_no_program_gives_no_estimate():
    assert [len(side) for side in estimate_batch(np.empty((0, 3, 2), dtype=np.int64))] == [0, 0, 0]


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, np.nan])
def test_impossible_confidence_is_refused(confidence):
    with pytest.raises(InputError, match="confidence"):
        estimate_batch(np.zeros((1, 3, 2), dtype=np.int64), confidence=confidence)

"""The quantum reservoir against matrices, and the forecaster that reads with it."""

import itertools
import math
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

from backends.aer.reservoir import FEATURES, QUBITS, STEPS, reservoir
from controller.forecasting import reservoirs
from controller.forecasting.comparing import compare
from controller.forecasting.reservoirs import quantum_reader
from controller.forecasting.streams import INPUTS, LENGTH
from quantum.errors import InputError
from quantum.seeding import generator


def by_matrices(angles: Any) -> Any:
    """Play one sequence of angles on a state vector of our own, the first qubit the lowest bit."""
    zz, x = generator(0, "reservoir").uniform(0.25 * math.pi, 0.75 * math.pi, (2, QUBITS))
    states = np.arange(2**QUBITS)
    sign = np.array([1 - 2 * ((states >> q) & 1) for q in range(QUBITS)])
    psi = np.zeros(2**QUBITS, dtype=complex)
    psi[0] = 1.0

    def turn(psi: Any, q: int, matrix: Any) -> Any:
        flipped = psi[states ^ (1 << q)]
        bit = (states >> q) & 1
        return matrix[bit, bit] * psi + matrix[bit, 1 - bit] * flipped

    for step in range(STEPS):
        for q in range(QUBITS):
            c, s = np.cos(angles[step, q] / 2), np.sin(angles[step, q] / 2)
            psi = turn(psi, q, np.array([[c, -s], [s, c]]))
        for q in range(QUBITS):
            psi = psi * np.exp(-0.5j * zz[q] * sign[q] * sign[(q + 1) % QUBITS])
        for q in range(QUBITS):
            c, s = np.cos(x[q] / 2), np.sin(x[q] / 2)
            psi = turn(psi, q, np.array([[c, -1j * s], [-1j * s, c]]))
    chance = np.abs(psi) ** 2
    pairs = itertools.combinations(range(QUBITS), 2)
    return np.array(
        [*(chance @ row for row in sign), *(chance @ (sign[a] * sign[b]) for a, b in pairs)]
    )


def test_the_circuit_is_the_one_described_and_batches_change_nothing() -> None:
    angles = np.random.default_rng(0).uniform(-math.pi, math.pi, (4, STEPS, QUBITS))
    got = reservoir(angles)
    np.testing.assert_allclose(got, [by_matrices(one) for one in angles], atol=1e-12)
    assert np.array_equal(got[2:3], reservoir(angles[2:3]))
    assert reservoir(angles[:0]).shape == (0, FEATURES)


def test_bad_angles_are_refused() -> None:
    with pytest.raises(InputError, match="angles must be"):
        reservoir(np.zeros((1, STEPS, QUBITS + 1)))
    with pytest.raises(InputError, match="finite"):
        reservoir(np.full((1, STEPS, QUBITS), np.nan))


def test_blocks_that_are_not_there_are_not_read() -> None:
    read = quantum_reader()
    events = np.random.default_rng(1).normal(size=(1, LENGTH, INPUTS))
    other = events.copy()
    other[:, : LENGTH - 2] = 7.0
    assert np.array_equal(read(events, np.array([2])), read(other, np.array([2])))
    assert not np.array_equal(read(events, np.array([3])), read(other, np.array([3])))


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = EntryPoint("aer", "no_such_package.reservoir:run", "dpem.reservoirs")
    monkeypatch.setattr(reservoirs, "entry_points", lambda group: [gone])
    with pytest.raises(InputError, match=r"needs no_such_package: pip install 'dpem\[aer\]'"):
        quantum_reader()
    monkeypatch.setattr(reservoirs, "entry_points", lambda group: [])
    with pytest.raises(InputError, match="no reservoir"):
        quantum_reader()


def test_the_quantum_forecaster_is_compared_with_a_gru_of_equal_size() -> None:
    found = compare(
        "abilene", "scheduled", "quantum", load_hz=3.0, warmup_s=20.0, seconds=15.0, seed=0
    )
    rows = {row.forecaster: row for row in found.rows}
    own, small = rows["quantum"], rows["gru, as small"]
    assert own.judged and own.trained_parameters is not None
    assert small.trained_parameters is not None
    assert 0 <= own.trained_parameters - small.trained_parameters <= 4
    assert own.crps > 0.0 and own.cost_ms > 0.0

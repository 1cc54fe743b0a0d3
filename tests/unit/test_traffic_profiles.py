"""Demand of sensing and computing: its times, its needs, and why it needs them."""

import numpy as np
import pytest

from quantum.demand import Trace
from quantum.errors import NoDemand
from quantum.paths import best_fidelity
from quantum.topology import load_topology
from quantum.traffic import make_trace
from quantum.traffic_profiles import (
    COMPUTING_FIDELITY,
    LAYER_S,
    LAYERS,
    PROFILES,
    SENSING_FIDELITY,
    SENSORS,
    gate_fidelity,
    least_sensing_fidelity,
)


def trace(kind: str, topology: str = "mesh", *, seed: int = 3, load_hz: float = 60.0) -> Trace:
    return make_trace(
        kind,
        load_topology(topology, seed=1),
        load_hz=load_hz,
        deadline_s=7.0,
        seed=seed,
        network_seed=1,
        duration_s=40.0,
        fidelities=(0.5,),
    )


def werner(w: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    bell = np.zeros(4)
    bell[[0, 3]] = np.sqrt(0.5)
    return w * np.outer(bell, bell) + (1 - w) * np.eye(4) / 4


def fringe_contrast(w: float) -> float:
    """Contrast of three qubits' fringe, two Werner pairs merged in the middle, by matrices."""
    state = np.kron(werner(w), werner(w)).reshape([2] * 8)
    # The hub's qubits are 1 and 2: a CNOT from one to the other, which is then found in 0, keeps
    # the terms in which both are equal.
    kept = np.einsum("abbcdeef->abcdef", state).reshape(8, 8)
    return 2 * abs(float(kept[0, 7])) / float(np.trace(kept))


def test_the_least_fidelity_of_sensing_is_where_entanglement_stops_helping() -> None:
    for nodes in (2, 3, 4):
        w = (4 * least_sensing_fidelity(nodes) - 1) / 3
        contrast = fringe_contrast(w) if nodes == 3 else w ** (nodes - 1)
        assert nodes**2 * contrast**2 == pytest.approx(nodes)
    assert (
        least_sensing_fidelity(SENSORS) < SENSING_FIDELITY < least_sensing_fidelity(SENSORS) + 0.01
    )


def test_a_teleported_gate_has_the_fidelity_of_its_pair() -> None:
    """The process is the CNOT with a Pauli behind it; average over Haar states, by the trace."""
    for fidelity in (0.25, 0.9, 1.0):
        # Of the sixteen Paulis only the identity has a trace: |tr|^2 = 16 with weight F.
        average = (fidelity * 16 + 4) / (4 * 5)
        assert gate_fidelity(fidelity) == pytest.approx(average)
    assert gate_fidelity(COMPUTING_FIDELITY) > 0.9


@pytest.mark.parametrize("kind", PROFILES)
def test_the_mean_load_is_the_one_asked(kind: str) -> None:
    made = [trace(kind, seed=seed) for seed in range(40)]
    got = np.mean([one.pairs.sum() for one in made]) / 40.0
    # 40 runs of 2400 pairs, in jobs of 20 at most: 4800 jobs scatter by 1.5 %.
    assert got == pytest.approx(60.0, rel=5 * 0.015)
    one, two = trace(kind), trace(kind)
    assert one.time_s.tobytes() == two.time_s.tobytes() and one.name == kind
    assert one.time_s.tobytes() != made[0].time_s.tobytes()
    assert np.array_equal(one.commodities, made[0].commodities), "the arena is the network's"


@pytest.mark.parametrize(
    ("kind", "fidelity", "deadline_s"),
    [("sensing", SENSING_FIDELITY, 0.5), ("computing", COMPUTING_FIDELITY, 0.2)],
)
def test_needs_are_those_of_the_application(kind: str, fidelity: float, deadline_s: float) -> None:
    made = trace(kind)
    assert set(made.minimum_fidelity.tolist()) == {fidelity}
    assert set(made.deadline_s.tolist()) == {deadline_s}
    network = load_topology("mesh", seed=1)
    best = best_fidelity(network, np.arange(100))
    assert best[made.commodities[:, 0], made.commodities[:, 1]].min() >= fidelity - 1e-9
    assert np.all(made.told_s <= made.time_s) and made.told_s.min() >= 0.0


def test_sensors_are_asked_for_at_the_same_moments() -> None:
    made = trace("sensing", load_hz=600.0)
    moments = np.unique(made.time_s)
    assert np.allclose(np.diff(moments), 1.0) and len(moments) == 40
    # At such a load every node pair of every group is asked in every round.
    assert all((made.time_s == moment).sum() == len(made.commodities) for moment in moments)
    hubs = np.bincount(made.commodities.ravel(), minlength=100)
    assert 8 <= len(made.commodities) <= 24 and hubs.max() >= SENSORS - 1
    late = made.time_s > 3.0
    assert np.allclose((made.time_s - made.told_s)[late], 2.0)


def test_layers_of_a_job_follow_one_another_and_are_told_with_it() -> None:
    made = trace("computing", "line-2", load_hz=2.0)
    starts = np.unique(made.told_s[made.told_s > 0.0])
    assert len(starts) > 1
    for start in starts:
        layers = made.time_s[made.told_s == start]
        assert np.allclose(layers, start + LAYER_S * np.arange(len(layers)))
        assert len(layers) == LAYERS or start + LAYERS * LAYER_S > 40.0


def test_a_network_that_is_too_poor_is_told_what_is_needed() -> None:
    poor = load_topology("line-3", seed=0, fidelity=(0.7, 0.7))
    for kind, needed in (("sensing", "0.85"), ("computing", "0.9")):
        with pytest.raises(NoDemand, match=needed):
            make_trace(kind, poor, load_hz=1, deadline_s=1, seed=0, network_seed=0, duration_s=1)
    assert len(trace("sensing", "line-1").time_s) == len(trace("computing", "line-1").time_s) == 0

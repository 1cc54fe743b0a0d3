"""Jones calculus of the bench against closed forms: plates, squeezers, fibres, scramblers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_stubs.bench.polarisation import (
    analyser,
    joint_chances,
    rotation,
    squeezers,
    twirled,
    waveplate,
)
from firmware_stubs.bench.shared import ANALYSER_DEG
from firmware_stubs.bench.wander import Fibre, Jump, Wander
from quantum.bell import density_matrix, expectations_of, from_name, pass_probability, werner

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
angles = st.floats(-720.0, 720.0)


def state_of(weights: np.ndarray) -> np.ndarray:
    c = 2.0 * pass_probability(weights) - 1.0
    return density_matrix(np.diag([1.0, c[0], -c[1], c[2]]))


@pytest.mark.parametrize("basis", [0, 1, 2])
def test_plates_turn_the_eigenstates_of_each_basis_into_h_and_v(basis: int) -> None:
    """W+ Z W is the observable that the analyser measures: exactly X, Y or Z."""
    plates = analyser(*ANALYSER_DEG[basis])
    seen = plates.conj().T @ np.diag([1.0, -1.0]) @ plates
    assert np.allclose(seen, PAULI[basis], atol=1e-12)


@pytest.mark.parametrize("basis", [0, 1, 2])
@pytest.mark.parametrize("name", ["phi_plus", "phi_minus", "psi_plus", "psi_minus"])
def test_bell_states_show_their_parities(name: str, basis: int) -> None:
    plates = analyser(*ANALYSER_DEG[basis])
    chances = joint_chances(state_of(from_name(name)), plates, plates)
    passes = pass_probability(from_name(name))[basis]
    even = passes if basis != 1 else 1.0 - passes
    assert np.trace(chances) == pytest.approx(even)
    assert chances.sum() == pytest.approx(1.0)


@given(angles, angles, st.floats(0.0, 6.3))
def test_plates_are_unitary_and_keep_what_lies_on_their_axis(
    a: float, b: float, retardance: float
) -> None:
    plate = waveplate(retardance, a)
    assert np.allclose(plate @ plate.conj().T, np.eye(2))
    axis = np.array([np.cos(np.radians(a)), np.sin(np.radians(a))])
    assert abs(axis.conj() @ plate @ axis) == pytest.approx(1.0)
    both = analyser(a, b)
    assert np.allclose(both @ both.conj().T, np.eye(2))


def test_malus() -> None:
    """H behind a half-wave plate at an angle a passes the beam splitter with cos^2 2a."""
    for angle in (0.0, 10.0, 22.5, 30.0, 45.0):
        out = waveplate(np.pi, angle) @ np.array([1.0, 0.0])
        assert abs(out[0]) ** 2 == pytest.approx(np.cos(2.0 * np.radians(angle)) ** 2)


@given(st.lists(st.floats(-5000.0, 5000.0), min_size=4, max_size=4))
def test_squeezers_repeat_after_two_half_waves(volts: list[float]) -> None:
    a, b, c, d = volts
    one = squeezers((a, b, c, d), 1500.0)
    two = squeezers((a, b + 6000.0, c, d), 1500.0)
    assert np.allclose(one @ one.conj().T, np.eye(2))
    assert np.allclose(one, two, atol=1e-9)


def test_three_squeezers_reach_every_turn() -> None:
    """Euler angles: any unitary is undone, and with it the fidelity of a Werner state."""
    rng = np.random.default_rng(3)
    for _ in range(6):
        turn = Fibre(int(rng.integers(1 << 30)), "any").at(0.0)
        best = 0.0
        start = rng.uniform(-3000.0, 3000.0, size=(4, 4))
        for volts in start:
            v = volts.copy()
            for _sweep in range(40):
                for k in range(4):
                    # The overlap is a + b cos + c sin of each retardance: three points tell it.
                    points = []
                    for step in (-1000.0, 0.0, 1000.0):
                        w = v.copy()
                        w[k] += step
                        points.append(abs(np.trace(squeezers(tuple(w), 1500.0) @ turn)) ** 2 / 4.0)
                    low, mid, high = points
                    x = np.pi * 1000.0 / 1500.0
                    b = (2.0 * mid - low - high) / (2.0 * (1.0 - np.cos(x)))
                    c = (high - low) / (2.0 * np.sin(x))
                    v[k] += np.arctan2(c, b) / np.pi * 1500.0
            best = max(best, abs(np.trace(squeezers(tuple(v), 1500.0) @ turn)) ** 2 / 4.0)
        assert best == pytest.approx(1.0, abs=1e-6)


def test_a_scrambler_leaves_one_quarter() -> None:
    state = state_of(werner(0.93))
    table = expectations_of(twirled(state, alice=True, bob=False))
    assert np.allclose(table, np.diag([1.0, 0.0, 0.0, 0.0]), atol=1e-12)


def test_a_turn_of_half_a_circle_about_z_is_a_phase_flip() -> None:
    turn = np.kron(rotation(np.array([0.0, 0.0, np.pi])), np.eye(2))
    turned = turn @ state_of(from_name("phi_plus")) @ turn.conj().T
    assert np.allclose(turned, state_of(from_name("phi_minus")), atol=1e-12)


def test_fibres_are_keyed_and_walk_at_their_pace() -> None:
    """The turn after t has components of deviation w sqrt(t), for small turns."""
    walk, time_s = 0.004, 25.0
    turns = []
    for seed in range(100):
        fibre = Fibre(seed, "f", walk_rad_per_sqrt_s=walk, straight=True)
        turn = fibre.at(time_s)
        turns.append([2.0 * np.imag(np.trace(p @ turn)) / -2.0 for p in PAULI])
    spread = np.std(turns)
    # 300 numbers: the deviation is known to 4 %; five of those.
    assert spread == pytest.approx(walk * np.sqrt(time_s), rel=0.2)
    late, early = Fibre(5, "g", 0.1), Fibre(5, "g", 0.1)
    assert np.allclose(late.at(30.0), [early.at(t) for t in (1.0, 7.0, 30.0)][-1])
    assert not np.allclose(late.at(0.0), np.eye(2))


def test_a_jump_turns_from_its_time_on() -> None:
    fibre = Fibre(1, "f", straight=True, jumps=[Jump(2.0, (np.pi / 2.0, 0.0, 0.0))])
    assert np.allclose(fibre.at(1.9), np.eye(2))
    assert np.allclose(fibre.at(2.0), rotation(np.array([np.pi / 2.0, 0.0, 0.0])))


def test_wander_has_its_stationary_size() -> None:
    """Deviation of an Ornstein-Uhlenbeck process: size sqrt(relax / 2)."""
    path = Wander(4, "w", 0.1, 1.0)
    values = [path.at(t) for t in np.arange(10.0, 1000.0, 2.0)]
    # 495 almost independent values: the deviation is known to 3.2 %.
    assert np.std(values) == pytest.approx(0.1 * np.sqrt(0.5), rel=0.16)
    assert Wander(4, "w", 0.1, 1.0).at(500.0) == path.at(500.0)

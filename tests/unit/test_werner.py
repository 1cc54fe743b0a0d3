"""Closed forms against textbook numbers and against what must hold for any state."""

import dense
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import bell, noise, werner
from quantum.errors import InputError
from quantum.program import Gates, Memory
from quantum.seeding import generator

weights = st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda w: sum(w) > 1e-3)
chances = st.floats(0.0, 1.0)
seconds = st.floats(0.0, 100.0)


def state(values):
    return bell.correlators(np.array(values) / sum(values))


def is_state(signed):
    populations = bell.populations(signed)
    return populations.min() > -1e-12 and populations.max() < 1.0 + 1e-12


def test_swap_of_werner_states_is_the_formula_of_repeater_papers():
    # F = 1/4 + 3/4 ((4 F1 - 1)/3) ((4 F2 - 1)/3), Duer et al., PRA 59, 169 (1999)
    first, second = bell.correlators(bell.werner([0.93, 0.81]))
    expected = 0.25 + 0.75 * (4 * 0.93 - 1) / 3 * (4 * 0.81 - 1) / 3
    assert werner.fidelity(werner.swap(first, second)) == pytest.approx(expected, abs=1e-14)


def test_swap_with_every_error_certain_is_fully_mixed_or_flipped():
    ideal = np.ones(3)
    mixed = werner.swap(ideal, ideal, Gates(gate_depolarizing=1.0))
    assert werner.fidelity(mixed) == 0.25
    # Both bits always wrong: the correction is off by Y, which makes psi_minus.
    flipped = werner.swap(ideal, ideal, Gates(readout_error=1.0))
    assert bell.populations(flipped).tolist() == bell.from_name("psi_minus").tolist()


def test_bbpssw_is_the_formula_of_its_paper():
    # Bennett et al., PRL 76, 722 (1996)
    for f in (0.3, 0.55, 0.9):
        rest = (1 - f) / 3
        chance = f**2 + 2 * f * rest + 5 * rest**2
        signed = bell.correlators(bell.werner(f))
        better, success = werner.bbpssw(signed, signed)
        assert success == pytest.approx(chance, abs=1e-14)
        assert werner.fidelity(better) == pytest.approx((f**2 + rest**2) / chance, abs=1e-14)


def test_dejmps_is_the_formula_of_its_paper():
    # Deutsch et al., PRL 77, 2818 (1996): A' = (A^2 + B^2)/N, B is psi_minus,
    # N = (A+B)^2 + (C+D)^2, B' = 2CD/N, C' = (C^2 + D^2)/N, D' = 2AB/N; C, D psi_plus, phi_minus.
    a, b, c, d = 0.6, 0.2, 0.15, 0.05
    signed = bell.correlators([a, d, c, b])
    better, success = werner.dejmps(signed, signed)
    total = (a + b) ** 2 + (c + d) ** 2
    assert success == pytest.approx(total, abs=1e-14)
    phi_plus, phi_minus, psi_plus, psi_minus = bell.populations(better)
    assert phi_plus == pytest.approx((a * a + b * b) / total, abs=1e-14)
    assert psi_minus == pytest.approx(2 * c * d / total, abs=1e-14)
    assert psi_plus == pytest.approx((c * c + d * d) / total, abs=1e-14)
    assert phi_minus == pytest.approx(2 * a * b / total, abs=1e-14)


def test_epl_is_one_of_two_heralds():
    # Perfect pairs: 00 and 11 are equally likely, and EPL takes 11 only.
    better, success = werner.epl(np.ones(3), np.ones(3))
    assert success == 0.5
    assert better.tolist() == [1.0, 1.0, 1.0]
    # Without local terms both heralds leave the same pair: recurrence without rotations.
    a, b, c, d = 0.6, 0.2, 0.15, 0.05
    signed = bell.correlators([a, b, c, d])
    better, success = werner.epl(signed, signed)
    total = (a + b) ** 2 + (c + d) ** 2
    assert success == pytest.approx(total / 2, abs=1e-15)
    kept = [(a * a + b * b) / total, 2 * a * b / total, (c * c + d * d) / total, 2 * c * d / total]
    assert bell.populations(better) == pytest.approx(kept, abs=1e-15)


GATES = Gates(gate_depolarizing=0.07, readout_error=0.04)


@pytest.mark.parametrize("protocol", ["dejmps", "bbpssw", "epl"])
@pytest.mark.parametrize("gates", [Gates(), GATES])
def test_distillation_is_what_circuits_do(protocol, gates):
    for keep, spend in generator(0, protocol).dirichlet([4, 1, 1, 1], (5, 2)):
        pairs = [dense.bell_diagonal(weights) for weights in (keep, spend)]
        state, chance = dense.distill(*pairs, protocol, gates)
        formula = getattr(werner, protocol)
        signed, success = formula(bell.correlators(keep), bell.correlators(spend), gates)
        assert success == pytest.approx(chance, abs=1e-14)
        expected = [(b @ state @ b).real for b in dense.BELL]
        assert bell.populations(signed) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("protocol", ["dejmps", "bbpssw"])
def test_recurrence_reads_nothing_but_correlators(protocol):
    """Equal bits never see local Bloch vectors, so the formulas hold for any states."""
    rng = generator(1, protocol)
    for _ in range(5):
        factors = rng.normal(size=(2, 4, 4)) + 1j * rng.normal(size=(2, 4, 4))
        pairs = [f @ f.conj().T / np.linalg.norm(f) ** 2 for f in factors]
        weights = [[(b @ rho @ b).real for b in dense.BELL] for rho in pairs]
        state, chance = dense.distill(*pairs, protocol, GATES)
        signed, success = getattr(werner, protocol)(*bell.correlators(weights), GATES)
        assert success == pytest.approx(chance, abs=1e-14)
        expected = [(b @ state @ b).real for b in dense.BELL]
        assert bell.populations(signed) == pytest.approx(expected, abs=1e-14)


def test_attempts_cost_coherence_and_nothing_else():
    # Kalb et al., Phys. Rev. A 97, 062330 (2018): 1/e after attempts_1e attempts.
    memory = Memory(attempts_1e=500.0)
    signed = werner.wait(np.ones(3), 0.0, 0.0, memory, [0.0, 500.0, 1000.0])
    assert signed[:, :2] == pytest.approx(np.exp(-np.array([[0.0, 0.0], [1, 1], [2, 2]])))
    assert signed[:, 2].tolist() == [1.0, 1.0, 1.0]


def test_dejmps_rounds_approach_one():
    signed = bell.correlators(bell.werner(0.6))
    for _ in range(12):
        signed, _ = werner.dejmps(signed, signed)
    assert werner.fidelity(signed) > 0.999999


def test_an_impossible_herald_is_no_division_by_zero():
    plus, other = bell.correlators(np.eye(4)[[0, 2]])
    signed, success = werner.dejmps(plus, other)
    assert success == 0.0
    assert signed.tolist() == [0.0, 0.0, 0.0]


def test_half_life_of_a_damped_pair():
    # T1 = 1, T2 = 2: coherences fall as exp(-t/2) on each side, zz returns to 1.
    signed = werner.wait([1.0, 1.0, 1.0], np.log(2.0), np.log(2.0), Memory(t1_s=1.0, t2_s=2.0))
    assert signed == pytest.approx([0.5, 0.5, 0.5])


@given(weights, seconds, seconds, st.floats(0.01, 10.0), st.floats(0.01, 2.0))
def test_waits_keep_states(values, left_s, right_s, t1_s, ratio):
    memory = Memory(t1_s=t1_s, t2_s=ratio * t1_s)
    assert is_state(werner.wait(state(values), left_s, right_s, memory))


@given(weights, seconds, seconds)
def test_longer_waits_never_help_without_relaxation(values, first_s, more_s):
    memory = Memory(t2_s=3.0)
    short = werner.wait(state(values), first_s, 0.0, memory)
    long = werner.wait(state(values), first_s + more_s, 0.0, memory)
    assert np.all(np.abs(long) <= np.abs(short) + 1e-15)


@given(weights, weights, chances, chances)
def test_swaps_and_distillation_keep_states(left, right, depolarizing, error):
    gates = Gates(gate_depolarizing=depolarizing, readout_error=error)
    assert is_state(werner.swap(state(left), state(right), gates))
    for protocol in (werner.dejmps, werner.bbpssw, werner.epl):
        signed, success = protocol(state(left), state(right), gates)
        assert -1e-12 <= success <= 1.0 + 1e-12
        if success > 1e-6:
            assert bell.populations(signed).min() > -1e-9


@given(weights)
def test_twirl_keeps_the_fidelity(values):
    signed = state(values)
    assert werner.fidelity(werner.twirl(signed)) == pytest.approx(werner.fidelity(signed))


def test_everything_is_vectorised():
    batch = bell.correlators(bell.werner(np.linspace(0.3, 1.0, 6).reshape(2, 3)))
    assert werner.wait(batch, np.zeros((2, 3)), 0.1, Memory(1.0, 1.0)).shape == (2, 3, 3)
    assert werner.wait(batch[0, 0], np.zeros(5), 0.0, Memory()).shape == (5, 3)
    assert werner.swap(batch, batch[0, 0]).shape == (2, 3, 3)
    signed, success = werner.dejmps(batch, batch)
    assert signed.shape == (2, 3, 3)
    assert success.shape == (2, 3)


@pytest.mark.parametrize("qubits", [1, 2])
@given(weight=chances)
def test_depolarizing_conventions_are_inverse(qubits, weight):
    there = noise.depolarizing_to_stim(weight, qubits)
    assert noise.depolarizing_from_stim(there, qubits) == pytest.approx(weight, abs=1e-12)


def test_depolarizing_conventions_are_different():
    # One qubit: I/2 is an even mixture of I, X, Y, Z, so weight p is a Pauli with chance 3p/4.
    assert noise.depolarizing_to_stim(0.04, 1) == pytest.approx(0.03)
    assert noise.depolarizing_from_stim(0.03, 1) == pytest.approx(0.04)
    assert noise.depolarizing_from_gate_fidelity(1.0, 1) == 0.0
    assert noise.fidelity_from_depolarizing(1.0) == 0.25


def test_missing_relaxation_times():
    assert noise.memory_of(None, 3.0) == Memory(t2_s=3.0)
    assert noise.memory_of(3.0, None) == Memory(3.0, 6.0)
    assert noise.memory_of(None, None) == Memory()
    assert noise.t2_from_pure_dephasing(np.inf, np.inf) == np.inf


@pytest.mark.parametrize(
    "call",
    [
        lambda: noise.depolarizing_from_stim(0.8, 1),
        lambda: noise.depolarizing_from_stim(float("nan"), 1),
        lambda: noise.depolarizing_from_stim(0.1, 0),
        lambda: noise.depolarizing_to_stim(1.1, 2),
        lambda: noise.depolarizing_from_gate_fidelity(0.1, 1),
        lambda: noise.fidelity_from_depolarizing(-0.1),
        lambda: noise.t2_from_pure_dephasing(0.0, 1.0),
        lambda: noise.memory_of(1.0, 2.5),
    ],
)
def test_conversions_refuse_nonsense(call):
    with pytest.raises(InputError):
        call()


@pytest.mark.parametrize(
    ("wait", "memory", "attempts"),
    [
        (1e308, Memory(t1_s=1e-300, t2_s=1e-300), 0.0),
        (0.0, Memory(attempts_1e=1e-9), 1e300),
        (1e308, Memory(t1_s=1e-300, t2_s=2e-300, attempts_1e=1e-9), 1e308),
    ],
)
def test_what_is_too_long_for_a_float_has_decayed(wait, memory, attempts):
    damping, coherence = noise.decay([wait, 0.0], memory, [attempts, 0.0])
    assert damping.tolist() == [1.0 if wait else 0.0, 0.0]
    assert coherence.tolist() == [0.0, 1.0]

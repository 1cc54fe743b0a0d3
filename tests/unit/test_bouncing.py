"""Bounced qubits: Pauli transfer matrices, Aer and dense matrices agree; programs become paths."""

import math

import numpy as np
import pytest

from backends import analytic
from backends.aer import bouncing as on_aer
from backends.aer.opening import open_path
from backends.aer.public import PublicPath
from backends.bouncing import (
    Hop,
    Spam,
    hop_channel,
    hops_of,
    passage_f,
    round_trips,
    survival,
    teleportation,
)
from quantum import bell, werner
from quantum.errors import InputError
from quantum.estimation.benchmarking import Sequences, draw_sequences
from quantum.estimation.cliffords import INVERSE, UNITARY, after_all
from quantum.program import (
    Distill,
    Gates,
    Generate,
    Load,
    Measure,
    Memory,
    Merge,
    Program,
    Swap,
    Wait,
)
from quantum.seeding import generator

PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
NOISY = Gates(gate_depolarizing=0.07, readout_error=0.04)
MEMORY = Memory(t1_s=1.0, t2_s=0.6, attempts_1e=300.0)


def any_state(rng):
    """A random two-qubit state, as Pauli expectations."""
    matrix = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    state = matrix @ matrix.conj().T
    return bell.expectations_of(state / np.trace(state))


def werner_pair(fidelity):
    c = (4.0 * fidelity - 1.0) / 3.0
    return np.diag([1.0, c, -c, c])


# -- the dense reference -------------------------------------------------------------------------


def dense_wait(rho, hop):
    """Decay by Kraus operators: amplitude damping, then what dephasing is left."""
    damping = 1.0 - math.exp(-hop.wait_s / hop.memory.t1_s)
    left = math.exp(-hop.wait_s / hop.memory.t2_s - hop.attempts / hop.memory.attempts_1e)
    left /= math.sqrt(1.0 - damping)
    kraus = [
        np.array([[1.0, 0.0], [0.0, math.sqrt(1.0 - damping)]]),
        np.array([[0.0, math.sqrt(damping)], [0.0, 0.0]]),
    ]
    rho = sum(k @ rho @ k.conj().T for k in kraus)
    return (1.0 + left) / 2.0 * rho + (1.0 - left) / 2.0 * PAULI[3] @ rho @ PAULI[3]


def dense_teleport(rho, hop):
    """Project on all four outcomes, spoil the reported bits, correct by what is reported."""
    cnot = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    hadamard = (PAULI[1] + PAULI[3]) / math.sqrt(2.0)
    joined = np.kron(rho, bell.density_matrix(hop.expectations))
    both = np.kron(cnot, np.eye(2))
    joined = both @ joined @ both.T
    weight = hop.gates.gate_depolarizing
    pair_lost = np.einsum("abiabj->ij", joined.reshape(2, 2, 2, 2, 2, 2))
    joined = (1.0 - weight) * joined + weight * np.kron(np.eye(4) / 4.0, pair_lost)
    turn = np.kron(hadamard, np.eye(4))
    joined = (turn @ joined @ turn).reshape(2, 2, 2, 2, 2, 2)
    error = hop.gates.readout_error
    out = np.zeros((2, 2), dtype=complex)
    for z_bit in (0, 1):
        for x_bit in (0, 1):
            given = joined[z_bit, x_bit, :, z_bit, x_bit, :]
            for z_read in (0, 1):
                for x_read in (0, 1):
                    wrong = (z_read != z_bit) + (x_read != x_bit)
                    chance = error**wrong * (1.0 - error) ** (2 - wrong)
                    fix = np.linalg.matrix_power(PAULI[3], z_read)
                    fix = fix @ np.linalg.matrix_power(PAULI[1], x_read)
                    out += chance * fix @ given @ fix.conj().T
    return out


def dense_survival(route, sequences, spam):
    chances = []
    for row, last, flipped in zip(
        sequences.cliffords, sequences.last, sequences.flipped, strict=True
    ):
        rho = np.diag([1.0 - spam.prepared_one, spam.prepared_one]).astype(complex)
        for number, hop in zip(row, route, strict=True):
            rho = UNITARY[number] @ rho @ UNITARY[number].conj().T
            rho = dense_teleport(dense_wait(rho, hop), hop)
        end = PAULI[1] @ UNITARY[last] if flipped else UNITARY[last]
        zero, one = np.diagonal(end @ rho @ end.conj().T).real
        read_zero = zero * (1.0 - spam.zero_as_one) + one * spam.one_as_zero
        chances.append(1.0 - read_zero if flipped else read_zero)
    return np.array(chances)


@pytest.fixture(scope="module")
def path():
    return open_path()[0]


def test_the_channel_of_a_hop_is_that_of_dense_matrices():
    rng = generator(1, "test")
    for gates in (Gates(), NOISY):
        hop = Hop(any_state(rng), gates, MEMORY, 0.2, 50.0)
        dense = np.array([dense_teleport(dense_wait(p, hop), hop) for p in PAULI])
        expected = np.einsum("iab,jba->ij", PAULI, dense).real / 2.0
        assert np.abs(hop_channel(hop) - expected).max() < 1e-14


def test_all_three_ways_give_the_same_survival(path):
    rng = generator(2, "test")
    route = [Hop(any_state(rng), NOISY, MEMORY, wait, 90.0 * wait) for wait in (0.0, 0.1, 0.3)]
    sequences = draw_sequences(3, 2, 3, 12)
    assert sequences.flipped.any() and not sequences.flipped.all()
    spam = Spam(prepared_one=0.03, zero_as_one=0.02, one_as_zero=0.08)
    exact = survival(route, sequences, spam)
    assert np.ptp(exact) > 0.01
    assert np.abs(exact - dense_survival(route, sequences, spam)).max() < 1e-13
    assert np.abs(exact - on_aer.survival(path, route, sequences, spam)).max() < 1e-12
    assert np.abs(exact - on_aer.survival(PublicPath(), route, sequences, spam)).max() < 1e-12


def test_long_sequences_agree_on_aer_also_in_parts(path, monkeypatch):
    hops = [Hop(werner_pair(0.98), Gates(gate_depolarizing=0.005), Memory(5.0, 4.0), 0.01)]
    route = round_trips(hops, 40)
    sequences = draw_sequences(4, 40, 80, 10)
    exact = survival(route, sequences)
    monkeypatch.setattr(on_aer, "_AT_ONCE", 240)
    assert np.abs(exact - on_aer.survival(path, route, sequences)).max() < 1e-12


def test_no_hop_at_all_shows_the_errors_at_the_ends(path):
    spam = Spam(0.1, 0.05, 0.2)
    sequences = draw_sequences(5, 0, 0, 40)
    right = np.where(sequences.flipped, 0.9 * 0.8 + 0.1 * 0.05, 0.9 * 0.95 + 0.1 * 0.2)
    assert survival([], sequences, spam) == pytest.approx(right, abs=1e-15)
    assert on_aer.survival(path, [], sequences, spam) == pytest.approx(right, abs=1e-14)
    both = right[sequences.flipped][0] + right[~sequences.flipped][0]
    assert both - 1.0 == pytest.approx(spam.amplitude)


# -- the decay -----------------------------------------------------------------------------------


def test_all_cliffords_together_are_exactly_a_decay():
    """Every pair of Cliffords once, both endings: the mean is 1/2 + A f^2 / 2."""
    rng = generator(6, "test")
    hop = Hop(any_state(rng), NOISY, MEMORY, 0.15)
    grid = np.stack(np.meshgrid(np.arange(24), np.arange(24)), axis=-1).reshape(-1, 2)
    last = INVERSE[after_all(grid)]
    spam = Spam(0.02, 0.01, 0.06)
    means = [
        survival(
            round_trips([hop], 1), Sequences(grid, last, np.full(len(grid), flipped)), spam
        ).mean()
        for flipped in (False, True)
    ]
    expected = 0.5 + 0.5 * spam.amplitude * passage_f([hop]) ** 2
    assert np.mean(means) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("fidelity", [1.0, 0.97, 0.6, 0.25])
def test_a_werner_link_has_the_f_of_its_state(fidelity):
    f = passage_f([Hop(werner_pair(fidelity))])
    assert f == pytest.approx((4.0 * fidelity - 1.0) / 3.0, abs=1e-15)
    assert (1.0 + 3.0 * f) / 4.0 == pytest.approx(fidelity, abs=1e-15)


def test_a_bell_diagonal_link_has_the_mean_correlator():
    weights = np.array([0.85, 0.08, 0.05, 0.02])
    signed = bell.correlators(weights)
    hop = Hop(np.diag([1.0, signed[0], -signed[1], signed[2]]))
    assert passage_f([hop]) == pytest.approx(signed.mean(), abs=1e-15)
    assert passage_f([hop.back]) == passage_f([hop])


def test_gates_and_the_wait_of_the_qubit_cost_what_they_must():
    gates = Gates(gate_depolarizing=0.1, readout_error=0.05)
    factors = 0.9 * np.array([0.9, 0.81, 0.9])
    assert passage_f([Hop(werner_pair(1.0), gates)]) == pytest.approx(factors.mean(), abs=1e-15)
    waiting = Hop(werner_pair(1.0), Gates(), MEMORY, 0.3)
    coherence, alive = math.exp(-0.3 / 0.6), math.exp(-0.3)
    assert passage_f([waiting]) == pytest.approx((2 * coherence + alive) / 3.0, abs=1e-15)
    assert passage_f([waiting] * 3) == pytest.approx(passage_f([waiting]) ** 3, abs=1e-15)


def test_teleportation_sees_the_diagonal_only():
    state = any_state(generator(7, "test"))
    diagonal = np.diag(np.diagonal(state))
    assert np.array_equal(teleportation(state, NOISY), teleportation(diagonal, NOISY))
    assert np.abs(state - diagonal).max() > 0.01


def test_a_round_trip_comes_back_the_way_it_went():
    one, two = Hop(any_state(generator(8, "test"))), Hop(werner_pair(0.9))
    route = round_trips([one, two], 2)
    assert len(route) == 8
    assert [hop.expectations.tolist() for hop in route[:4]] == [
        one.expectations.tolist(),
        two.expectations.tolist(),
        two.expectations.T.tolist(),
        one.expectations.T.tolist(),
    ]


@pytest.mark.parametrize("field", ["prepared_one", "zero_as_one", "one_as_zero"])
@pytest.mark.parametrize("value", [-0.1, 0.5, math.nan])
def test_impossible_ends_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        Spam(**{field: value})


# -- from programs -------------------------------------------------------------------------------


def fresh(pair, fidelity):
    return Generate(pair, tuple(bell.werner(fidelity).tolist()))


def test_a_chain_is_a_path_and_its_swaps_are_nodes():
    steps = (fresh(0, 0.9), fresh(1, 0.8), fresh(2, 0.95), Swap(1, 2), Swap(0, 1))
    hops = hops_of(Program((*steps, Measure(0, "random"))), analytic.exact)
    found = [(1.0 + 3.0 * hop.expectations[1, 1]) / 4.0 for hop in hops]
    assert found == pytest.approx([0.9, 0.8, 0.95], abs=1e-15)


def test_pairs_and_the_qubit_wait_as_the_program_says():
    steps = (fresh(0, 0.9), fresh(1, 0.9), Wait(1, 0.1, 0.2, 30.0), Swap(0, 1), Wait(0, 0.3, 0.3))
    first, second = hops_of(Program(steps, memory=MEMORY), analytic.exact)
    assert (first.wait_s, second.wait_s) == pytest.approx((0.3, 0.5))
    assert (first.attempts, second.attempts) == (0.0, 30.0)
    decayed = werner.wait(bell.correlators(bell.werner(0.9)), 0.3, 0.3, MEMORY)
    assert np.diagonal(first.expectations)[1:] * [1, -1, 1] == pytest.approx(decayed, abs=1e-14)
    assert first.memory == MEMORY


def test_a_distilled_link_is_used_once_it_has_succeeded():
    steps = (fresh(0, 0.8), fresh(1, 0.8), Distill(0, 1, "dejmps"))
    (hop,) = hops_of(Program(steps, gates=NOISY), analytic.exact)
    signed = bell.correlators(bell.werner(0.8))
    better, _ = werner.dejmps(signed, signed, NOISY)
    assert np.diagonal(hop.expectations)[1:] * [1, -1, 1] == pytest.approx(better, abs=1e-14)


def test_what_cannot_be_bounced_is_refused():
    two = (fresh(0, 0.9), fresh(1, 0.9))
    with pytest.raises(InputError, match=r"steps\[2\] merge: a register"):
        hops_of(Program((*two, Merge(0, 1))), analytic.exact)
    four = (*two, fresh(2, 0.9), Swap(0, 1), Distill(0, 2, "dejmps"))
    with pytest.raises(InputError, match=r"steps\[4\] distill: joined pairs"):
        hops_of(Program(four), analytic.exact)


def test_a_link_that_never_succeeds_is_refused():
    plus, other = Generate(0, (1.0, 0.0, 0.0, 0.0)), Generate(1, (0.0, 0.0, 1.0, 0.0))
    with pytest.raises(InputError, match="never succeed"):
        hops_of(Program((plus, other, Distill(0, 1, "dejmps"))), analytic.exact)


def test_any_loaded_state_counts_by_its_diagonal():
    state = any_state(generator(9, "test"))
    (hop,) = hops_of(Program((Load(0, tuple(state.ravel())),)), analytic.exact)
    assert np.diagonal(hop.expectations) == pytest.approx(np.diagonal(state), abs=1e-14)

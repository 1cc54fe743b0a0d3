"""GHZ states: their stabilizers, and what merging links gives, counted error by error."""

import itertools
import math

import dense
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import bell, ghz
from quantum.errors import InputError
from quantum.noise import decay
from quantum.program import Gates, Memory
from quantum.seeding import generator

PERFECT = bell.correlators([1.0, 0.0, 0.0, 0.0])
PERFECT_GATES = Gates()
NOISY = Gates(gate_depolarizing=0.07, readout_error=0.04)
chances = st.floats(0.0, 1.0)


def fidelity(signed):
    return ghz.populations(signed)[..., 0]


def chain(links, gates=PERFECT_GATES, at="last"):
    fused = links[0]
    for link in links[1:]:
        fused = ghz.merge(fused, link, gates, at)
    return fused


def weights_of(rho):
    return np.array([(v @ rho @ v).real for v in dense.ghz_basis(dense.qubits_of(rho))])


def any_state(rng, qubits):
    size = 2**qubits
    factor = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    rho = factor @ factor.conj().T
    return rho / np.trace(rho).real


# -- stabilizers -----------------------------------------------------------------------------------


def pauli_string(label):
    out = np.ones((1, 1))
    for letter in label:
        out = np.kron(out, dense.PAULIS["ixyz".index(letter)])
    return out


@pytest.mark.parametrize("qubits", [2, 3, 4])
def test_stabilizers_are_the_labelled_products(qubits):
    basis = dense.ghz_basis(qubits)
    names = ghz.labels(qubits)
    assert len(set(names)) == 2**qubits - 1
    expected = np.empty((2**qubits, len(names)))
    for column, name in enumerate(names):
        values = np.array([(v @ pauli_string(name) @ v).real for v in basis])
        assert abs(values[0]) == pytest.approx(1.0)
        expected[:, column] = values * values[0]
    assert ghz.correlators(np.eye(2**qubits)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("qubits", [2, 3, 5, 8])
def test_populations_and_correlators_are_two_ways_to_say_the_same(qubits):
    weights = generator(0, "ghz").dirichlet(np.ones(2**qubits), 20)
    signed = ghz.correlators(weights)
    assert signed.shape == (20, 2**qubits - 1)
    assert ghz.populations(signed) == pytest.approx(weights, abs=1e-14)
    passing = ghz.pass_probability(weights).mean(axis=1)
    assert ghz.fidelity_of(passing, qubits) == pytest.approx(weights[:, 0], abs=1e-13)


def test_pairs_are_the_case_of_two():
    weights = generator(1, "ghz").dirichlet(np.ones(4), 5)
    assert ghz.correlators(weights) == pytest.approx(bell.correlators(weights), abs=1e-15)
    assert ghz.labels(2) == bell.BASES


# -- merging ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["first", "last"])
@pytest.mark.parametrize("qubits", [3, 5, 8])
def test_perfect_links_make_perfect_states(qubits, at):
    assert chain([PERFECT] * (qubits - 1), at=at).tolist() == [1.0] * (2**qubits - 1)


@given(chances, chances)
def test_three_parties_from_two_werner_links(first, second):
    # Of the 7 stabilizers one pulls back to the first link, one to the second, five to both.
    links = [np.full(3, first), np.full(3, second)]
    expected = (1 + first + second + 5 * first * second) / 8
    assert fidelity(chain(links)) == pytest.approx(expected, abs=1e-15)


@given(chances, st.integers(3, 8))
def test_phase_errors_add_up_and_bit_errors_multiply(chance, qubits):
    phase = bell.correlators([1 - chance, chance, 0.0, 0.0])
    flip = bell.correlators([1 - chance, 0.0, chance, 0.0])
    parity = (1 + (1 - 2 * chance) ** (qubits - 1)) / 2
    assert fidelity(chain([phase] * (qubits - 1))) == pytest.approx(parity, abs=1e-14)
    intact = (1 - chance) ** (qubits - 1)
    assert fidelity(chain([flip] * (qubits - 1))) == pytest.approx(intact, abs=1e-14)


@given(chances, st.integers(3, 8))
def test_a_misread_bit_is_a_flipped_qubit(error, qubits):
    made = chain([PERFECT] * (qubits - 1), Gates(readout_error=error))
    assert fidelity(made) == pytest.approx((1 - error) ** (qubits - 2), abs=1e-14)


@given(chances)
def test_a_mixed_control_leaves_half_of_the_correlations(weight):
    # Both qubits of the CNOT replaced by I/4: zz of the outer qubit and the kept one remain.
    made = chain([PERFECT] * 2, Gates(gate_depolarizing=weight))
    vectors, rho = dense.ghz_basis(3), dense.bell_diagonal([1, 0, 0, 0])
    kept = dense.merge(rho, rho, "last", Gates(gate_depolarizing=weight))
    assert fidelity(made) == pytest.approx((vectors[0] @ kept @ vectors[0]).real, abs=1e-14)
    assert ghz.populations(chain([PERFECT] * 2, Gates(gate_depolarizing=1.0))) == pytest.approx(
        np.full(8, 1 / 8)
    )


@pytest.mark.parametrize("links", [2, 4, 7])
def test_any_bell_diagonal_links_error_by_error(links):
    """Link j has the error Z^z X^x on its right qubit: phases add, flips pass down the chain."""
    weights = generator(links, "ghz").dirichlet([6, 1, 1, 1], links)
    expected = np.zeros(2 ** (links + 1))
    for errors in itertools.product(range(4), repeat=links):
        phase = sum(error % 2 for error in errors) % 2
        flips = np.cumsum([error // 2 for error in errors]) % 2
        bits = int("".join(map(str, flips)), 2)
        expected[2 * bits + phase] += math.prod(weights[np.arange(links), errors])
    made = ghz.populations(chain(list(bell.correlators(weights))))
    assert made == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("at", ["first", "last"])
@pytest.mark.parametrize(("keep", "spend"), [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_merging_any_states_is_what_circuits_do(at, keep, spend):
    """Also states that are not diagonal in the GHZ basis: nothing else reaches the correlators."""
    rng = generator(keep, spend, at)
    for gates in (Gates(), NOISY, Gates(gate_depolarizing=1.0, readout_error=1.0)):
        one, two = any_state(rng, keep), any_state(rng, spend)
        signed = [ghz.correlators(weights_of(rho)) for rho in (one, two)]
        expected = weights_of(dense.merge(one, two, at, gates))
        assert ghz.populations(ghz.merge(*signed, gates, at)) == pytest.approx(expected, abs=1e-14)


def test_the_order_of_perfect_merges_does_not_matter():
    a, b, c, d = bell.correlators(generator(3, "ghz").dirichlet([6, 1, 1, 1], 4))
    left = chain([a, b, c, d])
    halves = ghz.merge(ghz.merge(a, b), ghz.merge(c, d))
    assert ghz.merge(a, ghz.merge(b, ghz.merge(c, d))) == pytest.approx(left, abs=1e-15)
    assert halves == pytest.approx(left, abs=1e-15)


def test_merging_is_vectorised():
    links = bell.correlators(bell.werner(np.linspace(0.5, 1.0, 6))).reshape(2, 3, 3)
    assert ghz.merge(links, links).shape == (2, 3, 7)
    assert ghz.merge(links, PERFECT).shape == (2, 3, 7)
    assert ghz.merge(PERFECT, links, NOISY, "first").shape == (2, 3, 7)
    assert ghz.wait(links, np.zeros((2, 3)), 0.1, Memory(t2_s=1.0)).shape == (2, 3, 3)
    assert ghz.wait(PERFECT, np.zeros(5), 0.0, Memory()).shape == (5, 3)


# -- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("qubits", [2, 3, 4])
def test_dephasing_is_what_circuits_do(qubits):
    memory = Memory(t2_s=0.7, attempts_1e=9.0)
    rho = any_state(generator(qubits, "wait"), qubits)
    expected = weights_of(dense.wait(rho, (0.2, 0.3), (4.0, 2.0), memory))
    waited = ghz.wait(ghz.correlators(weights_of(rho)), 0.2, 0.3, memory, 4.0, 2.0)
    assert ghz.populations(waited) == pytest.approx(expected, abs=1e-14)


def test_coherence_falls_with_the_number_of_qubits():
    memory = Memory(t2_s=2.0)
    (coherence,) = decay([0.1], memory)[1]
    for qubits in (2, 5, 8):
        waited = ghz.wait(np.ones(2**qubits - 1), 0.1, 0.1, memory)
        assert fidelity(waited) == pytest.approx((1 + coherence**qubits) / 2, abs=1e-14)


def test_relaxation_is_refused_where_it_is_not_known():
    with pytest.raises(InputError, match="t1_s must be inf"):
        ghz.wait(PERFECT, 0.1, 0.1, Memory(t1_s=1.0, t2_s=1.0))

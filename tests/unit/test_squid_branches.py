"""Exact enumeration against closed forms and binomial sums."""

import itertools
import math

import numpy as np
import pytest

from backends.squid.engines import open_engine
from backends.squid.engines.branches import branches, probabilities
from backends.squid.errors import LimitError, SquidError

X = np.array([[0, 1], [1, 0]], dtype=complex)
Z = np.diag([1, -1]).astype(complex)
H = (X + Z) / np.sqrt(2)
CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)
PHI_PLUS = np.outer([1, 0, 0, 1], [1, 0, 0, 1]).astype(complex) / 2
IN_Z = (np.diag([1, 0]).astype(complex), np.diag([0, 1]).astype(complex))


def werner(fidelity):
    q = 4 * (1 - fidelity) / 3
    return (1 - q) * PHI_PLUS + q * np.eye(4) / 4


@pytest.fixture(params=["numpy", "aer"])
def name(request):
    if request.param == "aer":
        pytest.importorskip("qiskit_aer")
    return request.param


def test_error_rate_of_a_werner_pair(name):
    def measure_both(draws):
        engine = open_engine(name)
        return tuple(engine.measure(q, draws.random(), IN_Z) for q in engine.pair(werner(0.9)))

    found = branches(measure_both)
    chances = probabilities(found, lambda bits: bits[0] != bits[1])
    assert abs(chances[True] - 2 * (1 - 0.9) / 3) < 1e-12
    assert abs(chances[True] + chances[False] - 1) < 1e-12


def test_teleportation_through_a_noisy_pair(name):
    turn = np.linalg.qr(np.array([[1, 2j], [0.3 - 1j, 1]]))[0]
    sent = np.outer(turn[:, 0], turn[:, 0].conj())

    def teleport(draws):
        engine = open_engine(name)
        data, (left, right) = engine.new(), engine.pair(werner(0.8))
        engine.unitary(turn, data)
        engine.unitary(CNOT, data, left)
        engine.unitary(H, data)
        z, x = (engine.measure(q, draws.random(), IN_Z) for q in (data, left))
        for gate, wanted in ((X, x), (Z, z)):
            if wanted:
                engine.unitary(gate, right)
        return (z, x), engine.state([right])

    found = branches(teleport)
    assert [branch.result[0] for branch in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for branch in found:
        assert abs(branch.probability - 0.25) < 1e-12
        fidelity = np.trace(sent @ branch.result[1]).real
        assert abs(fidelity - (2 * 0.8 + 1) / 3) < 1e-12


def test_outcomes_that_cannot_be_are_no_branches(name):
    def ghz(draws):
        engine = open_engine(name)
        qubits = [engine.new() for _ in range(4)]
        engine.unitary(H, qubits[0])
        for qubit in qubits[1:]:
            engine.unitary(CNOT, qubits[0], qubit)
        return [engine.measure(qubit, draws.random(), IN_Z) for qubit in qubits]

    assert [branch.result for branch in branches(ghz)] == [[0] * 4, [1] * 4]


def test_tosses_are_binomial():
    found = branches(lambda draws: sum(draws.random() < 0.3 for _ in range(7)))
    assert len(found) == 2**7
    chances = probabilities(found, lambda heads: heads)
    for heads in range(8):
        exact = math.comb(7, heads) * 0.3**heads * 0.7 ** (7 - heads)
        assert abs(chances[heads] - exact) < 1e-12


def test_repeating_until_success():
    def tries(draws):
        return next((n for n in range(1, 20) if draws.random() < 0.4), None)

    chances = probabilities(branches(tries), lambda n: n)
    assert abs(chances[3] - 0.6**2 * 0.4) < 1e-12
    assert abs(chances[None] - 0.6**19) < 1e-12


def test_a_draw_may_be_compared_again():
    def pick(draws):
        draw = draws.random()
        first = sum(1 for bound in (0.2, 0.7, 0.9) if draw >= bound)
        # what is known decides the rest, in all ways to say it
        bounds = (0.2, 0.7, 0.9)
        assert first == sum(not draw < b for b in bounds) == sum(b <= draw for b in bounds)
        assert first == sum(draw > b for b in bounds) == 3 - sum(draw <= b for b in bounds)
        assert 0.0 <= draw < 1.0
        return first

    chances = probabilities(branches(pick), lambda first: first)
    for first, exact in enumerate((0.2, 0.5, 0.2, 0.1)):
        assert abs(chances[first] - exact) < 1e-12


def test_draws_of_one_course_are_not_numbers():
    with pytest.raises(TypeError):
        branches(lambda draws: int(6 * draws.random()))


def test_equal_choices():
    chances = probabilities(branches(lambda draws: draws.integers(3)), lambda face: face)
    assert sorted(chances) == [0, 1, 2]
    assert all(abs(chance - 1 / 3) < 1e-12 for chance in chances.values())
    (only,) = branches(lambda draws: draws.integers(1))
    assert (only.result, only.probability) == (0, 1.0)


def test_sure_tries_need_no_branch():
    (only,) = branches(lambda draws: draws.geometric(1.0))
    assert (only.result, only.probability) == (1, 1.0)
    with pytest.raises(LimitError, match=r"chance 0\.5"):
        branches(lambda draws: draws.geometric(0.5))


def test_too_many_branches():
    def toss(draws):
        return sum(draws.random() < 0.5 for _ in range(5))

    assert len(branches(toss, most=32)) == 32
    with pytest.raises(LimitError, match="more than 31 branches"):
        branches(toss, most=31)


def test_a_simulation_with_other_randomness_is_refused():
    chances = itertools.cycle([0.5, 0.4, 0.3])
    with pytest.raises(SquidError, match="not the same"):
        branches(lambda draws: [draws.random() < next(chances) for _ in range(2)])

    numbers = itertools.count()
    with pytest.raises(SquidError, match="not the same"):
        branches(lambda draws: [draws.random() < 0.5 for _ in range(2) if next(numbers) < 2])

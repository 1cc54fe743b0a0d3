"""The compiled closed forms agree with ``quantum.werner``, and with dense matrices."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import bell, closed, werner
from quantum.errors import InputError
from quantum.kernels import kernel
from quantum.program import Gates, Memory
from quantum.seeding import generator

MEMORIES = [
    Memory(),
    Memory(t1_s=2.0, t2_s=3.0),
    Memory(t2_s=0.5),
    Memory(t1_s=1.5, t2_s=3.0, attempts_1e=40.0),
    Memory(attempts_1e=11.0),
]
GATES = Gates(gate_depolarizing=0.03, readout_error=0.02)


def some_chains(size, links, seed=1):
    rng = generator(seed, "closed")
    fresh = bell.correlators(rng.dirichlet([6.0, 1.0, 1.0, 1.0], (size, links)))
    waits = rng.exponential(1.0, (size, links, 2)) * (rng.random((size, links, 2)) < 0.8)
    return fresh, waits, rng.integers(0, 60, (size, links, 2)).astype(float)


def by_werner(fresh, waits, memory, attempts, gates):
    pairs = werner.wait(fresh, waits[..., 0], waits[..., 1], memory, attempts.sum(axis=-1))
    joined = pairs[:, 0]
    for link in range(1, pairs.shape[1]):
        joined = werner.swap(joined, pairs[:, link], gates)
    return joined


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@pytest.mark.parametrize("size", [0, 1, 130, 1000])
def test_pairs_decay_as_the_oracle_says(memory, size):
    fresh, waits, attempts = (a[:, 0] for a in some_chains(size, 1))
    want = werner.wait(fresh, waits[:, 0], waits[:, 1], memory, attempts.sum(axis=1))
    assert closed.decay(fresh, waits, memory, attempts) == pytest.approx(want, abs=1e-14)
    got = closed.decayed_fidelity(fresh, waits, memory, attempts)
    assert got == pytest.approx(werner.fidelity(want), abs=1e-14)
    calm = closed.decay(fresh, waits, memory)
    assert calm == pytest.approx(closed.decay(fresh, waits, memory, 0 * attempts), abs=1e-14)


@pytest.mark.parametrize("memory", MEMORIES, ids=str)
@pytest.mark.parametrize(("size", "links"), [(1, 1), (7, 2), (300, 3), (5, 99)])
def test_chains_are_swapped_as_the_oracle_says(memory, size, links):
    fresh, waits, attempts = some_chains(size, links)
    want = by_werner(fresh, waits, memory, attempts, GATES)
    got = closed.chain(fresh, waits, memory, GATES, attempts)
    assert got == pytest.approx(want, abs=1e-14)
    alike = closed.chain(fresh[0], waits, memory, GATES)
    want = by_werner(fresh[:1], waits, memory, 0 * attempts, GATES)
    assert alike == pytest.approx(want, abs=1e-14)


@given(st.floats(0.0, 700.0))
def test_the_exponential_is_exact_to_rounding(x):
    assert compiled_exponential(-x) == pytest.approx(math.exp(-x), rel=4e-16)


def test_the_exponential_at_its_ends():
    assert compiled_exponential(0.0) == compiled_exponential(-0.0) == 1.0
    assert 0.0 < compiled_exponential(-1e12) < 1e-300


@kernel
def compiled_exponential(x):
    return closed.exponential(x)


def kraus(wait_s, memory):
    """Amplitude damping, then what dephasing T2 has beyond it, as four Kraus operators."""
    g = 1.0 - math.exp(-wait_s / memory.t1_s)
    rest = min(1.0, math.exp(-wait_s / memory.t2_s) / math.sqrt(1.0 - g))
    damping = [np.diag([1.0, math.sqrt(1 - g)]), np.array([[0.0, math.sqrt(g)], [0.0, 0.0]])]
    dephasing = [
        math.sqrt((1 + rest) / 2) * np.eye(2),
        math.sqrt((1 - rest) / 2) * np.diag([1, -1]),
    ]
    return [d @ a for d in dephasing for a in damping]


def dense_swap(populations, waits, memory):
    """Two pairs as a 16 x 16 matrix: damp four qubits, project the inner two, correct, average."""
    pauli = {"i": np.eye(2), "x": np.array([[0, 1], [1, 0]]), "z": np.diag([1, -1])}
    phi = np.array([1, 0, 0, 1]) / math.sqrt(2)
    # Bell states of the order phi+, phi-, psi+, psi-: a Pauli on the second qubit of phi+.
    fixes = [pauli["i"], pauli["z"], pauli["x"], pauli["x"] @ pauli["z"]]
    bells = [np.kron(np.eye(2), fix) @ phi for fix in fixes]
    pair = [sum(w * np.outer(b, b) for w, b in zip(row, bells, strict=True)) for row in populations]
    rho = np.kron(*pair)
    for qubit, wait_s in enumerate(np.ravel(waits)):
        operators = [
            np.kron(np.kron(np.eye(2**qubit), k), np.eye(2 ** (3 - qubit)))
            for k in kraus(wait_s, memory)
        ]
        rho = sum(k @ rho @ k.T for k in operators)
    end = np.zeros((4, 4))
    for outcome, fix in zip(bells, fixes, strict=True):
        project = np.kron(np.kron(np.eye(2), outcome[None, :]), np.eye(2))
        correct = np.kron(np.eye(2), fix)
        end += correct @ project @ rho @ project.T @ correct.T
    return np.array([b @ end @ b for b in bells])


@pytest.mark.parametrize("memory", [Memory(t1_s=1.0, t2_s=1.2), Memory(t1_s=0.7, t2_s=1.4)])
def test_damped_pairs_swap_as_density_matrices_do(memory):
    # The state after damping is not Bell-diagonal, and the averaged correlators are exact still.
    populations = np.array([[0.8, 0.1, 0.07, 0.03], [0.6, 0.05, 0.15, 0.2]])
    waits = np.array([[0.3, 0.9], [1.1, 0.2]])
    want = bell.correlators(dense_swap(populations, waits, memory))
    got = closed.chain(bell.correlators(populations), waits[None], memory)[0]
    assert got == pytest.approx(want, abs=1e-14)


@given(st.lists(st.floats(-1.2, 1.2), min_size=3, max_size=3))
def test_states_are_accepted_and_nothing_else(correlators):
    least = bell.populations(correlators).min()
    if least > 0.0:
        closed.decay([correlators], [[0.0, 0.0]], Memory())
    elif least < -2e-9:
        with pytest.raises(InputError, match="correlators"):
            closed.decay([correlators], [[0.0, 0.0]], Memory())


def test_pure_states_are_accepted_whatever_their_rounding():
    pure = bell.correlators(np.eye(4)) * (1.0 + 1e-12)
    assert closed.decay(pure, np.zeros((4, 2)), Memory()) == pytest.approx(pure)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: closed.decay([[1.0, 1.0]], [[0.0, 0.0]], Memory()), "correlators"),
        (lambda: closed.decay([[1.0, 1.0, 2.0]], [[0.0, 0.0]], Memory()), "correlators"),
        (lambda: closed.decay([[1.0, 1.0, -1.0]], [[0.0, 0.0]], Memory()), "populations"),
        (lambda: closed.decayed_fidelity([[-1.0] * 3], [[0.0, 0.0]], Memory()), "populations"),
        (lambda: closed.chain([[1.0, 1.0, -1.0]], np.zeros((4, 1, 2)), Memory()), "populations"),
        (lambda: closed.decay([[np.nan, 0.0, 0.0]], [[0.0, 0.0]], Memory()), "populations"),
        (lambda: closed.decay([[1.0, 1.0, np.nan]], [[0.0, 0.0]], Memory()), "correlators"),
        (lambda: closed.decay([[1.0, 1.0, 1.0]], [[0.0, -1.0]], Memory()), "waits_s"),
        (lambda: closed.decay([[1.0, 1.0, 1.0]], [[0.0, np.nan]], Memory()), "waits_s"),
        (lambda: closed.decayed_fidelity([[1.0] * 3], [[0.0, np.inf]], Memory()), "waits_s"),
        (lambda: closed.decay([[1.0] * 3], [[0.0, 0.0]], Memory(), [[1.0]]), "attempts"),
        (lambda: closed.decay([[1.0] * 3], [[0.0, 0.0]], Memory(), [[1.0, -1.0]]), "attempts"),
        (lambda: closed.decay([[1.0] * 3], [[0.0, 0.0]], Memory(t1_s=1.0, t2_s=3.0)), "t2_s"),
        (lambda: closed.decay("pairs", [[0.0, 0.0]], Memory()), "correlators"),
        (lambda: closed.chain([[1.0] * 3], [[0.0, 0.0]], Memory()), "waits_s"),
        (lambda: closed.chain([[1.0] * 3], np.zeros((2, 2, 2)), Memory()), "correlators"),
        (
            lambda: closed.chain([1.0] * 3, np.zeros((2, 1, 2)), Memory(), Gates(readout_error=2)),
            "correlators",
        ),
    ],
)
def test_bad_input_is_named(call, field):
    with pytest.raises(InputError, match=field):
        call()

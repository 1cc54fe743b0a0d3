"""Both simulators against a dense reference that shares no code with them.

The reference below is written for clarity only: 4-qubit density matrices, Kraus operators, explicit
projectors and corrections, big-endian. Backends keep Pauli tensors (analytic) or column-stacked
superoperators on re-used qubits (Aer), so that a common mistake is unlikely.
"""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.aer import AerBackend
from backends.analytic import AnalyticBackend, correlators_suffice
from backends.contract import KEEP, Plan
from quantum.batch import Batch
from quantum.program import Gates, Memory
from quantum.seeding import generator

X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1.0, -1.0]).astype(complex)
ONE = np.eye(2, dtype=complex)
PAULIS = (ONE, X, Y, Z)
BELL = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) / np.sqrt(2)


# -- the dense reference -------------------------------------------------------------------------


def embed(matrix, qubits, n):
    """A matrix on some of n qubits, the first of them and of the register most significant."""
    k = len(qubits)
    rest = [q for q in range(n) if q not in qubits]
    full = np.kron(matrix, np.eye(2 ** (n - k))).reshape([2] * (2 * n))
    order = np.argsort([*qubits, *rest])
    return full.transpose([*order, *(n + order)]).reshape(2**n, 2**n)


def apply(rho, kraus, qubits):
    n = len(rho).bit_length() - 1
    out = np.zeros_like(rho)
    for k in kraus:
        full = embed(k, qubits, n)
        out += full @ rho @ full.conj().T
    return out


def relax(seconds, memory):
    """Amplitude damping, then the pure dephasing that is left of T2: two textbook channels."""
    g = 1 - np.exp(-seconds / memory.t1_s)
    # exp(-t/T2) = sqrt(1-g) (1 - 2 flip), computed without 0/0 for long waits
    left = np.exp(-seconds / memory.t2_s + seconds / (2 * memory.t1_s))
    flip = (1 - left) / 2
    damping = [np.diag([1, np.sqrt(1 - g)]), np.array([[0, np.sqrt(g)], [0, 0]])]
    dephasing = [np.sqrt(1 - flip) * ONE, np.sqrt(flip) * Z]
    return [b @ a for a in damping for b in dephasing]


def depolarize(p):
    pairs = [np.kron(a, b) for a in PAULIS for b in PAULIS]
    weights = [p / 16.0] * 16
    weights[0] += 1 - p
    return [np.sqrt(w) * m for w, m in zip(weights, pairs, strict=True)]


CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)


def dense_swap(a, b, gates):
    """Measure qubits 1 and 2 in the Bell basis, correct qubit 3 by what the detectors report."""
    rho = apply(np.kron(a, b), depolarize(gates.gate_depolarizing), (1, 2))
    e = gates.readout_error
    out = np.zeros((4, 4), dtype=complex)
    for z, x in itertools.product((0, 1), repeat=2):
        # BELL[z + 2x] is (Z^z X^x) phi_plus
        project = np.kron(np.kron(ONE, BELL[z + 2 * x].conj()[None, :]), ONE)
        after = project @ rho @ project.conj().T
        for wrong_z, wrong_x in itertools.product((0, 1), repeat=2):
            chance = (e if wrong_z else 1 - e) * (e if wrong_x else 1 - e)
            fix = np.linalg.matrix_power(Z, z ^ wrong_z) @ np.linalg.matrix_power(X, x ^ wrong_x)
            out += chance * apply(after, [fix], (1,))
    return out


def dense_distill(keep, spend, protocol, gates):
    """Return (state given equal reported bits, chance of equal reported bits)."""
    if protocol == "bbpssw":
        keep, spend = dense_twirl(keep), dense_twirl(spend)
    rho = np.kron(keep, spend)
    if protocol == "dejmps":
        for qubit, sign in ((0, 1), (2, 1), (1, -1), (3, -1)):
            rho = apply(rho, [(ONE - sign * 1j * X) / np.sqrt(2)], (qubit,))
    for control, target in ((0, 2), (1, 3)):
        rho = apply(rho, [CNOT], (control, target))
        rho = apply(rho, depolarize(gates.gate_depolarizing), (control, target))
    e = gates.readout_error
    flips = [np.sqrt(1 - e) * ONE, np.sqrt(e) * X]
    rho = apply(apply(rho, flips, (2,)), flips, (3,))
    blocks = rho.reshape(4, 4, 4, 4)
    kept = blocks[:, 0, :, 0] + blocks[:, 3, :, 3]
    chance = np.trace(kept).real
    if chance < 1e-12:
        return np.eye(4, dtype=complex) / 4, 0.0
    return kept / chance, chance


def dense_twirl(rho):
    """Werner's state of the same fidelity."""
    f = (BELL[0].conj() @ rho @ BELL[0]).real
    weights = (f, *[(1 - f) / 3] * 3)
    return sum(w * np.outer(b, b) for w, b in zip(weights, BELL, strict=True)) + 0j


def dense(batch, index):
    """Run one program of a batch: (populations, success)."""
    fresh = iter(batch.populations[index])
    waits = iter(batch.waits_s[index])
    pairs, success = {}, 1.0
    for kind, first, second in batch.skeleton:
        if kind == "generate":
            weights = next(fresh)
            pairs[first] = sum(w * np.outer(b, b) for w, b in zip(weights, BELL, strict=True)) + 0j
        elif kind == "wait":
            for qubit, seconds in enumerate(next(waits)):
                pairs[first] = apply(pairs[first], relax(seconds, batch.memory), (qubit,))
        elif kind == "swap":
            pairs[first] = dense_swap(pairs[first], pairs.pop(second), batch.gates)
            success *= batch.gates.success
        else:
            pairs[first], chance = dense_distill(pairs[first], pairs.pop(second), kind, batch.gates)
            success *= chance
    (rho,) = pairs.values()
    return np.array([(b.conj() @ rho @ b).real for b in BELL]), success


# -- comparison ----------------------------------------------------------------------------------

BACKENDS = {
    "analytic": AnalyticBackend,
    "aer direct": lambda: AerBackend("direct"),
    "aer public": lambda: AerBackend("public"),
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    opened = BACKENDS[request.param]()
    yield opened
    opened.close()


def truth_of(backend, batch):
    size = len(batch)
    plan = Plan(np.full(size, KEEP), np.zeros(size, dtype=np.int64), np.full(size, np.nan))
    return backend.run(batch, plan, generator(0, "unused")).truth


def agree(backend, batch, programs=None):
    truth = truth_of(backend, batch)
    for index in range(len(batch)) if programs is None else programs:
        populations, success = dense(batch, index)
        assert truth.success[index] == pytest.approx(success, abs=1e-9)
        if success > 1e-6:
            assert truth.populations[index] == pytest.approx(populations, abs=1e-9)


NOISY = Gates(success=0.8, gate_depolarizing=0.07, readout_error=0.04)
MEMORIES = {
    "none": Memory(),
    "dephasing": Memory(t2_s=0.4),
    "relaxation": Memory(t1_s=0.6, t2_s=1.2),
    "both": Memory(t1_s=0.6, t2_s=0.3),
}


def batch_of(skeleton, size=3, memory=MEMORIES["both"], gates=NOISY, seed=3):
    rng = generator(seed, "exact-test")
    made = sum(kind == "generate" for kind, _, _ in skeleton)
    waits = sum(kind == "wait" for kind, _, _ in skeleton)
    return Batch(
        tuple(skeleton),
        rng.dirichlet([8, 1, 1, 1], (size, made)),
        rng.uniform(0, 0.5, (size, waits, 2)),
        memory,
        gates,
    )


def generated(count, *, waiting):
    steps = []
    for pair in range(count):
        steps.append(("generate", pair, -1))
        if waiting:
            steps.append(("wait", pair, -1))
    return steps


def test_the_reference_knows_the_bell_states():
    for z, x in itertools.product((0, 1), repeat=2):
        operator = np.linalg.matrix_power(Z, z) @ np.linalg.matrix_power(X, x)
        made = np.kron(ONE, operator) @ BELL[0]
        assert abs(np.vdot(made, BELL[z + 2 * x])) == pytest.approx(1.0)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("times", [0, 1, 2])
def test_single_pairs(backend, memory, times):
    steps = [("generate", 4, -1), *[("wait", 4, -1)] * times]
    agree(backend, batch_of(steps, memory=MEMORIES[memory]))


@pytest.mark.parametrize("links", [2, 3, 4, 5])
@pytest.mark.parametrize("memory", ["none", "both"])
def test_chains_with_waits_before_and_after(backend, links, memory):
    steps = generated(links, waiting=True)
    for pair in range(1, links):
        steps += [("swap", 0, pair), ("wait", 0, -1)]
    agree(backend, batch_of(steps, memory=MEMORIES[memory]))


def test_chain_joined_from_the_right(backend):
    steps = generated(4, waiting=True)
    steps += [("swap", 2, 3), ("wait", 2, -1), ("swap", 1, 2), ("wait", 1, -1), ("swap", 0, 1)]
    agree(backend, batch_of([*steps, ("wait", 0, -1)]))


def test_two_half_chains_meet(backend):
    steps = [*generated(4, waiting=True), ("swap", 0, 1), ("swap", 2, 3)]
    steps += [("wait", 0, -1), ("wait", 2, -1), ("swap", 0, 2), ("wait", 0, -1)]
    agree(backend, batch_of(steps))


@pytest.mark.parametrize("protocol", ["dejmps", "bbpssw"])
@pytest.mark.parametrize("memory", ["none", "both"])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_nested_distillation(backend, protocol, memory, rounds):
    steps = generated(2**rounds, waiting=True)
    for level in range(rounds):
        for pair in range(0, 2**rounds, 2 ** (level + 1)):
            steps += [(protocol, pair, pair + 2**level), ("wait", pair, -1)]
    agree(backend, batch_of(steps, size=2, memory=MEMORIES[memory]))


@pytest.mark.parametrize("protocol", ["dejmps", "bbpssw"])
def test_pumping(backend, protocol):
    """The same pair is improved again and again with fresh ones, also as the one spent."""
    steps = [*generated(4, waiting=False), ("wait", 0, -1), (protocol, 0, 1), ("wait", 0, -1)]
    steps += [(protocol, 2, 0), (protocol, 2, 3), ("wait", 2, -1)]
    agree(backend, batch_of(steps))


def test_distilled_links_are_swapped_and_distilled_again(backend):
    steps = [*generated(8, waiting=True)]
    steps += [("dejmps", 0, 1), ("bbpssw", 2, 3), ("wait", 2, -1), ("swap", 0, 2)]
    steps += [("swap", 4, 5), ("swap", 6, 7), ("swap", 4, 6), ("wait", 4, -1)]
    steps += [("dejmps", 4, 0), ("wait", 4, -1)]
    agree(backend, batch_of(steps, size=2))


def test_a_herald_that_never_comes(backend):
    steps = [*generated(2, waiting=False), ("dejmps", 0, 1)]
    batch = Batch(tuple(steps), np.eye(4)[None, [0, 2]], np.zeros((1, 0, 2)))
    truth = truth_of(backend, batch)
    assert truth.success.tolist() == [0.0]
    assert truth.populations.tolist() == [[0.25] * 4]
    assert dense(batch, 0)[1] == 0.0


def test_a_dark_program_leaves_its_neighbours_alone(backend):
    steps = [*generated(2, waiting=False), ("dejmps", 0, 1)]
    batch = batch_of(steps, size=5, gates=Gates())
    batch.populations[2] = np.eye(4)[[0, 2]]
    agree(backend, batch)


def test_batches_larger_than_one_circuit(backend):
    batch = batch_of([*generated(2, waiting=True), ("swap", 0, 1)], size=333)
    agree(backend, batch, programs=(0, 99, 100, 149, 150, 299, 300, 332))


def test_extreme_waits(backend):
    batch = batch_of([("generate", 0, -1), ("wait", 0, -1), ("wait", 0, -1)], size=2)
    batch.waits_s[0] = [[0.0, 0.0], [0.0, 1e-9]]
    batch.waits_s[1] = [[1e4, 0.0], [0.0, 1e4]]
    agree(backend, batch)
    assert truth_of(backend, batch).populations[1] == pytest.approx([0.5, 0.5, 0, 0])


@st.composite
def skeletons(draw):
    """Any valid program of up to five pairs, in any order of steps."""
    steps, alive, made, waits = [], [], 0, 0
    wanted = draw(st.integers(1, 5))
    while made < wanted or len(alive) > 1:
        choices = []
        if made < wanted:
            choices.append("generate")
        if alive and waits < 5:
            choices.append("wait")
        if len(alive) > 1:
            choices += ["swap", "dejmps", "bbpssw"]
        kind = draw(st.sampled_from(choices))
        if kind == "generate":
            steps.append(("generate", made, -1))
            alive.append(made)
            made += 1
        elif kind == "wait":
            steps.append(("wait", draw(st.sampled_from(alive)), -1))
            waits += 1
        else:
            first, second = draw(st.permutations(alive))[:2]
            alive.remove(second)
            steps.append((kind, first, second))
    if draw(st.booleans()):
        steps.append(("wait", alive[0], -1))
    return steps


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(skeletons(), st.sampled_from(sorted(MEMORIES)), st.integers(0, 99))
def test_any_program(backend, skeleton, memory, seed):
    agree(backend, batch_of(skeleton, size=2, memory=MEMORIES[memory], seed=seed))


def test_closed_forms_are_used_only_where_they_are_exact():
    once, swapped = [("generate", 0, -1), ("wait", 0, -1)], generated(2, waiting=True)
    exact = {
        True: [once, [*swapped, ("swap", 0, 1)], [*swapped, ("bbpssw", 0, 1), ("wait", 0, -1)]],
        False: [
            [*once, ("wait", 0, -1)],
            [*swapped, ("swap", 0, 1), ("wait", 0, -1)],
            [*swapped, ("dejmps", 0, 1)],
        ],
    }
    for expected, several in exact.items():
        for steps in several:
            assert correlators_suffice(batch_of(steps)) is expected
            assert correlators_suffice(batch_of(steps, memory=Memory(t2_s=0.1)))

"""Engines against a reference that keeps all qubits in one state and lifts all by Kronecker."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.squid.engines import open_engine
from backends.squid.engines.operations import Catalogue, kraus_of, superoperator
from backends.squid.errors import LimitError, SquidError
from quantum.errors import InputError

X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1, -1]).astype(complex)
H = (X + Z) / np.sqrt(2)
CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)
PHI_PLUS = np.outer([1, 0, 0, 1], [1, 0, 0, 1]).astype(complex) / 2
IN_Z = (np.diag([1, 0]).astype(complex), np.diag([0, 1]).astype(complex))
WEAK = (np.diag(np.sqrt([0.95, 0.005])) + 0j, np.diag(np.sqrt([0.05, 0.995])) + 0j)

ENGINES = ["numpy", "aer"]


@pytest.fixture(params=ENGINES)
def engine(request):
    return opened(request.param)


def opened(name, most_qubits=10):
    if name == "aer":
        pytest.importorskip("qiskit_aer")
    return open_engine(name, most_qubits)


def lift(matrix, at, n):
    """A matrix on the qubits ``at`` of n: a sum of Kronecker products of |i><j|."""
    k = len(at)
    full = np.zeros((2**n, 2**n), dtype=complex)
    for row in range(2**k):
        for column in range(2**k):
            factors = [np.eye(2)] * n
            for place, qubit in enumerate(at):
                unit = np.zeros((2, 2))
                unit[(row >> (k - 1 - place)) & 1, (column >> (k - 1 - place)) & 1] = 1
                factors[qubit] = unit
            full += matrix[row, column] * reduce(np.kron, factors)
    return full


class Whole:
    """The reference: a register of all qubits, each channel a sum over Kraus operators."""

    def __init__(self):
        self.names, self.rho = [], np.ones((1, 1), dtype=complex)

    def add(self, names, state):
        self.names += names
        self.rho = np.kron(self.rho, state)

    def apply(self, kraus, qubits):
        at = [self.names.index(q) for q in qubits]
        full = [lift(k, at, len(self.names)) for k in kraus]
        self.rho = sum(k @ self.rho @ k.conj().T for k in full)

    def chance(self, kraus, qubit):
        full = lift(kraus, [self.names.index(qubit)], len(self.names))
        return np.trace(full @ self.rho @ full.conj().T).real

    def discard(self, qubit):
        self.rho = self.state([q for q in self.names if q != qubit])
        self.names.remove(qubit)

    def state(self, qubits):
        rest = [self.names.index(q) for q in self.names if q not in qubits]
        at = [self.names.index(q) for q in qubits]
        n = len(self.names)
        out = np.zeros((2 ** len(at), 2 ** len(at)), dtype=complex)
        for row in range(2**n):
            for column in range(2**n):
                bits = [(row >> (n - 1 - q)) & 1 for q in range(n)]
                other = [(column >> (n - 1 - q)) & 1 for q in range(n)]
                if all(bits[q] == other[q] for q in rest):
                    i = reduce(lambda value, q: 2 * value + bits[q], at, 0)
                    j = reduce(lambda value, q: 2 * value + other[q], at, 0)
                    out[i, j] += self.rho[row, column]
        return out


def random_kraus(rng, d, count):
    """Kraus operators of a channel without any symmetry; one of them is a unitary."""
    columns = np.linalg.qr(rng.normal(size=(d * count, d)) + 1j * rng.normal(size=(d * count, d)))
    return list(columns[0].reshape(count, d, d))


def damping(g):
    return [np.diag([1, np.sqrt(1 - g)]) + 0j, np.array([[0, np.sqrt(g)], [0, 0]]) + 0j]


def depolarising(p):
    weights = [1 - 0.75 * p, p / 4, p / 4, p / 4]
    return [np.sqrt(w) * m for w, m in zip(weights, (np.eye(2), X, Y, Z), strict=True)]


def stacked(kraus):
    return sum(np.kron(k, k.conj()) for k in kraus) + 0j


steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("new", "pair", "turn", "cnot", "gate", "damp", "noise", "joint"),
                *("chance", "measure", "weak", "any", "discard"),
            ]
        ),
        st.integers(0, 4),
        st.integers(0, 3),
        st.floats(0.03, 0.97),
    ),
    min_size=10,
    max_size=40,
)


@pytest.mark.parametrize("name", ENGINES)
@given(steps=steps, seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_any_course_of_operations_equals_the_reference(name, steps, seed):
    engine, whole, rng = opened(name), Whole(), np.random.default_rng(seed)
    whole.add([engine.new()], np.diag([1.0, 0.0]))
    whole.add(list(engine.pair(PHI_PLUS)), PHI_PLUS)
    for step in steps:
        play(engine, whole, rng, *step)
        if len(whole.names) >= 2:
            asked = list(rng.permutation(whole.names)[: rng.integers(1, 4)])
            if rng.random() < 0.2:
                assert abs(engine.state(asked) - whole.state(asked)).max() < 1e-12
    assert abs(engine.state(whole.names) - whole.rho).max() < 1e-12
    for qubit in whole.names:
        group = engine.entangled_with(qubit)
        others = [q for q in whole.names if q not in group]
        apart = np.kron(whole.state(group), whole.state(others))
        assert abs(whole.state([*group, *others]) - apart).max() < 1e-12


def play(engine, whole, rng, kind, first, other, number):
    names = whole.names
    if kind == "new" or (not names and kind != "pair"):
        if len(names) < 5:
            whole.add([engine.new()], np.diag([1.0, 0.0]))
    elif kind == "pair":
        if len(names) < 4:
            root = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
            state = root @ root.conj().T / np.trace(root @ root.conj().T).real
            whole.add(list(engine.pair(state)), state)
    elif kind in ("turn", "damp", "noise"):
        qubit = names[first % len(names)]
        kraus = {
            "turn": random_kraus(rng, 2, 1),
            "damp": damping(number),
            "noise": depolarising(number),
        }[kind]
        whole.apply(kraus, [qubit])
        if kind == "turn":
            engine.unitary(kraus[0], qubit)
        else:
            engine.channel(stacked(kraus), qubit)
    elif kind in ("cnot", "gate", "joint"):
        if len(names) > 1:
            left, right = first % len(names), other % (len(names) - 1)
            qubits = names[left], names[(left + 1 + right) % len(names)]
            kraus = [CNOT] if kind == "cnot" else random_kraus(rng, 4, 1 + (kind == "joint") * 2)
            whole.apply(kraus, qubits)
            if kind == "joint":
                engine.channel(stacked(kraus), *qubits)
            else:
                engine.unitary(kraus[0], *qubits)
    elif kind in ("measure", "weak", "any"):
        qubit = names[first % len(names)]
        kraus = {"measure": IN_Z, "weak": WEAK, "any": random_kraus(rng, 2, 2)}[kind]
        chance = whole.chance(kraus[0], qubit)
        outcome = engine.measure(qubit, number, tuple(kraus))
        # A draw may hit the chance itself (0.5 of a mixed qubit): then rounding decides.
        assert outcome == (0 if number < chance else 1) or abs(number - chance) < 1e-12
        whole.apply([kraus[outcome]], [qubit])
        whole.rho /= np.trace(whole.rho).real
    elif kind == "chance":
        qubit = names[first % len(names)]
        for kraus in random_kraus(rng, 2, 3):
            assert abs(engine.chance(qubit, kraus) - whole.chance(kraus, qubit)) < 1e-12
    else:
        qubit = names[first % len(names)]
        engine.discard(qubit)
        whole.discard(qubit)


def test_groups_grow_by_gates_and_shrink_by_measurements(engine):
    a, (b, c), d = engine.new(), engine.pair(PHI_PLUS), engine.new()
    assert [engine.entangled_with(q) for q in (a, b, c, d)] == [(a,), (b, c), (b, c), (d,)]
    engine.unitary(CNOT, c, a)
    engine.unitary(CNOT, d, a)
    assert engine.entangled_with(a) == (a, b, c, d)
    engine.measure(a, 0.3, WEAK)
    assert engine.entangled_with(a) == (a, b, c, d)
    engine.measure(a, 0.3, IN_Z)
    assert engine.entangled_with(a) == (a,) and engine.entangled_with(d) == (b, c, d)
    engine.discard(c)
    assert engine.entangled_with(b) == (b, d)
    with pytest.raises(SquidError, match=f"no qubit {c}"):
        engine.entangled_with(c)


def test_states_of_qubits_in_any_order(engine):
    a, b, c = engine.new(), engine.new(), engine.new()
    engine.unitary(X, c)
    engine.unitary(H, a)
    plus, zero, one = np.full((2, 2), 0.5), np.diag([1, 0]), np.diag([0, 1])
    assert abs(engine.state([c, a, b]) - reduce(np.kron, [one, plus, zero])).max() < 1e-12
    engine.unitary(CNOT, c, b)
    assert abs(engine.state([b, a]) - np.kron(one, plus)).max() < 1e-12
    assert engine.state([]).tolist() == [[1]]


def test_an_impossible_outcome_is_never_drawn(engine):
    assert engine.measure(engine.new(), np.nextafter(1, 0), IN_Z) == 0
    qubit = engine.new()
    engine.unitary(X, qubit)
    assert engine.measure(qubit, 0.0, IN_Z) == 1
    # nor one that only rounding makes possible
    turned = engine.new()
    for _ in range(50):
        engine.unitary(H, turned)
    assert engine.measure(turned, np.nextafter(1, 0), IN_Z) == 0


def test_chances_add_up_after_a_thousand_operations(engine):
    rng = np.random.default_rng(5)
    qubits = [engine.new() for _ in range(3)]
    channel = stacked(random_kraus(rng, 2, 2))
    joint = stacked(random_kraus(rng, 4, 2))
    for number in range(500):
        engine.unitary(random_kraus(rng, 4, 1)[0], qubits[number % 3], qubits[(number + 1) % 3])
        engine.channel(channel, qubits[number % 3])
        if number % 5 == 0:
            engine.channel(joint, qubits[0], qubits[2])
            engine.measure(qubits[number % 3], rng.random(), WEAK)
    for qubit in qubits:
        for pair in (IN_Z, WEAK, tuple(random_kraus(rng, 2, 2))):
            assert abs(sum(engine.chance(qubit, k) for k in pair) - 1) < 1e-12
    state = engine.state(qubits)
    assert abs(np.trace(state) - 1) < 1e-12 and np.linalg.eigvalsh(state)[0] > -1e-12


def flip_columns():
    """Transposition: it keeps trace and Hermiticity, and is not completely positive."""
    channel = np.eye(4, dtype=complex)
    return channel[[0, 2, 1, 3]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda e, q: e.unitary(H / 2, q), "U U"),
        (lambda e, q: e.unitary(H * np.nan, q), "U U"),
        (lambda e, q: e.unitary(CNOT, q), r"\(2, 2\), got \(4, 4\)"),
        (lambda e, q: e.unitary(H, q, e.new()), r"\(4, 4\), got \(2, 2\)"),
        (lambda e, q: e.channel(np.eye(2) + 0j, q), r"\(4, 4\)"),
        (lambda e, q: e.channel(np.eye(4) + 0j, q, e.new()), r"\(16, 16\)"),
        (lambda e, q: e.channel(np.eye(4) * 0.9 + 0j, q), "trace"),
        (lambda e, q: e.channel(np.diag([1, 0.5, 0.6, 1]) + 0j, q), "Hermitian"),
        (lambda e, q: e.channel(np.diag([1, 1.1, 1.1, 1]) + 0j, q), "completely positive"),
        (lambda e, q: e.channel(flip_columns(), q), "completely positive"),
        (lambda e, q: e.channel(np.full((4, 4), np.inf + 0j), q), "finite"),
        (lambda e, q: e.channel(np.eye(16) * 2 + 0j, q, e.new()), "trace"),
        (lambda e, q: e.measure(q, 0.5, (IN_Z[0], IN_Z[0])), "sum"),
        (lambda e, q: e.measure(q, 0.5, (IN_Z[0], CNOT)), r"\(2, 2\)"),
        (lambda e, q: e.measure(q, 1.0, IN_Z), "draw"),
        (lambda e, q: e.measure(q, -0.1, IN_Z), "draw"),
        (lambda e, q: e.measure(q, float("nan"), IN_Z), "draw"),
        (lambda e, q: e.chance(q, 2 * X), "<= 1"),
        (lambda e, q: e.chance(q, X * np.nan), "finite"),
        (lambda e, q: e.pair(np.eye(4) + 0j), "trace 1"),
        (lambda e, q: e.pair(np.diag([1.5, -0.5, 0, 0]) + 0j), "negative"),
        (lambda e, q: e.pair(PHI_PLUS + np.eye(4, k=1)), "Hermitian"),
        (lambda e, q: e.pair(np.eye(2) / 2 + 0j), r"\(4, 4\)"),
    ],
)
def test_what_is_no_operation_or_state_is_refused(engine, call, words):
    qubit = engine.new()
    with pytest.raises(InputError, match=words):
        call(engine, qubit)
    # and nothing has happened
    assert engine.entangled_with(qubit) == (qubit,)
    assert abs(engine.state([qubit]) - np.diag([1, 0])).max() < 1e-15


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda e, q: e.unitary(H, 99), "no qubit 99"),
        (lambda e, q: e.unitary(CNOT, q, 99), "no qubit 99"),
        (lambda e, q: e.unitary(CNOT, q, q), "twice"),
        (lambda e, q: e.unitary(CNOT), "one or two qubits, got 0"),
        (lambda e, q: e.channel(np.eye(64) + 0j, q, e.new(), e.new()), "got 3"),
        (lambda e, q: e.measure(99, 0.5, IN_Z), "no qubit 99"),
        (lambda e, q: e.chance(99, IN_Z[0]), "no qubit 99"),
        (lambda e, q: e.discard(99), "no qubit 99"),
        (lambda e, q: e.state([q, 99]), "no qubit 99"),
        (lambda e, q: e.state([q, q]), "once"),
    ],
)
def test_qubits_that_cannot_be_meant_are_refused(engine, call, words):
    qubit = engine.new()
    with pytest.raises(SquidError, match=words):
        call(engine, qubit)


@pytest.mark.parametrize("name", ENGINES)
def test_a_state_has_at_most_so_many_qubits(name):
    engine = opened(name, most_qubits=3)
    qubits = [engine.new() for _ in range(4)]
    for qubit in qubits[1:3]:
        engine.unitary(CNOT, qubits[0], qubit)
    with pytest.raises(LimitError, match="4 qubits in one state; at most 3"):
        engine.unitary(CNOT, qubits[0], qubits[3])
    with pytest.raises(LimitError, match="at most 3"):
        engine.state(qubits)
    engine.measure(qubits[1], 0.5, IN_Z)
    engine.unitary(CNOT, qubits[0], qubits[3])


def test_there_are_two_engines():
    with pytest.raises(InputError, match="aer or numpy"):
        open_engine("qutip")
    assert open_engine("numpy").name == "numpy"


@given(seed=st.integers(0, 2**32), d=st.sampled_from([2, 4]), count=st.integers(1, 6))
def test_kraus_operators_of_a_channel_make_the_channel(seed, d, count):
    channel = stacked(random_kraus(np.random.default_rng(seed), d, count))
    found = kraus_of(channel, d // 2)
    assert len(found) == min(count, d * d)
    assert abs(sum(superoperator(k) for k in found) - channel).max() < 1e-13


def test_weak_noise_is_kept():
    for weight in (1e-3, 1e-7, 1e-12):
        channel = stacked(damping(weight))
        assert abs(stacked(kraus_of(channel, 1)) - channel).max() < 1e-15


def test_matrices_are_known_by_identity_only_if_they_cannot_change():
    made = []
    catalogue = Catalogue(lambda matrix: made.append(1) or matrix.copy())
    changing, constant = np.eye(2), np.eye(2) * 2
    constant.setflags(write=False)
    for _ in range(2):
        assert catalogue.find(changing)[0, 0] == 1
        assert catalogue.find(constant)[0, 0] == 2
    assert len(made) == 2
    changing[0, 0] = 7
    assert catalogue.find(changing)[0, 0] == 7
    for number in range(5000):
        assert catalogue.find(np.full((2, 2), float(number)))[0, 0] == number
    assert catalogue.find(constant)[0, 0] == 2


def test_a_matrix_that_was_changed_is_checked_again(engine):
    qubit, turn = engine.new(), H.copy()
    engine.unitary(turn, qubit)
    turn[0, 0] = 3
    with pytest.raises(InputError):
        engine.unitary(turn, qubit)

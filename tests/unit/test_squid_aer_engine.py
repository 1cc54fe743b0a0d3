"""What is special of the engine on Aer: when it is called, and by which of its interfaces."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("qiskit_aer")

from backends.aer.opening import SlowPathWarning
from backends.squid.engines import aer_states
from backends.squid.engines.aer_engine import AerEngine
from backends.squid.engines.aer_states import Circuits, MappedStates, open_player, why_not_mapped
from backends.squid.engines.numpy_engine import NumpyEngine

X = np.array([[0, 1], [1, 0]], dtype=complex)
H = np.array([[1, 1], [1, -1]], dtype=complex) / np.sqrt(2)
CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)
PHI_PLUS = np.outer([1, 0, 0, 1], [1, 0, 0, 1]).astype(complex) / 2
IN_Z = (np.diag([1, 0]).astype(complex), np.diag([0, 1]).astype(complex))


def test_aer_is_called_only_when_something_must_be_known():
    engine = AerEngine()
    data, (left, right) = engine.new(), engine.pair(PHI_PLUS)
    engine.unitary(H, data)
    engine.unitary(CNOT, data, left)
    engine.unitary(H, data)
    assert engine.runs == 0
    # Both outcomes and what they leave behind follow from one state.
    engine.measure(data, 0.2, IN_Z)
    engine.measure(left, 0.2, IN_Z)
    engine.state([right])
    engine.discard(data)
    assert engine.runs == 1
    engine.unitary(X, right)
    engine.discard(right)
    assert engine.runs == 1


def test_a_group_is_played_without_the_others():
    engine = AerEngine()
    first, second = engine.new(), engine.new()
    engine.unitary(X, first)
    engine.unitary(X, second)
    assert engine.chance(first, IN_Z[1]) == 1
    assert engine.runs == 1
    assert engine.state([second, first])[3, 3].real == 1
    assert engine.runs == 2


def test_both_ways_into_aer_do_the_same():
    for player in (MappedStates(), Circuits()):
        assert why_not_mapped(player) == ""
        rng, states = np.random.default_rng(4), []
        for engine in (AerEngine(player=player), NumpyEngine()):
            rng = np.random.default_rng(4)
            qubits = [*engine.pair(PHI_PLUS), engine.new(), *engine.pair(PHI_PLUS)]
            for _ in range(6):
                a, b = rng.permutation(qubits)[:2]
                turn = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))[0]
                engine.unitary(turn, a, b)
                engine.channel(np.diag([1, 0.8j, -0.8j, 1]), b)
            outcomes = [engine.measure(qubit, rng.random(), IN_Z) for qubit in qubits[:2]]
            states.append((outcomes, engine.state(qubits)))
        assert states[0][0] == states[1][0]
        assert abs(states[0][1] - states[1][1]).max() < 1e-12


@pytest.fixture
def fresh_choice():
    open_player.cache_clear()
    yield
    open_player.cache_clear()


@pytest.mark.usefixtures("fresh_choice")
def test_the_private_interface_is_used_where_it_is_known():
    assert AerEngine().path == "direct"


@pytest.mark.usefixtures("fresh_choice")
def test_another_version_of_aer_is_used_by_its_public_interface(monkeypatch):
    monkeypatch.setattr(aer_states, "version", lambda _: "99.0")
    with pytest.warns(SlowPathWarning, match=r"qiskit-aer is 99\.0"):
        engine = AerEngine()
    assert engine.path == "public"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AerEngine()  # one warning is enough
    qubit = engine.new()
    engine.unitary(X, qubit)
    assert abs(engine.chance(qubit, IN_Z[1]) - 1) < 1e-12


def test_an_interface_that_does_something_else_is_noticed():
    class Wrong:
        name = "wrong"

        def __init__(self, fault):
            self.fault, self.right = fault, MappedStates()

        def play(self, matrix, operations):
            if self.fault == "missing":
                raise AttributeError("no such method")
            if self.fault == "nothing":
                return
            if self.fault == "transposed":
                operations = [(q, [k.T for k in kraus]) for q, kraus in operations]
            if self.fault == "order":
                operations = [(q[::-1], kraus) for q, kraus in operations]
            self.right.play(matrix, operations)
            if self.fault == "conjugate":
                matrix[...] = matrix.conj()

    assert "has changed: no such method" in why_not_mapped(Wrong("missing"))
    for fault in ("nothing", "transposed", "order", "conjugate"):
        assert "is off by" in why_not_mapped(Wrong(fault))


def test_a_state_that_failed_is_not_used_again():
    states = MappedStates()
    matrix = np.diag([1.0, 0.0]).astype(complex)
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        states.play(matrix, [([0], [np.asfortranarray(X)]), ([0], "no matrices")])
    states.play(matrix, [([0], [np.asfortranarray(X)])])
    assert abs(matrix - np.diag([0, 1])).max() < 1e-15


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)"])
def test_the_process_ends_well_with_lent_memory(end):
    lines = [
        "from backends.squid.engines import open_engine",
        "import numpy as np",
        "engine = open_engine('aer')",
        "qubit = engine.new()",
        "engine.unitary(np.array([[0, 1], [1, 0]], dtype=complex), qubit)",
        "engine.state([qubit])",
        end,
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

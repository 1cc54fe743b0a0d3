"""The drawn circuit, sampled by a stock ``AerSimulator``, has the statistics of the program."""

import math

import numpy as np
import pytest
from qiskit_aer import AerSimulator

from backends import analytic
from backends.aer.circuit import MOST_PAIRS, circuit_of, read_counts
from quantum import bell, ghz
from quantum.batch import stack
from quantum.errors import InputError
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

SKEWED = (0.8, 0.03, 0.12, 0.05)
OTHER = (0.85, 0.1, 0.01, 0.04)
MEMORY = Memory(t1_s=1.0, t2_s=0.6)
GATES = Gates(success=0.8, gate_depolarizing=0.15, readout_error=0.12)


def any_state(seed):
    """A random two-qubit state near phi_plus, as Pauli expectations: far from Bell-diagonal."""
    rng = generator(seed, "test")
    matrix = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    state = matrix @ matrix.conj().T
    mixed = 0.4 * bell.expectations_of(state / np.trace(state)) + 0.6 * np.diag([1.0, 1, -1, 1])
    return tuple(mixed.ravel().tolist())


def chain_of_three():
    steps = []
    for pair, weights in enumerate((SKEWED, OTHER, SKEWED)):
        steps += [Generate(pair, weights), Wait(pair, 0.05 * pair, 0.1)]
    return Program(
        (*steps, Swap(1, 2), Wait(1, 0.1, 0.0), Swap(0, 1), Wait(0, 0.1, 0.2)), MEMORY, GATES
    )


def distilled(protocol):
    steps = (Generate(0, SKEWED), Generate(1, OTHER), Wait(0, 0.1, 0.2))
    return Program((*steps, Distill(0, 1, protocol), Wait(0, 0.1, 0.1)), MEMORY, GATES)


def loaded(protocol):
    steps = (Load(3, any_state(1)), Load(1, any_state(2)), Distill(3, 1, protocol))
    return Program(steps, Memory(), Gates(gate_depolarizing=0.02, readout_error=0.01))


def ghz_of_three(at):
    steps = (Generate(0, SKEWED), Load(1, any_state(3)), Wait(1, 0.1, 0.0), Merge(0, 1, at))
    return Program((*steps, Wait(0, 0.1, 0.2)), Memory(t1_s=1.0, t2_s=1.4), GATES)


def stored_beside_attempts():
    memory = Memory(t1_s=2.0, t2_s=1.0, attempts_1e=500.0)
    return Program((Generate(0, SKEWED), Wait(0, 0.1, 0.3, 120.0, 40.0)), memory)


PROGRAMS = {
    "fresh pair": Program((Generate(0, SKEWED),)),
    "waiting pair": Program((Generate(0, SKEWED), Wait(0, 0.2, 0.5)), Memory(t1_s=0.8, t2_s=1.5)),
    "attempts": stored_beside_attempts(),
    "loaded pair": Program((Load(0, any_state(4)), Wait(0, 0.2, 0.1)), MEMORY),
    "chain of 3": chain_of_three(),
    "dejmps": distilled("dejmps"),
    "bbpssw": distilled("bbpssw"),
    "epl": distilled("epl"),
    "dejmps of any": loaded("dejmps"),
    "bbpssw of any": loaded("bbpssw"),
    "epl of any": loaded("epl"),
    "ghz at last": ghz_of_three("last"),
    "ghz at first": ghz_of_three("first"),
}

RUNS, SHOTS = 4, 2000


def sampled(name, program, basis):
    """Run on a stock simulator, with seeds far from one another; add up."""
    circuit = circuit_of(program, basis)
    simulator = AerSimulator()
    passed = failed = refused = 0
    for run in range(RUNS):
        # Neighbouring seeds repeat one another's shots.
        seed = int(generator(5, "circuit", name, basis, run).integers(2**31))
        result = simulator.run(circuit, shots=SHOTS, seed_simulator=seed).result()
        reading = read_counts(circuit, result.get_counts())
        passed += reading.test.passed
        failed += reading.test.failed
        refused += reading.refused
    return passed, failed, refused


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_stock_simulator_agrees_with_the_exact_values(name):
    program = PROGRAMS[name]
    ((_, batch),) = stack([program])
    truth = analytic.exact(batch)
    joins = sum(isinstance(step, Swap | Merge) for step in program.steps)
    # Success of swaps and merges is not part of the circuit.
    heralded = truth.success[0] / program.gates.success**joins
    chances = dict(
        zip(ghz.labels(batch.qubits), ghz.pass_probability(truth.populations[0]), strict=True)
    )
    labels = list(chances) if batch.qubits == 2 else ["xxx", "yyx", "zzi", "ziz"]
    accepted = 0
    for label in labels:
        passed, failed, refused = sampled(name, program, label)
        assert passed + failed + refused == RUNS * SHOTS
        tests, right = passed + failed, chances[label]
        assert abs(passed - tests * right) < 5.0 * math.sqrt(tests * right * (1.0 - right)) + 1e-9
        accepted += tests
    shots = RUNS * SHOTS * len(labels)
    spread = math.sqrt(shots * heralded * max(1.0 - heralded, 0.0))
    assert abs(accepted - shots * heralded) < 5.0 * spread + 1e-6


def test_what_happens_is_visible_and_labelled():
    drawn = str(circuit_of(chain_of_three(), "yy").draw("text", fold=-1))
    for label in ("depol 0.15", "readout 0.12", "T1=1 s T2=0.6 s, 0.1 s", "Delay(0.1[s])"):
        assert label in drawn
    assert "Bell 0.8 0.03 0.12 0.05" in drawn
    assert "pair2_1" in drawn and "swap1" in drawn and "test" in drawn
    werner = circuit_of(Program((Generate(0, tuple(bell.werner(0.95).tolist())),)))
    assert "F=0.95" in str(werner.draw("text"))
    assert "twirl: 1 of 12 Cliffords" in str(circuit_of(distilled("bbpssw")).draw("text", fold=-1))
    assert "load F=" in str(circuit_of(PROGRAMS["loaded pair"]).draw("text"))


def test_perfect_programs_have_no_noise_and_pass_every_test():
    perfect = (1.0, 0.0, 0.0, 0.0)
    steps = (Generate(0, perfect), Generate(1, perfect), Swap(0, 1), Generate(2, perfect))
    program = Program((*steps, Distill(0, 2, "dejmps"), Wait(0, 1.0, 1.0)))
    for basis in ("xx", "yy", "zz"):
        circuit = circuit_of(program, basis)
        assert not {"quantum_channel", "kraus"} & set(circuit.count_ops())
        seed = int(generator(6, "circuit", basis).integers(2**31))
        counts = AerSimulator().run(circuit, shots=100, seed_simulator=seed).result().get_counts()
        reading = read_counts(circuit, counts)
        assert (reading.test.passed, reading.test.failed, reading.refused) == (100, 0, 0)


def test_the_basis_is_that_of_the_program_unless_asked_for():
    pair = Generate(0, SKEWED)
    fixed = Program((pair, Measure(0, "yy")))
    assert circuit_of(fixed).metadata == {"heralds": {}, "basis": "yy", "sign": -1}
    assert circuit_of(fixed, "xx").metadata["basis"] == "xx"
    assert circuit_of(Program((pair, Measure(0, "random")))).metadata["basis"] == "zz"
    assert circuit_of(ghz_of_three("last")).metadata["basis"] == "xxx"
    with pytest.raises(InputError, match=r"basis must be a stabilizer of 2 qubits \(xx, yy, zz\)"):
        circuit_of(fixed, "xy")
    with pytest.raises(InputError, match="'zz'"):
        circuit_of(ghz_of_three("last"), "zz")


def test_heralds_are_read_as_their_protocol_says():
    for protocol, accepted in (("dejmps", {"00", "11"}), ("epl", {"11"})):
        circuit = circuit_of(distilled(protocol), "zz")
        counts = {
            f"{test} {herald}": 1 for test in ("00", "01") for herald in ("00", "01", "10", "11")
        }
        reading = read_counts(circuit, counts)
        assert (reading.test.passed, reading.test.failed) == (len(accepted), len(accepted))
        assert reading.refused == 8 - 2 * len(accepted)


def test_circuits_that_no_screen_shows_are_refused():
    pairs = MOST_PAIRS + 1
    steps = (*(Generate(i, SKEWED) for i in range(pairs)), *(Swap(0, i) for i in range(1, pairs)))
    with pytest.raises(InputError, match=f"at most {MOST_PAIRS} pairs, this program has {pairs}"):
        circuit_of(Program(steps))

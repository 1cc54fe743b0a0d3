"""The squidasm backend: the kit, other ways to the same numbers, and that NetQASM is what runs."""

import dense
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squid_plays import Play

from backends.conformance import check_backend
from backends.contract import KEEP, RANDOM, Backend, Plan, plan_of
from backends.squid import backend as squid
from backends.squid import bench, interpreter
from backends.squid.backend import SquidBackend
from backends.squid.clock import Delay
from backends.squid.engines import open_engine
from backends.squid.engines.branches import branches
from backends.squid.engines.ensemble_engine import EnsembleEngine
from backends.squid.errors import SquidError
from backends.squid.matrices import CNOT, PROJECTORS, decay, depolarise
from backends.squid.matrices import GATES as SINGLE
from backends.squid.run import Simulation, run_network
from backends.squid.setting import Classical, Depolarise, Generic, Link, Network, Node
from backends.squid.stage import Stage
from quantum import bell
from quantum.batch import Batch, stack
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

EXACT = 1e-10
GATES = Gates(success=0.9, gate_depolarizing=0.03, readout_error=0.02)
MEMORY = Memory(t1_s=1.0, t2_s=0.7, attempts_1e=40.0)
#: Mixtures of phi_plus with product states: nothing about them is symmetric.
IDEAL = np.diag([1.0, 1.0, -1.0, 1.0])
TILTED = 0.7 * IDEAL + 0.3 * np.outer([1.0, 0.6, 0.0, 0.8], [1.0, 0.0, 0.6, -0.8])
SKEW = 0.4 * IDEAL + 0.6 * np.outer([1.0, 0.0, -0.6, -0.8], [1.0, 0.48, 0.6, -0.64])


def executed(program):
    ((_, batch),) = stack([program])
    return truth_of(batch)


def truth_of(batch):
    size = len(batch)
    plan = Plan(np.full(size, KEEP), np.zeros(size, dtype=np.int64), np.full(size, np.nan))
    return SquidBackend().run(batch, plan, np.random.default_rng(0)).truth


def agrees_with_dense(batch):
    truth = truth_of(batch)
    for index in range(len(batch)):
        populations, success = dense.run(batch, index)
        assert truth.success[index] == pytest.approx(success, abs=EXACT)
        assert truth.populations[index] == pytest.approx(populations, abs=EXACT)


def test_it_keeps_the_contract_and_refuses_nothing():
    assert isinstance(SquidBackend(), Backend)
    verdicts = check_backend(SquidBackend())
    others = [check for check in verdicts if check.verdict != "ok"]
    # It measures parities and no qubits one by one, as backends may.
    assert [check.name for check in others] == ["both results at angles"]
    assert others[0].verdict == "refused" and "allowed" in others[0].detail


STEPS = {
    "swaps after waits": (Wait(0, 0.2, 0.1), Wait(1, 0.3, 0.0, 2.0, 1.0), Swap(0, 1), Swap(0, 2)),
    "waits between": (Swap(0, 1), Wait(0, 0.2, 0.1), Swap(0, 2), Wait(0, 0.0, 0.3)),
    "from the right": (Swap(1, 2), Wait(1, 0.1, 0.2), Wait(1, 0.1, 0.0), Swap(0, 1)),
    "distilled, then swapped": (Distill(0, 1, "epl"), Wait(0, 0.3, 0.1), Swap(0, 2)),
    "swapped, then distilled": (Swap(0, 1), Wait(2, 0.3, 0.1), Distill(0, 2, "dejmps")),
    "twirled": (Wait(0, 0.3, 0.1), Distill(0, 1, "bbpssw"), Distill(0, 2, "epl")),
    "merged": (Merge(0, 1), Wait(0, 0.2, 0.1, 0.0, 4.0), Merge(0, 2, "first"), Wait(0, 0.0, 0.1)),
    "a pair, then a register": (Wait(1, 0.1, 0.3), Merge(1, 2, "first"), Merge(0, 1)),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_dense_matrices_agree(steps):
    made = (
        Generate(0, (0.85, 0.05, 0.07, 0.03)),
        Load(1, tuple(TILTED.ravel())),
        Generate(2, (0.9, 0.0, 0.02, 0.08)),
    )
    ((_, batch),) = stack([Program((*made, *steps), MEMORY, GATES)])
    agrees_with_dense(batch)


@given(
    seed=st.integers(0, 1000),
    depolarizing=st.sampled_from([0.0, 0.1, 1.0]),
    readout=st.sampled_from([0.0, 0.2, 0.5]),
)
def test_programs_of_a_batch_do_not_meet(seed, depolarizing, readout):
    rng = np.random.default_rng(seed)
    steps = (
        ("generate", 4, -1),
        ("load", 7, -1),
        ("wait", 4, -1),
        ("swap", 7, 4),
        ("wait", 7, -1),
    )
    mixed = rng.uniform(0.0, 1.0, (5, 1, 1, 1))
    batch = Batch(
        steps,
        rng.dirichlet([4.0, 1.0, 1.0, 1.0], (5, 1)),
        rng.uniform(0.0, 0.5, (5, 2, 2)),
        MEMORY,
        Gates(1.0, depolarizing, readout),
        mixed * TILTED + (1.0 - mixed) * SKEW,
        rng.uniform(0.0, 9.0, (5, 2, 2)),
    )
    agrees_with_dense(batch)


def test_a_batch_is_cut_into_what_fits(monkeypatch):
    rng = np.random.default_rng(3)
    steps = (("generate", 0, -1), ("wait", 0, -1))
    batch = Batch(
        steps, rng.dirichlet([4.0, 1.0, 1.0, 1.0], (7, 1)), rng.uniform(0, 1, (7, 1, 2)), MEMORY
    )
    whole = truth_of(batch)
    monkeypatch.setattr(squid, "_AT_ONCE", 3 * 4**4)
    cut = truth_of(batch)
    assert cut.populations == pytest.approx(whole.populations, abs=1e-14)


# A whole chain as one application on the ordinary engines, with waits in simulated time.

DELAY, HOLD, END = 0.2e9, 0.1e9, 0.7e9


def whole_chain(engine):
    """Populations of the joined pair, averaged over all courses of two links and a swap."""
    device = Generic(
        qubits=2, t1_ns=1.0e9, t2_ns=0.7e9, init_ns=0.0, single_ns=0.0, two_ns=0.0, measure_ns=0.0,
        two_depolar=0.0, joint_depolar=0.03, flip_0=0.02, flip_1=0.02,
    )  # fmt: skip
    link = Depolarise(fidelity=0.9, t_cycle_ns=0.0)
    network = Network(
        tuple(Node(name, device) for name in "ABC"),
        (Link("A", "B", link), Link("B", "C", link)),
        (Classical("A", "B"), Classical("B", "C")),
    )

    def left(context):
        (qubit,) = context.epr_sockets["B"].create_keep()
        yield from context.connection.flush()
        yield Delay(END + 1.0)  # still there when the other one looks
        return qubit.qubit_id

    def middle(context):
        (first,) = context.epr_sockets["A"].recv_keep()
        yield from context.connection.flush()
        yield Delay(DELAY)
        (second,) = context.epr_sockets["C"].create_keep()
        yield from context.connection.flush()
        yield Delay(HOLD)
        first.cnot(second)
        first.H()
        z, x = first.measure(), second.measure()
        yield from context.connection.flush()
        context.csockets["C"].send((int(z), int(x)))

    def right(context, simulation, found):
        (qubit,) = context.epr_sockets["B"].recv_keep()
        yield from context.connection.flush()
        z, x = yield from context.csockets["B"].recv()
        if x:
            qubit.X()
        if z:
            qubit.Z()
        yield from context.connection.flush()
        yield Delay(END - DELAY - HOLD)
        found.append(simulation.state([simulation.qubit("A", 0), simulation.qubit("C", 0)]))

    def course(draws):
        simulation, found = Simulation(), []
        programs = {
            "A": Play(left, "B", max_qubits=1),
            "B": Play(middle, "AC", max_qubits=2),
            "C": Play(lambda context: right(context, simulation, found), "B", max_qubits=1),
        }
        run_network(network, programs, engine=engine, simulation=simulation, rng=draws)
        return found[0]

    rho = sum(branch.probability * branch.result for branch in branches(course))
    return np.array([(v @ rho @ v).real for v in dense.BELL])


@pytest.mark.parametrize("engine", ["numpy", "aer"])
def test_one_application_in_time_gives_the_same(engine):
    werner = tuple(bell.werner(0.9).tolist())
    late = (END - DELAY - HOLD) * 1e-9
    program = Program(
        (
            Generate(0, werner),
            Wait(0, (DELAY + HOLD) * 1e-9, (DELAY + HOLD) * 1e-9),
            Generate(1, werner),
            Wait(1, HOLD * 1e-9, HOLD * 1e-9),
            Swap(0, 1),
            Wait(0, late, late),
        ),
        Memory(t1_s=1.0, t2_s=0.7),
        Gates(gate_depolarizing=0.03, readout_error=0.02),
    )
    assert executed(program).populations[0] == pytest.approx(whole_chain(engine), abs=1e-9)


def test_netqasm_subroutines_are_what_runs(monkeypatch):
    lines = []
    original = interpreter.run_subroutine

    def listening(subroutine, node):
        lines.append((node.name, [instr.mnemonic for instr in subroutine.instructions]))
        return (yield from original(subroutine, node))

    monkeypatch.setattr("backends.squid.host.run_subroutine", listening)
    steps = (Generate(0, (1.0, 0.0, 0.0, 0.0)), Generate(1, (1.0, 0.0, 0.0, 0.0)), Swap(0, 1))
    assert executed(Program(steps)).populations[0] == pytest.approx([1, 0, 0, 0], abs=EXACT)
    used = {
        name: {word for who, words in lines if who == name for word in words} for name, _ in lines
    }
    assert {"create_epr", "recv_epr", "cnot", "h", "meas", "qfree"} <= used["node 1"]
    assert {"recv_epr", "x", "z", "wait_all"} <= used["node 2"]
    # Four courses of the swap; then xx, yy and zz on the pair that is left.
    swaps = [words for name, words in lines if name == "node 1" and "cnot" in words]
    assert len(swaps) == 4
    tests = [words for name, words in lines if name == "node 0" and words.count("meas") == 1]
    assert {"h", "k"} <= {word for words in tests for word in words}


def test_draws_and_shots():
    program = Program((Generate(0, tuple(bell.werner(0.7))), Measure(0, "random", 3000)))
    ((_, batch),) = stack([program])
    counts = SquidBackend().run(batch, plan_of([program]), np.random.default_rng(1)).counts
    assert counts.sum() == 3000
    # Werner 0.7 passes with 0.8; five standard deviations of 3000 tests are 0.037.
    assert counts[0, :, 0].sum() / 3000 == pytest.approx(0.8, abs=0.037)


def test_an_interrupted_simulation_is_not_gone_on_with(monkeypatch):
    steps = (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1))
    batch = Batch(steps, np.tile(bell.werner(0.9), (2, 2, 1)), np.zeros((2, 0, 2)))
    before = truth_of(batch)
    finish = Stage.finish

    def interrupted(self, kept):
        if self.nodes[1].host.running is not None:
            raise KeyboardInterrupt
        return finish(self, kept)

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            truth_of(batch)
    assert np.array_equal(truth_of(batch).populations, before.populations)


def test_nothing_is_drawn_for_a_keep():
    batch = Batch((("generate", 0, -1),), bell.werner([[0.9]]), np.zeros((1, 0, 2)))
    rng = np.random.default_rng(5)
    SquidBackend().run(batch, Plan(np.array([KEEP]), np.array([0]), np.array([np.nan])), rng)
    assert rng.random() == np.random.default_rng(5).random()
    SquidBackend().run(batch, Plan(np.array([RANDOM]), np.array([9]), np.array([np.nan])), rng)


# The engine of many programs


def a_play(engine, states, decays, outcomes):
    """Some of everything; ``outcomes`` decide two measurements."""
    first, second = engine.pair(states)
    other = engine.new()
    engine.unitary(SINGLE["h"], other)
    engine.channel(decays, second)
    engine.unitary(CNOT, other, second)
    engine.channel(depolarise(0.1, 2), first, other)
    found = [engine.measure(qubit, outcomes[qubit], PROJECTORS) for qubit in (second, other)]
    engine.discard(second)
    assert engine.entangled_with(first)[0] == first
    return found, engine.state([other, first]), engine.state([first])


@pytest.mark.parametrize("outcomes", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_each_program_of_an_ensemble_is_as_if_alone(outcomes):
    rng = np.random.default_rng(6)
    states = bell.density_matrix(np.stack([IDEAL, TILTED, SKEW]))
    decays = np.stack([decay(time, 1.0, 0.7) for time in rng.uniform(0.1, 1.0, 3)])
    told = {1: 0.25 + 0.5 * outcomes[0], 2: 0.25 + 0.5 * outcomes[1]}
    found, both, one = a_play(EnsembleEngine(3), states, decays, told)
    assert tuple(found) == outcomes
    for lane in range(3):
        alone = EnsembleEngine(1)
        _, *seen = a_play(alone, states[lane], decays[lane], told)
        assert both[lane] == pytest.approx(seen[0][0], abs=1e-14)
        assert one[lane] == pytest.approx(seen[1][0], abs=1e-14)
        # The reference normalises; a draw that is as good as 0 or 1 makes it take the course.
        sure = {qubit: 1e-9 if draw < 0.5 else 1.0 - 1e-9 for qubit, draw in told.items()}
        _, expected, _ = a_play(open_engine("numpy"), states[lane], decays[lane], sure)
        assert both[lane] / np.trace(both[lane]) == pytest.approx(expected, abs=1e-12)


def test_chances_of_an_ensemble_add_up_over_its_courses():
    states = bell.density_matrix(np.stack([IDEAL, TILTED, SKEW]))
    total = np.zeros(3)
    for z in (0.25, 0.75):
        for x in (0.25, 0.75):
            _, _, one = a_play(EnsembleEngine(3), states, decay(0.2, 1.0, 0.7), {1: z, 2: x})
            total += np.trace(one, axis1=1, axis2=2).real
    assert total == pytest.approx(np.ones(3), abs=1e-12)


def test_what_an_ensemble_cannot_do_is_told():
    engine = EnsembleEngine(2)
    qubit = engine.new()
    with pytest.raises(SquidError, match="no single chance"):
        engine.chance(qubit, PROJECTORS[0])
    engine.discard(qubit)
    with pytest.raises(SquidError, match="there is no qubit 0"):
        engine.unitary(SINGLE["x"], qubit)


def test_the_benchmark_has_its_keys(monkeypatch):
    def once(work):
        work()
        return 3.0

    monkeypatch.setattr(bench, "_rate", once)
    monkeypatch.setattr(bench, "_REPEATS", 4)
    report = bench.squidasm()
    assert report["name"] == "squidasm"
    assert {"teleports_per_cpu_s_aer", "teleports_per_cpu_s_numpy"} <= set(report["results"])
    assert report["results"]["fidelity_error"] < 1e-9
    assert report["reference"]["written_per_cpu_s"] == 3.0
    assert report["ratio"] == {"aer_vs_written": 1.0, "numpy_vs_written": 1.0}

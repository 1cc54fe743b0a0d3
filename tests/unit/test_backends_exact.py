"""Both simulators against a dense reference that shares no code with them (reference/dense.py)."""

import itertools

import dense
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.aer import AerBackend
from backends.analytic import AnalyticBackend, correlators_suffice, exact
from backends.contract import KEEP, Plan
from quantum.batch import Batch
from quantum.program import Gates, Memory
from quantum.seeding import generator

#: What rounding may do: Aer drifts by 2e-14 over hundreds of programs in one circuit.
TINY = 1e-12

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
        populations, success = dense.run(batch, index)
        assert truth.success[index] == pytest.approx(success, abs=TINY)
        # A herald of chance p makes rounding 1/p times larger.
        joint = truth.populations[index] * truth.success[index]
        assert joint == pytest.approx(populations * success, abs=TINY)
        if success > 0.01:
            assert truth.populations[index] == pytest.approx(populations, abs=TINY)


NOISY = Gates(success=0.8, gate_depolarizing=0.07, readout_error=0.04)
MEMORIES = {
    "none": Memory(),
    "attempts": Memory(attempts_1e=30.0),
    "dephasing": Memory(t2_s=0.4, attempts_1e=50.0),
    "relaxation": Memory(t1_s=0.6, t2_s=1.2),
    "both": Memory(t1_s=0.6, t2_s=0.3, attempts_1e=20.0),
}


def batch_of(skeleton, size=3, memory=MEMORIES["both"], gates=NOISY, seed=3):
    rng = generator(seed, "exact-test")
    kinds = [kind for kind, _, _ in skeleton]
    waits = (size, kinds.count("wait"), 2)
    return Batch(
        tuple(skeleton),
        rng.dirichlet([8, 1, 1, 1], (size, kinds.count("generate"))),
        rng.uniform(0, 0.5, waits),
        memory,
        gates,
        any_states(rng, size, kinds.count("load")),
        rng.integers(0, 20, waits).astype(float),
    )


def any_states(rng, size, count):
    """Mixtures of phi_plus with a state of any rank and direction."""
    states = np.empty((size, count, 4, 4))
    for index in np.ndindex(size, count):
        rank = rng.integers(1, 5)
        factor = rng.normal(size=(4, rank)) + 1j * rng.normal(size=(4, rank))
        other = factor @ factor.conj().T
        other *= 0.5 / np.trace(other).real
        states[index] = dense.expectations(other + dense.bell_diagonal([0.5, 0, 0, 0]))
    return states


def generated(count, *, waiting):
    steps = []
    for pair in range(count):
        steps.append(("generate", pair, -1))
        if waiting:
            steps.append(("wait", pair, -1))
    return steps


def test_the_reference_knows_the_bell_states():
    for z, x in itertools.product((0, 1), repeat=2):
        power = np.linalg.matrix_power
        made = np.kron(dense.ONE, power(dense.Z, z) @ power(dense.X, x)) @ dense.BELL[0]
        assert abs(np.vdot(made, dense.BELL[z + 2 * x])) == pytest.approx(1.0)
    assert np.array_equal(dense.ghz_basis(2), dense.BELL)


def test_the_reference_makes_ghz_states():
    ideal = dense.bell_diagonal([1, 0, 0, 0])
    for at in ("first", "last"):
        three = dense.merge(ideal, ideal, at, Gates())
        five = dense.merge(three, three, at, Gates())
        for state in (three, five):
            vector = dense.ghz_basis(dense.qubits_of(state))[0]
            assert (vector @ state @ vector).real == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("times", [0, 1, 2])
@pytest.mark.parametrize("source", ["generate", "load"])
def test_single_pairs(backend, memory, times, source):
    steps = [(source, 4, -1), *[("wait", 4, -1)] * times]
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


@pytest.mark.parametrize("protocol", ["dejmps", "bbpssw", "epl"])
@pytest.mark.parametrize("memory", ["none", "both"])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_nested_distillation(backend, protocol, memory, rounds):
    steps = generated(2**rounds, waiting=True)
    for level in range(rounds):
        for pair in range(0, 2**rounds, 2 ** (level + 1)):
            steps += [(protocol, pair, pair + 2**level), ("wait", pair, -1)]
    agree(backend, batch_of(steps, size=2, memory=MEMORIES[memory]))


@pytest.mark.parametrize("protocol", ["dejmps", "bbpssw", "epl"])
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
    assert dense.run(batch, 0)[1] == 0.0


def test_a_dark_program_leaves_its_neighbours_alone(backend):
    steps = [*generated(2, waiting=False), ("dejmps", 0, 1)]
    batch = batch_of(steps, size=5, gates=Gates())
    batch.populations[2] = np.eye(4)[[0, 2]]
    agree(backend, batch)


def test_batches_larger_than_one_circuit(backend):
    batch = batch_of([*generated(2, waiting=True), ("swap", 0, 1)], size=333)
    agree(backend, batch, programs=(0, 99, 100, 149, 150, 299, 300, 332))


def test_batches_larger_than_one_piece_of_memory():
    steps = [*generated(2, waiting=True), ("merge_last", 0, 1), ("wait", 0, -1)]
    batch = batch_of(steps, size=70_000)
    whole = exact(batch)
    for start in (0, 32_767, 32_768, 65_535, 65_536, 69_999):
        alone = exact(batch.part(start, start + 1))
        assert whole.populations[start] == pytest.approx(alone.populations[0], abs=1e-15)
        assert whole.success[start] == alone.success[0]


def test_extreme_waits(backend):
    batch = batch_of([("generate", 0, -1), ("wait", 0, -1), ("wait", 0, -1)], size=2)
    batch.waits_s[0] = [[0.0, 0.0], [0.0, 1e-9]]
    batch.waits_s[1] = [[1e4, 0.0], [0.0, 1e4]]
    agree(backend, batch)
    assert truth_of(backend, batch).populations[1] == pytest.approx([0.5, 0.5, 0, 0], abs=TINY)


@pytest.mark.parametrize("memory", ["none", "both"])
def test_loaded_states_in_every_step(backend, memory):
    steps = [step for pair in range(6) for step in (("load", pair, -1), ("wait", pair, -1))]
    steps += [("swap", 0, 1), ("epl", 2, 3), ("wait", 2, -1), ("dejmps", 4, 5), ("wait", 4, -1)]
    steps += [("swap", 2, 0), ("epl", 4, 2), ("wait", 4, -1)]
    agree(backend, batch_of(steps, memory=MEMORIES[memory]))


def test_loaded_and_generated_pairs_meet(backend):
    steps = [("load", 0, -1), ("generate", 1, -1), ("load", 2, -1), ("generate", 3, -1)]
    steps += [("wait", 3, -1), ("swap", 1, 0), ("bbpssw", 2, 3), ("swap", 2, 1), ("wait", 2, -1)]
    agree(backend, batch_of(steps))


def single_click(dark, sides):
    """Pairs (1-a) phi_plus + a |10> (or |01>, by side) with the chances a of ``dark``."""
    pure = [np.diag([0, 0, 1, 0]), np.diag([0, 1, 0, 0])]
    rows = [
        [
            dense.expectations((1 - a) * dense.bell_diagonal([1, 0, 0, 0]) + a * pure[side])
            for side in sides
        ]
        for a in dark
    ]
    none = np.zeros((len(dark), 0, 4))
    steps = (*(("load", pair, -1) for pair in range(len(sides))), ("epl", 0, 1))
    return Batch(steps, none, np.zeros((len(dark), 0, 2)), states=np.array(rows))


@pytest.mark.parametrize("side", [0, 1])
def test_epl_removes_all_that_a_lost_photon_does(backend, side):
    dark = np.array([0.0, 0.1, 0.3, 0.6])
    truth = truth_of(backend, single_click(dark, (side, side)))
    assert truth.populations[:, 0] == pytest.approx(1.0, abs=TINY)
    assert truth.success == pytest.approx((1 - dark) ** 2 / 2, abs=TINY)


def test_epl_does_not_remove_losses_on_different_sides(backend):
    batch = single_click(np.array([0.1, 0.3]), (0, 1))
    agree(backend, batch)
    # |10> and |01> together read 11 as well: a^2 beside (1-a)^2 / 2.
    assert truth_of(backend, batch).success == pytest.approx([0.405 + 0.01, 0.245 + 0.09])


def merges(tree):
    """Steps of a fusion, waiting before and after: chain, star, or two halves that meet."""
    steps = generated(4, waiting=True)
    if tree == "halves":
        joins = [("merge_last", 0, 1), ("merge_first", 2, 3), ("merge_last", 0, 2)]
    elif tree == "mixed":
        joins = [("merge_first", 3, 1), ("merge_last", 0, 3), ("merge_last", 0, 2)]
    else:
        joins = [(f"merge_{tree}", 0, pair) for pair in (1, 2, 3)]
    for kind, keep, spend in joins:
        steps += [(kind, keep, spend), ("wait", keep, -1)]
    return steps


@pytest.mark.parametrize("memory", ["none", "dephasing", "both"])
@pytest.mark.parametrize("tree", ["first", "last", "halves", "mixed"])
def test_registers_of_five(backend, tree, memory):
    agree(backend, batch_of(merges(tree), size=2, memory=MEMORIES[memory]))


@pytest.mark.parametrize("at", ["first", "last"])
def test_registers_of_any_states(backend, at):
    steps = [step for pair in range(3) for step in (("load", pair, -1), ("wait", pair, -1))]
    steps += [("epl", 0, 1), (f"merge_{at}", 0, 2), ("wait", 0, -1)]
    steps += [("generate", 5, -1), (f"merge_{at}", 5, 0), ("wait", 5, -1), ("wait", 5, -1)]
    agree(backend, batch_of(steps))


@pytest.mark.parametrize("memory", ["dephasing", "both"])
def test_the_largest_register(backend, memory):
    steps = generated(7, waiting=True)
    steps += [(f"merge_{'last' if pair % 2 else 'first'}", 0, pair) for pair in range(1, 7)]
    agree(backend, batch_of([*steps, ("wait", 0, -1)], size=1, memory=MEMORIES[memory]))


def test_registers_of_repeated_and_purified_links(backend):
    steps = [*generated(6, waiting=True), ("swap", 0, 1), ("dejmps", 2, 3), ("epl", 4, 5)]
    agree(backend, batch_of([*steps, ("merge_last", 2, 0), ("merge_first", 2, 4)]))


def test_a_register_that_never_exists(backend):
    steps = [*generated(3, waiting=False), ("dejmps", 0, 1), ("merge_last", 0, 2)]
    batch = batch_of(steps, gates=Gates())
    batch.populations[1, :2] = np.eye(4)[[0, 2]]
    agree(backend, batch)
    assert truth_of(backend, batch).populations[1].tolist() == [0.125] * 8


@st.composite
def skeletons(draw):
    """Any valid program of up to five pairs, in any order of steps."""
    steps, sizes, made, waits = [], {}, 0, 0
    wanted = draw(st.integers(1, 5))
    while made < wanted or len(sizes) > 1:
        choices = []
        if made < wanted:
            choices += ["generate", "load"]
        if sizes and waits < 5:
            choices.append("wait")
        if len(sizes) > 1:
            choices += ["swap", "dejmps", "bbpssw", "epl", "merge_first", "merge_last"]
        kind = draw(st.sampled_from(choices))
        if kind in ("generate", "load"):
            steps.append((kind, made, -1))
            sizes[made] = 2
            made += 1
        elif kind == "wait":
            steps.append(("wait", draw(st.sampled_from(sorted(sizes))), -1))
            waits += 1
        else:
            first, second = draw(st.permutations(sorted(sizes)))[:2]
            if sizes[first] + sizes[second] > 4 and not kind.startswith("merge"):
                kind = "merge_last"
            steps.append((kind, first, second))
            spent = sizes.pop(second)
            sizes[first] += spent - 1 if kind.startswith("merge") else 0
    if draw(st.booleans()):
        steps.append(("wait", next(iter(sizes)), -1))
    return steps


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(skeletons(), st.sampled_from(sorted(MEMORIES)), st.integers(0, 99))
def test_any_program(backend, skeleton, memory, seed):
    agree(backend, batch_of(skeleton, size=2, memory=MEMORIES[memory], seed=seed))


def test_closed_forms_are_used_only_where_they_are_exact():
    once, swapped = [("generate", 0, -1), ("wait", 0, -1)], generated(2, waiting=True)
    fresh, loaded = generated(2, waiting=False), [("load", 0, -1), ("load", 1, -1)]
    exact = {
        True: [
            once,
            [*swapped, ("swap", 0, 1)],
            [*swapped, ("bbpssw", 0, 1), ("wait", 0, -1)],
            [*swapped, ("dejmps", 0, 1)],
            [*swapped, ("merge_last", 0, 1)],
            [*fresh, ("epl", 0, 1), ("wait", 0, -1)],
            [*loaded, ("merge_first", 0, 1)],
        ],
        False: [
            [*once, ("wait", 0, -1)],
            [*swapped, ("swap", 0, 1), ("wait", 0, -1)],
            [*swapped, ("dejmps", 0, 1), ("wait", 0, -1)],
            [*swapped, ("epl", 0, 1)],
            [*fresh, ("merge_last", 0, 1), ("wait", 0, -1)],
            [*loaded, ("epl", 0, 1)],
            [*loaded, ("wait", 0, -1), ("swap", 0, 1)],
        ],
    }
    for expected, several in exact.items():
        for steps in several:
            assert correlators_suffice(batch_of(steps)) is expected
            without = correlators_suffice(batch_of(steps, memory=Memory(t2_s=0.1)))
            assert without is (("epl", 0, 1) not in steps or steps[:2] != loaded)

"""Counts drawn from exact states: right totals, right bases, right frequencies."""

import numpy as np
import pytest

from backends.analytic import AnalyticBackend
from backends.contract import KEEP, RANDOM, Backend, Plan, Truth, plan_of
from backends.sampling import check_plan, sample
from quantum import bell
from quantum.batch import stack
from quantum.counts import Counts
from quantum.errors import InputError
from quantum.estimate import estimate
from quantum.program import Generate, Measure, Program, Wait
from quantum.seeding import generator


def truth(fidelities, success=1.0):
    weights = bell.werner(fidelities)
    return Truth(populations=weights, success=np.full(len(weights), success))


def plan(basis, shots, draw=np.nan, size=1):
    return Plan(np.full(size, basis), np.full(size, shots), np.full(size, draw))


def test_mixed_plans_end_each_program_as_asked():
    mixed = Plan(
        np.array([KEEP, 0, 1, 2, RANDOM]),
        np.array([0, 1, 7, 30, 90]),
        np.array([np.nan, 0.999, np.nan, np.nan, np.nan]),
    )
    counts = sample(truth([0.7] * 5), mixed, generator(1, "test"))
    assert counts.sum(axis=(1, 2)).tolist() == [0, 1, 7, 30, 90]
    assert counts[1].tolist() == [[0, 1], [0, 0], [0, 0]]
    assert counts[2].sum(axis=1).tolist() == [0, 7, 0]
    assert counts[3].sum(axis=1).tolist() == [0, 0, 30]
    assert counts[4].sum(axis=1).min() > 0


def test_a_draw_decides_without_touching_the_generator():
    # Werner 0.85 passes with (1 + 0.8)/2 = 0.9.
    draws = np.array([0.0, 0.8999, 0.9001, 0.999])
    rng = generator(1, "test")
    keyed = Plan(np.full(4, 1), np.ones(4, dtype=np.int64), draws)
    counts = sample(truth([0.85] * 4), keyed, rng)
    assert counts[:, 1, 0].tolist() == [1, 1, 0, 0]
    assert rng.random() == generator(1, "test").random()


def test_certain_answers_stay_certain():
    counts = sample(truth([1.0, 0.0]), plan(RANDOM, 1000, size=2), generator(1, "test"))
    assert counts[0, :, 1].sum() == 0
    # Fidelity 0: populations 1/3 of the three other Bell states, passes in a third of the tests.
    assert 0.25 < counts[1, :, 0].sum() / 1000 < 0.42


def test_a_pair_that_never_exists_counts_nothing():
    for basis in (0, RANDOM):
        counts = sample(truth([0.9], success=0.0), plan(basis, 5), generator(1, "test"))
        assert counts.sum() == 0


def test_frequencies_follow_the_exact_chances():
    weights = np.array([[0.7, 0.2, 0.06, 0.04]])
    asked = plan(RANDOM, 300_000)
    counts = sample(Truth(weights, np.ones(1)), asked, generator(2, "test"))[0]
    share = counts[:, 0] / counts.sum(axis=1)
    # 100 000 shots a basis: a standard deviation is below 0.0016.
    assert share == pytest.approx(bell.pass_probability(weights)[0], abs=0.008)


@pytest.mark.parametrize("fidelity", [0.6, 0.9, 0.98])
def test_intervals_cover_the_true_fidelity(fidelity):
    runs, shots = 2000, 200
    counts = sample(truth([fidelity] * runs), plan(RANDOM, shots, size=runs), generator(5, "test"))
    inside = 0
    for table in counts:
        guess = estimate(Counts.from_array(table))
        inside += guess.low <= fidelity <= guess.high
    # Exact intervals cover at least 95 %; four standard deviations of 2000 runs are 2 %.
    assert inside / runs >= 0.93
    assert inside / runs < 1.0


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (plan(4, 1), "basis"),
        (plan(-3, 0), "basis"),
        (plan(0, -1), "shots"),
        (plan(KEEP, 1), "shots"),
        (plan(0, 1, 1.0), "draw"),
        (plan(0, 1, -0.1), "draw"),
        (plan(0, 1, size=2), "basis"),
    ],
)
def test_wrong_plans_are_refused(wrong, field):
    with pytest.raises(InputError, match=f"plan.{field}"):
        check_plan(wrong, 1)


def test_programs_from_the_language_run_stacked():
    def program(fidelity, *rest):
        return Program((Generate(0, tuple(bell.werner(fidelity).tolist())), *rest))

    programs = [
        program(1.0, Measure(0, "zz", 5)),
        program(0.9, Wait(0, 0.1, 0.1)),
        program(1.0, Measure(0, "random", 6)),
    ]
    backend = AnalyticBackend()
    assert isinstance(backend, Backend)
    totals = np.zeros(3, dtype=np.int64)
    for members, batch in stack(programs):
        asked = plan_of([programs[i] for i in members])
        totals[members] = backend.run(batch, asked, generator(1, "t")).counts[:, :, 0].sum(axis=1)
    assert totals.tolist() == [5, 0, 6]
    backend.close()
    backend.close()

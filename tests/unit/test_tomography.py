"""Bell-diagonal tomography: likelihood against a grid, bounds against linprog, coverage exactly."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import binom

from quantum import bell
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimation.binomial import chance_bounds
from quantum.estimation.box import entropy, entropy_bounds, population_bounds
from quantum.estimation.tomography import correlator_bounds, most_likely, tomography

FIDELITIES = (0.5, 0.9, 0.99, 0.999)
SKEWED = (0.8, 0.15, 0.04, 0.01)
TABLES = st.lists(st.integers(0, 300), min_size=6, max_size=6)


def counts_of(numbers):
    return Counts.from_array(np.array(numbers, dtype=np.int64).reshape(3, 2))


def log_likelihood(table, weights):
    p = (1.0 + bell.correlators(weights)) / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(table[:, 0] > 0, table[:, 0] * np.log(np.maximum(p, 0.0)), 0.0)
        terms += np.where(table[:, 1] > 0, table[:, 1] * np.log(np.maximum(1.0 - p, 0.0)), 0.0)
    return terms.sum(axis=-1)


def simplex_grid(steps):
    points = [
        (a, b, c, steps - a - b - c)
        for a in range(steps + 1)
        for b in range(steps + 1 - a)
        for c in range(steps + 1 - a - b)
    ]
    return np.array(points) / steps


GRID = simplex_grid(60)


@given(TABLES)
def test_no_point_of_a_grid_is_more_likely(numbers):
    table = np.array(numbers, dtype=np.float64).reshape(3, 2)
    best = most_likely(table)
    assert best.min() >= 0.0
    assert best.sum() == pytest.approx(1.0, abs=1e-9)
    assert log_likelihood(table, best) >= log_likelihood(table, GRID).max() - 1e-7


@pytest.mark.parametrize(
    "table",
    [
        [[10, 0], [10, 0], [9, 1]],
        [[0, 10], [0, 10], [0, 10]],
        [[50, 3], [60, 1], [2, 70]],
        [[5, 0], [0, 9], [300, 2]],
        [[0, 1], [0, 1_000_000], [0, 1]],
    ],
)
def test_on_a_face_no_step_along_the_simplex_helps(table):
    # Local optimality of a concave function is global: finer than any grid.
    table = np.array(table, dtype=np.float64)
    best = most_likely(table)
    assert best.min() == 0.0
    steps = np.random.default_rng(1).dirichlet(np.ones(4), 4000) - best
    for size in (1e-3, 1e-5):
        gain = log_likelihood(table, best + size * steps) - log_likelihood(table, best)
        assert gain.max() <= 1e-9 * table.sum()


def test_what_was_observed_is_most_likely_if_a_state_has_it():
    weights = np.array([0.7, 0.15, 0.1, 0.05])
    passes = np.rint(1000 * bell.pass_probability(weights))
    found = most_likely(np.stack([passes, 1000 - passes], axis=-1))
    assert found == pytest.approx(weights, abs=1e-12)


def test_unmeasured_bases_get_the_state_of_largest_entropy():
    table = np.array([[90, 10], [0, 0], [80, 20]])
    flat = most_likely(table)
    assert bell.correlators(flat) == pytest.approx([0.8, 0.48, 0.6])
    for shift in (-1e-3, 1e-3):
        other = bell.populations([0.8, 0.48 + shift, 0.6])
        assert log_likelihood(table, other) == pytest.approx(log_likelihood(table, flat))
        assert entropy(other) < entropy(flat)
    assert most_likely(np.zeros((3, 2))).tolist() == [0.25] * 4
    assert bell.correlators(most_likely([[0, 0], [0, 0], [9, 1]])).round(12).tolist() == [0, 0, 0.8]


def test_rows_are_found_one_by_one_or_together():
    tables = np.random.default_rng(2).integers(0, 12, (50, 3, 2))
    together = most_likely(tables.reshape(5, 10, 3, 2)).reshape(50, 4)
    assert np.array_equal(together, np.array([most_likely(table) for table in tables]))


# -- bounds --------------------------------------------------------------------------------------


def lin_bounds(low, high, state):
    """Least and most population by a general linear program over the populations."""
    signs = bell.correlators(np.eye(4))
    answers = []
    for direction in (1.0, -1.0):
        cost = np.zeros(4)
        cost[state] = direction
        done = linprog(
            cost,
            A_ub=np.vstack([signs.T, -signs.T]),
            b_ub=np.concatenate([high, -np.asarray(low)]),
            A_eq=np.ones((1, 4)),
            b_eq=[1.0],
        )
        answers.append(done.x[state] if done.status == 0 else None)
    return answers


def test_population_bounds_agree_with_a_linear_program():
    rng = np.random.default_rng(3)
    outcomes = []
    for _ in range(60):
        low, high = np.sort(rng.uniform(-1.0, 1.0, (2, 3)), axis=0)
        least, most, fits = population_bounds(low, high)
        outcomes.append(bool(fits))
        for state in range(4):
            lower, upper = lin_bounds(low, high, state)
            assert (lower is not None) == fits
            if fits:
                assert least[state] == pytest.approx(lower, abs=1e-7)
                assert most[state] == pytest.approx(upper, abs=1e-7)
            else:
                assert (least[state], most[state]) == (0.0, 1.0)
    assert 5 < sum(outcomes) < 60


def test_entropy_bounds_agree_with_a_fine_grid():
    rng = np.random.default_rng(4)
    compared = 0
    for _ in range(60):
        low, high = np.sort(rng.uniform(-1.0, 1.0, (2, 3)), axis=0)
        least, most = entropy_bounds(low, high)
        c = bell.correlators(GRID)
        inside = GRID[((c >= low) & (c <= high)).all(axis=-1)]
        if len(inside) < 300:
            continue
        compared += 1
        on_grid = entropy(inside)
        assert least <= on_grid.min() + 1e-9
        assert on_grid.max() - 1e-9 <= most <= on_grid.max() + 0.05
    assert compared > 15
    assert [x.item() for x in entropy_bounds([0.9] * 3, [0.95, 0.95, -0.5])] == [0.0, 2.0]


# -- the promise ---------------------------------------------------------------------------------


def covered(tables, weights, confidence=0.95):
    """Whether all correlators, and whether all populations, are inside their intervals."""
    low, high = correlator_bounds(tables, confidence)
    c = bell.correlators(weights)
    least, most, _ = population_bounds(low, high)
    # 1e-9: a population of exactly 0 or 1 sits on a bound that is computed in floats.
    inside = (least - 1e-9 <= weights) & (weights <= most + 1e-9)
    return ((low <= c) & (c <= high)).all(axis=-1), inside.all(axis=-1)


@pytest.mark.parametrize("per_basis", [10, 20])
@pytest.mark.parametrize("weights", [*map(bell.werner, FIDELITIES), SKEWED])
def test_joint_coverage_by_exact_summation(per_basis, weights):
    weights = np.asarray(weights)
    passes = np.array(list(itertools.product(range(per_basis + 1), repeat=3)))
    chances = binom.pmf(passes, per_basis, bell.pass_probability(weights)).prod(axis=-1)
    tables = np.stack([passes, per_basis - passes], axis=-1)
    correlators, populations = covered(tables, weights)
    assert chances[correlators].sum() >= 0.95
    assert chances[populations].sum() >= chances[correlators].sum() - 1e-9


@pytest.mark.parametrize("shots", [30, 100])
@pytest.mark.parametrize("weights", [*map(bell.werner, FIDELITIES), SKEWED])
def test_joint_coverage_of_random_bases_by_simulation(shots, weights):
    weights = np.asarray(weights)
    rng = np.random.default_rng([shots, int(1e4 * weights[0])])
    bases = rng.multinomial(shots, [1 / 3] * 3, 10_000)
    passes = rng.binomial(bases, bell.pass_probability(weights))
    correlators, populations = covered(np.stack([passes, bases - passes], axis=-1), weights)
    assert correlators.mean() >= 0.95
    assert populations.mean() >= correlators.mean()


def test_one_basis_alone_has_the_whole_error_budget():
    low, high = correlator_bounds([[0, 0], [0, 0], [80, 20]], 0.9)
    alone = chance_bounds(80, 20, 0.05)
    assert low == pytest.approx([-1.0, -1.0, 2.0 * alone[0].item() - 1.0], abs=1e-12)
    assert high == pytest.approx([1.0, 1.0, 2.0 * alone[1].item() - 1.0], abs=1e-12)


@given(TABLES)
def test_intervals_are_ordered_and_in_range(numbers):
    found = tomography(counts_of(numbers))
    for part, least in ((found.correlators, -1.0), (found.populations, 0.0)):
        assert all(least <= x.low <= x.best <= x.high <= 1.0 for x in part.values())
    assert sum(x.best for x in found.populations.values()) == pytest.approx(1.0)
    assert found.shots == sum(numbers)


def test_nothing_measured_nothing_known():
    found = tomography(Counts())
    assert {(x.low, x.high) for x in found.correlators.values()} == {(-1.0, 1.0)}
    assert {(x.low, x.best, x.high) for x in found.populations.values()} == {(0.0, 0.25, 1.0)}
    assert found.consistent


def test_impossible_correlators_promise_nothing():
    never = Tally(0, 500)
    found = tomography(Counts(never, never, never))
    assert not found.consistent
    assert {(x.low, x.high) for x in found.populations.values()} == {(0.0, 1.0)}
    assert found.populations["phi_plus"].best == 0.0


@pytest.mark.parametrize(
    ("state", "error"),
    [("phi_minus", "phase flip"), ("psi_plus", "bit flip"), ("psi_minus", "both")],
)
def test_the_dominant_error_is_named_and_certain_with_enough_tests(state, error):
    weights = 0.8 * bell.from_name("phi_plus") + 0.2 * bell.from_name(state)
    for shots, certain in ((2000, True), (10, False)):
        passes = np.rint(shots * bell.pass_probability(weights)).astype(int)
        found = tomography(Counts(*(Tally(int(k), int(shots - k)) for k in passes))).dominant_error
        assert (found.state, found.error, found.certain) == (state, error, certain)


def test_without_errors_none_dominates():
    assert tomography(Counts(*[Tally(50, 0)] * 3)).dominant_error is None


def test_bad_confidence():
    with pytest.raises(InputError, match="confidence"):
        tomography(Counts(), confidence=float("nan"))

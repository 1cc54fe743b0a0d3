"""The estimator keeps its promise: coverage by exact summation, not by luck of a simulation."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from quantum.bell import pass_probability
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import estimate, probability_at_least


def pooled(passed: int, failed: int) -> Counts:
    return Counts(xx=Tally(passed, failed))


@pytest.mark.parametrize("fidelity", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("shots", [30, 100, 1000])
def test_coverage_never_falls_under_the_confidence(fidelity: float, shots: int) -> None:
    # The pass chance of a random-basis test is (1 + 2F)/3; summing its binomial over all outcomes
    # whose interval contains F gives the coverage exactly.
    chance = (1 + 2 * fidelity) / 3
    covered = 0.0
    for passed in range(shots + 1):
        e = estimate(pooled(passed, shots - passed))
        if e.low <= fidelity <= e.high:
            covered += float(binom.pmf(passed, shots, chance))
    assert covered >= 0.95
    # Clopper-Pearson wastes something, but not everything: a [0, 1] interval would cover 1.
    assert covered < 0.999 or fidelity >= 0.99


def test_interval_of_a_textbook_case() -> None:
    # 8 passes of 10: the Clopper-Pearson interval on p is 0.4439 to 0.9748 (any statistics table).
    e = estimate(pooled(8, 2))
    assert (1 + 2 * e.low) / 3 == pytest.approx(0.4439, abs=1e-4)
    assert (1 + 2 * e.high) / 3 == pytest.approx(0.9748, abs=1e-4)
    assert e.best == pytest.approx(0.7)


@given(st.lists(st.integers(0, 500), min_size=6, max_size=6))
def test_estimates_are_ordered_and_in_range(counts: list[int]) -> None:
    table = np.array(counts, dtype=np.int64).reshape(3, 2)
    e = estimate(Counts.from_array(table))
    assert 0.0 <= e.low <= e.best <= e.high <= 1.0
    assert e.shots == sum(counts)


@given(
    st.lists(st.integers(0, 500), min_size=6, max_size=6),
    st.lists(st.integers(0, 500), min_size=6, max_size=6),
)
def test_counts_add_like_tables(a: list[int], b: list[int]) -> None:
    one = np.array(a, dtype=np.int64).reshape(3, 2)
    two = np.array(b, dtype=np.int64).reshape(3, 2)
    total = Counts.from_array(one) + Counts.from_array(two)
    assert total == Counts.from_array(two) + Counts.from_array(one)
    assert np.array_equal(total.to_array(), one + two)


def test_without_tests_everything_is_possible() -> None:
    e = estimate(Counts())
    assert (e.low, e.high, e.shots) == (0.0, 1.0, 0)


def test_negative_counts_are_refused() -> None:
    with pytest.raises(InputError, match="pass must be a whole number >= 0, got -1"):
        Tally(-1, 0)


@pytest.mark.parametrize("number", ["a", 1.5, 2.0, None, True, math.nan, -1, np.int64(3)])
def test_counts_are_whole_numbers(number: Any) -> None:
    with pytest.raises(InputError, match="counts: pass must be a whole number >= 0"):
        Tally(number, 3)
    with pytest.raises(InputError, match="counts: fail must be a whole number >= 0"):
        Tally(3, number)


def test_confidence_outside_zero_to_one_is_refused() -> None:
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="confidence"):
            estimate(Counts(), confidence=confidence)


def test_trust_rises_with_evidence_and_falls_with_the_wish() -> None:
    few, many = pooled(19, 1), pooled(1900, 100)  # both 0.925
    assert probability_at_least(many, 0.85) > probability_at_least(few, 0.85) > 0.5
    assert probability_at_least(many, 0.95) < probability_at_least(few, 0.95) < 0.5
    assert probability_at_least(few, 0.75) > probability_at_least(few, 0.85)


def test_trust_agrees_with_the_posterior_by_sampling() -> None:
    # Jeffreys posterior of 45 passes in 50, sampled: an independent way to the same number.
    draws = np.random.default_rng(3).beta(45.5, 5.5, 400_000)
    sampled = float(np.mean((3 * draws - 1) / 2 >= 0.8))
    assert probability_at_least(pooled(45, 5), 0.8) == pytest.approx(sampled, abs=0.004)


def test_average_pass_chance_gives_the_fidelity_of_any_bell_diagonal_state() -> None:
    rng = np.random.default_rng(0)
    for weights in rng.dirichlet(np.ones(4), 50):
        assert pass_probability(weights).mean() == pytest.approx((1 + 2 * weights[0]) / 3)

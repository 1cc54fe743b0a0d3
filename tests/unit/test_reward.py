"""Rewards come from valid measurements only, and are split without loss."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.reward import delivery_reward, share_credit
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import probability_at_least

GOOD = Counts(Tally(95, 5), Tally(96, 4), Tally(97, 3))


def reward(counts: Counts | None, **change: float) -> float | None:
    given_ = {"age_s": 1.0, "oldest_s": 5.0} | change
    return delivery_reward(4, 0.85, counts, **given_)


def test_pairs_times_posterior_probability_minus_contention() -> None:
    p = probability_at_least(GOOD, 0.85)
    assert 0.9 < p < 1.0
    assert reward(GOOD) == 4 * p
    assert reward(GOOD, contention=3.0, contention_weight=0.5) == pytest.approx(4 * p - 1.5)


def test_better_measurements_pay_more() -> None:
    bad = Counts(Tally(80, 20), Tally(80, 20), Tally(80, 20))
    low, high = reward(bad), reward(GOOD)
    assert low is not None and high is not None and low < 0.1 < high


@pytest.mark.parametrize(
    ("counts", "change"),
    [
        (None, {}),  # the request was answered with an error
        (Counts(), {}),  # nothing was tested
        (GOOD, {"age_s": 5.1}),  # the tests are stale
        (GOOD, {"age_s": -1.0}),  # or from the future
        (GOOD, {"age_s": math.nan}),
        (GOOD, {"contention": math.nan, "contention_weight": 1.0}),
        (GOOD, {"contention": math.inf}),
        (GOOD, {"contention": -1.0}),
    ],
)
def test_what_was_not_measured_is_no_reward(
    counts: Counts | None, change: dict[str, float]
) -> None:
    assert reward(counts, **change) is None


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(InputError, match="pairs"):
        delivery_reward(-1, 0.8, GOOD, age_s=0.0, oldest_s=1.0)
    with pytest.raises(InputError, match="fidelity"):
        delivery_reward(1, math.nan, GOOD, age_s=0.0, oldest_s=1.0)
    with pytest.raises(InputError, match="contention_weight"):
        reward(GOOD, contention_weight=math.nan)


nodes = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@given(st.floats(-1e6, 1e6), nodes, nodes)
@settings(max_examples=100, deadline=None)
def test_shares_sum_to_the_reward(value: float, made: list[int], swapped: list[int]) -> None:
    shares = share_credit(value, made, swapped, nodes=10)
    assert shares.sum() == pytest.approx(value, rel=1e-9, abs=1e-9)
    idle = [n for n in range(10) if n not in made + swapped]
    assert not shares[idle].any()


def test_every_deed_is_one_part() -> None:
    """Node 2 generated two of three link pairs and did one of two swaps: 3 of 5 parts."""
    shares = share_credit(5.0, [2, 2, 7], [2, 4], nodes=8)
    np.testing.assert_allclose(shares[[2, 4, 7]], [3.0, 1.0, 1.0])
    np.testing.assert_allclose(share_credit(2.0, [1], [], nodes=2), [0.0, 2.0])


def test_credit_needs_a_maker_and_a_number() -> None:
    with pytest.raises(InputError, match="at least one"):
        share_credit(1.0, [], [1], nodes=2)
    with pytest.raises(InputError, match="0 to 1"):
        share_credit(1.0, [2], [], nodes=2)
    with pytest.raises(InputError, match="0 to 1"):
        share_credit(1.0, [0], [-1], nodes=2)
    with pytest.raises(InputError, match="finite"):
        share_credit(math.nan, [0], [], nodes=2)

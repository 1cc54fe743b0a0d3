"""Advantages at irregular times against the explicit double sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.gae import advantages, explained_variance, normalised


class Case:
    """A random rollout of 4 nodes with gaps, ends and irregular discounts."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = (4, 19)
        self.reward, self.value = rng.normal(size=shape), rng.normal(size=shape)
        self.last_value = rng.normal(size=4)
        self.discount = 0.9 ** rng.exponential(1.0, shape)
        self.terminated = rng.random(shape) < 0.15
        self.valid = rng.random(shape) < 0.7

    def advantages(self, lam: float) -> np.ndarray:
        return advantages(
            self.reward,
            self.value,
            self.last_value,
            discount=self.discount,
            terminated=self.terminated,
            valid=self.valid,
            lam=lam,
        )

    def steps(self, node: int) -> list[tuple[int, float, float]]:
        """Return (step, kept discount, next value) of a node's valid steps."""
        at = np.flatnonzero(self.valid[node])
        after = [*self.value[node, at[1:]], self.last_value[node]]
        keep = np.where(self.terminated[node, at], 0.0, self.discount[node, at])
        return list(zip(at.tolist(), keep.tolist(), [float(v) for v in after], strict=True))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
@settings(max_examples=60, deadline=None)
def test_equals_the_explicit_double_sum(seed: int, lam: float) -> None:
    case = Case(seed)
    got = case.advantages(lam)
    want = np.zeros_like(got)
    for node in range(4):
        steps = case.steps(node)
        for i, (t, _, _) in enumerate(steps):
            factor = 1.0
            for k, keep, after in steps[i:]:
                error = case.reward[node, k] + keep * after - case.value[node, k]
                want[node, t] += factor * error
                factor *= keep * lam
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_lambda_zero_is_the_td_error() -> None:
    case = Case(1)
    got = case.advantages(0.0)
    for node in range(4):
        for t, keep, after in case.steps(node):
            error = case.reward[node, t] + keep * after - case.value[node, t]
            assert got[node, t] == pytest.approx(error, abs=1e-12)


def test_lambda_one_is_the_bootstrapped_return_minus_the_value() -> None:
    case = Case(2)
    got = case.advantages(1.0)
    for node in range(4):
        total = case.last_value[node]
        for t, keep, _ in reversed(case.steps(node)):
            total = case.reward[node, t] + keep * total
            assert got[node, t] == pytest.approx(total - case.value[node, t], abs=1e-12)


def test_true_values_give_no_advantage() -> None:
    """Reward 1 a step and discount g for ever are worth 1 / (1 - g)."""
    g, shape = 0.97, (3, 11)
    worth = np.full(shape, 1.0 / (1.0 - g))
    got = advantages(
        np.ones(shape),
        worth,
        worth[:, 0],
        discount=np.full(shape, g),
        terminated=np.zeros(shape, dtype=bool),
        valid=np.ones(shape, dtype=bool),
        lam=0.9,
    )
    np.testing.assert_allclose(got, 0.0, atol=1e-12)


@pytest.mark.parametrize(("terminated", "want"), [(False, 1.0 + 0.5 * 10.0), (True, 1.0)])
def test_a_cut_bootstraps_and_an_end_does_not(terminated: bool, want: float) -> None:
    one = np.ones((1, 1))
    got = advantages(
        one,
        0.0 * one,
        np.array([10.0]),
        discount=0.5 * one,
        terminated=np.array([[terminated]]),
        valid=np.array([[True]]),
        lam=0.95,
    )
    assert got[0, 0] == want


def test_normalised_uses_valid_decisions_only() -> None:
    valid = np.array([[True, True, False, True], [True, False, False, False], [False] * 4])
    advantage = np.array([[1.0, 2.0, 1e9, 6.0], [5.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    got = normalised(advantage, valid)
    assert got[0][valid[0]].mean() == pytest.approx(0.0, abs=1e-12)
    assert got[0][valid[0]].std() == pytest.approx(1.0, abs=1e-6)
    assert got[0, 2] == 0.0
    assert not got[1:].any()  # one decision, or none, says nothing
    assert not normalised(np.full((1, 3), 7.0), np.ones((1, 3), dtype=bool)).any()


def test_explained_variance_by_hand() -> None:
    valid = np.ones((1, 4), dtype=bool)
    returns = np.array([[1.0, 2.0, 3.0, 4.0]])
    assert explained_variance(returns, returns, valid) == 1.0
    assert explained_variance(np.full((1, 4), 9.0), returns, valid) == pytest.approx(0.0)
    assert explained_variance(returns, np.full((1, 4), 9.0), valid) == 0.0

"""The small simplex: as good as HiGHS, feasible, and honest about what it cannot do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from controller.rivals.simplex import maximise


@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14))
@settings(max_examples=150, deadline=None)
def test_it_finds_what_highs_finds(seed, rows, columns):
    """Degenerate on purpose: small whole numbers, many limits of 0, as links without stock have."""
    rng = np.random.default_rng(seed)
    matrix = rng.choice([-1.0, 0.0, 0.0, 1.0, 2.0], (rows, columns))
    # A row over all columns keeps the value finite.
    matrix = np.vstack([matrix, np.ones(columns)])
    limits = np.append(rng.choice([0.0, 0.0, 1.0, 3.0], rows), 5.0)
    worth = rng.choice([-1e-6, 0.5, 1.0], columns)
    found, x = maximise(worth, matrix, limits, 20 * (rows + columns + 1))
    best = linprog(-worth, A_ub=matrix, b_ub=limits, method="highs")
    assert found
    assert x.min() >= 0.0
    assert (matrix @ x - limits).max() <= 1e-9
    assert worth @ x == pytest.approx(-best.fun, abs=1e-8)


def test_it_does_not_cycle():
    """The program of E. Beale (1955), on which the largest gain alone goes in circles."""
    matrix = np.array([[0.25, -60.0, -0.04, 9.0], [0.5, -90.0, -0.02, 3.0], [0.0, 0.0, 1.0, 0.0]])
    worth = np.array([0.75, -150.0, 0.02, -6.0])
    found, x = maximise(worth, matrix, np.array([0.0, 0.0, 1.0]), 200)
    assert found
    assert worth @ x == pytest.approx(0.05)


def test_what_nothing_limits_and_what_takes_too_long_is_said():
    assert not maximise(np.ones(1), np.array([[-1.0]]), np.ones(1), 10)[0]
    assert not maximise(np.ones(2), np.eye(2), np.ones(2), 1)[0]

"""Readout correction: physics against density matrices, exact coverage with calibrations."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from quantum import bell
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import estimate
from quantum.estimation import spam
from quantum.estimation.spam import Bit, Readout

#: Random bases, also where only their pooled passes are written down.
correct = functools.partial(spam.correct, bases="random")

FIDELITIES = (0.5, 0.9, 0.99, 0.999)
PAULI = {
    "xx": np.array([[0, 1], [1, 0]]),
    "yy": np.array([[0, -1j], [1j, 0]]),
    "zz": np.array([[1, 0], [0, -1]]),
}


def pooled(passed, shots):
    return Counts(xx=Tally(int(passed), int(shots - passed)))


def pass_chance(weights, flips):
    """Pass chance of random bases from outcome probabilities of a density matrix, bit by bit.

    ``flips`` by basis: ((e0, e1) left, (e0, e1) right).
    """
    c = bell.correlators(weights)
    rho = bell.density_matrix(np.diag([1.0, c[0], -c[1], c[2]]))
    total = 0.0
    for basis, (left, right) in flips.items():
        projectors = [(np.eye(2) + sign * PAULI[basis]) / 2.0 for sign in (1, -1)]
        for a, b, x, y in itertools.product((0, 1), repeat=4):
            chance = np.trace(rho @ np.kron(projectors[a], projectors[b])).real
            chance *= left[a] if x != a else 1.0 - left[a]
            chance *= right[b] if y != b else 1.0 - right[b]
            total += chance * ((x == y) != (basis == "yy")) / 3.0
    return total


def exact(left, right):
    return Readout(Bit(*left), Bit(*right))


def test_asymmetric_flips_are_undone_exactly_for_bell_diagonal_states():
    shots = 10**12
    flips = ((0.02, 0.07), (0.11, 0.01))
    for weights in np.random.default_rng(1).dirichlet([4, 1, 1, 1], 10):
        p = pass_chance(weights, dict.fromkeys(PAULI, flips))
        found = correct(pooled(round(p * shots), shots), exact(*flips))
        assert found.corrected.best == pytest.approx(weights[0], abs=1e-9)
        assert found.raw.best != pytest.approx(weights[0], abs=1e-3)


def test_readouts_that_differ_by_basis_leave_a_range_that_holds_the_truth():
    shots = 10**12
    flips = {
        "xx": ((0.01, 0.03), (0.02, 0.0)),
        "yy": ((0.0, 0.0), (0.05, 0.04)),
        "zz": ((0.02, 0.02), (0.0, 0.06)),
    }
    readout = {basis: exact(*pair) for basis, pair in flips.items()}
    for weights in np.random.default_rng(2).dirichlet([30, 1, 1, 1], 20):
        p = pass_chance(weights, flips)
        found = correct(pooled(round(p * shots), shots), readout).corrected
        assert found.low - 1e-9 <= weights[0] <= found.high + 1e-9
        # The range follows the ratio of the readouts, (1 - F) times about 10 % here.
        assert found.high - found.low <= 0.12 * (1.0 - weights[0]) + 1e-5


def test_the_range_of_a_pooled_count_against_random_correlators():
    rng = np.random.default_rng(3)
    errors = {"xx": 0.02, "yy": 0.1, "zz": 0.2}
    readout = {basis: Readout(Bit(error), Bit(0.0)) for basis, error in errors.items()}
    v = 1.0 - 2.0 * np.array(list(errors.values()))
    c = rng.uniform(-1.0, 1.0, (400_000, 3))
    p = 0.5 + c @ v / 6.0
    for passed in (0.35, 0.6, 0.75, 0.85):
        near = np.abs(p - passed) < 1e-3
        values = (1.0 + c[near].sum(axis=-1)) / 4.0
        found = correct(pooled(round(passed * 10**12), 10**12), readout).corrected
        assert found.low <= max(0.0, values.min()) + 2e-3
        assert found.high >= min(1.0, values.max()) - 2e-3
        assert found.low >= values.min() - 0.05
        assert found.high <= max(values.max(), 0.0) + 0.05


def test_perfect_readout_changes_nothing():
    counts = Counts(Tally(30, 3), Tally(40, 1), Tally(28, 2))
    found = correct(counts, Readout())
    assert found.raw == estimate(counts)
    for name in ("low", "best", "high"):
        assert getattr(found.corrected, name) == pytest.approx(getattr(found.raw, name), abs=1e-12)
    spread = correct(counts, dict.fromkeys(bell.BASES, Readout())).corrected
    assert spread.low == pytest.approx(found.raw.low, abs=1e-12)


def test_a_known_error_scales_the_interval_in_closed_form():
    counts = pooled(180, 200)
    v = 0.98 * 0.94
    found = correct(counts, Readout(Bit(0.01), Bit(0.03)))
    for name in ("low", "best", "high"):
        p = (1.0 + 2.0 * getattr(found.raw, name)) / 3.0
        assert getattr(found.corrected, name) == pytest.approx((1.0 + (6.0 * p - 3.0) / v) / 4.0)


def likely(trials, chance, least=1e-9):
    return [(k, w) for k in range(trials + 1) if (w := binom.pmf(k, trials, chance)) > least]


@pytest.mark.parametrize("shots", [30, 100, 1000])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_coverage_with_known_errors_by_exact_summation(shots, fidelity):
    readout = Readout(Bit(0.03), Bit(0.05, 0.01))
    flips = dict.fromkeys(PAULI, ((0.03, 0.03), (0.05, 0.01)))
    p = pass_chance(bell.werner(fidelity), flips)
    total = 0.0
    for passed in range(shots + 1):
        found = correct(pooled(passed, shots), readout).corrected
        total += binom.pmf(passed, shots, p) * (found.low <= fidelity <= found.high)
    assert total >= 0.95


@pytest.mark.parametrize(("shots", "calibration"), [(30, 30), (100, 40)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_coverage_with_calibrations_by_exact_summation(shots, calibration, fidelity):
    # Sum over both calibrations and the test. What is left out counts as missed.
    e_left, e_right = 0.02, 0.05
    p = 0.5 + (1 - 2 * e_left) * (1 - 2 * e_right) * (4 * fidelity - 1) / 6
    total = 0.0
    for (a, w), (b, u) in itertools.product(
        likely(calibration, e_left, 1e-5), likely(calibration, e_right, 1e-5)
    ):
        readout = Readout(Bit(Tally(calibration - a, a)), Bit(Tally(calibration - b, b)))
        for passed, t in likely(shots, p, 1e-5):
            found = correct(pooled(passed, shots), readout).corrected
            total += w * u * t * (found.low <= fidelity <= found.high)
    assert 0.95 <= total <= 1.0


@pytest.mark.parametrize("fidelity", [0.5, 0.99])
def test_coverage_of_asymmetric_calibrations_by_simulation(fidelity):
    flips = ((0.01, 0.08), (0.05, 0.02))
    p = pass_chance(bell.werner(fidelity), dict.fromkeys(PAULI, flips))
    rng = np.random.default_rng(int(1e3 * fidelity))
    wrong = rng.binomial(50, [*flips[0], *flips[1]], (10_000, 4))
    draws = np.column_stack([wrong, rng.binomial(60, p, 10_000)])
    rows, times = np.unique(draws, axis=0, return_counts=True)
    total = 0
    for (a, b, c, d, passed), many in zip(rows.tolist(), times.tolist(), strict=True):
        left = Bit(Tally(50 - a, a), Tally(50 - b, b))
        right = Bit(Tally(50 - c, c), Tally(50 - d, d))
        found = correct(pooled(passed, 60), Readout(left, right)).corrected
        total += many * (found.low <= fidelity <= found.high)
    assert total >= 9500


def test_the_uncertainty_of_calibrations_widens_and_vanishes_with_more_reads():
    counts = pooled(950, 1000)

    def width(flip):
        found = correct(counts, Readout(Bit(flip), Bit(flip))).corrected
        return found.high - found.low

    known = width(0.01)
    widths = [width(Tally(99 * n, n)) for n in (1, 10, 1000, 10**6)]
    assert widths == sorted(widths, reverse=True)
    assert known < widths[-1] < 1.1 * known


TALLY = st.builds(Tally, st.integers(60, 300), st.integers(0, 30))
FLIP = st.one_of(st.floats(0.0, 0.3), TALLY)
BIT = st.one_of(st.builds(Bit, FLIP), st.builds(Bit, FLIP, FLIP))
READOUT = st.builds(Readout, BIT, BIT)


@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.one_of(READOUT, st.fixed_dictionaries(dict.fromkeys(bell.BASES, READOUT))),
)
def test_results_are_ordered_and_in_range(passed, failed, readout):
    found = correct(Counts(zz=Tally(passed, failed)), readout).corrected
    assert 0.0 <= found.low <= found.best <= found.high <= 1.0


def test_trivial_where_nothing_is_known():
    everything = (0.0, 0.5, 1.0)
    none = correct(Counts(), Readout(Bit(0.1))).corrected
    assert (none.low, none.best, none.high) == everything
    for flip in (Tally(), Tally(5, 4), Tally(6, 6)):
        found = correct(pooled(95, 100), Readout(Bit(flip))).corrected
        assert (found.low, found.high) == (0.0, 1.0)


GOOD = pooled(9, 10)


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        (Readout(Bit(0.5)), r"readout.left: the readout error must be < 0.5"),
        (Readout(right=Bit(0.7)), r"readout.right: the readout error must be < 0.5"),
        (Readout(Bit(0.4, 0.6)), r"readout.left: zero_to_one \+ one_to_zero must be < 1"),
        (Readout(Bit(-0.1)), r"readout.left must be a probability"),
        (Readout(Bit(math.nan)), r"readout.left must be a probability"),
        (Readout(Bit(0.1, 1.1)), r"readout.left.one_to_zero must be a probability"),
        (Readout(Bit(Tally(10, 90))), r"readout.left: its calibration says"),
        ({"xx": Readout()}, r"readout must name the bases xx, yy, zz"),
        (
            dict.fromkeys(bell.BASES, Readout(Bit(0.6))),
            r"readout.xx.left: the readout error must be < 0.5",
        ),
    ],
)
def test_bad_input_names_the_field(readout, message):
    with pytest.raises(InputError, match=message):
        correct(GOOD, readout)


def test_bad_confidence():
    with pytest.raises(InputError, match="confidence"):
        correct(GOOD, Readout(), confidence=1.0)

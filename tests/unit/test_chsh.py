"""CHSH: intervals by exact summation, p-values by brute force, largest S by optimised settings."""

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
from quantum.estimation.chsh import (
    TSIRELSON,
    ChshCounts,
    chsh,
    estimate_largest_s,
    largest_s,
    largest_s_bounds,
    largest_s_of,
    p_value,
)
from quantum.estimation.tomography import correlator_bounds

FIDELITIES = (0.5, 0.9, 0.99, 0.999)


def test_the_loophole_free_test_of_2015():
    # Hensen et al., Nature 526, 682: 196 of 245 rounds won, p = 0.039; at S = 2.4 about 700 rounds
    # would give 0.001.
    assert p_value(196, 245) == pytest.approx(0.039, abs=5e-4)
    assert p_value(560, 700) == pytest.approx(0.001, abs=2e-4)
    assert p_value(196, 245, bias=1.1e-5) == pytest.approx(0.039, abs=5e-4)


@pytest.mark.parametrize("rounds", [1, 7, 40])
def test_p_value_is_the_binomial_tail(rounds):
    for won in range(rounds + 1):
        tail = sum(
            math.comb(rounds, k) * 0.75**k * 0.25 ** (rounds - k) for k in range(won, rounds + 1)
        )
        assert p_value(won, rounds) == pytest.approx(tail, rel=1e-9)


def test_no_local_strategy_beats_the_null_even_with_biased_settings():
    # All sixteen deterministic strategies, against the worst allowed bias of each setting bit.
    bias = 0.1
    best = max(
        sum(
            (0.5 + da * (1 - 2 * x)) * (0.5 + db * (1 - 2 * y))
            for x, y in itertools.product((0, 1), repeat=2)
            if (a[x] ^ b[y]) == (x & y)
        )
        for a in itertools.product((0, 1), repeat=2)
        for b in itertools.product((0, 1), repeat=2)
        for da in (-bias, bias)
        for db in (-bias, bias)
    )
    assert p_value(1, 1, bias=bias) == pytest.approx(best)
    assert p_value(1, 1) == 0.75


def test_p_values_of_local_worlds_are_never_too_small():
    for level in (0.01, 0.05, 0.2):
        small = sum(binom.pmf(k, 60, 0.75) for k in range(61) if p_value(k, 60) <= level)
        assert small <= level


def tallies(won, rounds):
    return ChshCounts(*(Tally(int(k), int(n - k)) for k, n in zip(won, rounds, strict=True)))


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("rounds", [30, 100, 1000])
def test_coverage_of_random_settings_by_exact_summation(fidelity, rounds):
    s = TSIRELSON * (4 * fidelity - 1) / 3
    total = 0.0
    for won in range(rounds + 1):
        found = chsh(tallies([won, 0, 0, 0], [rounds, 0, 0, 0]), settings="random")
        if found.low <= s <= found.high + 1e-12:
            total += binom.pmf(won, rounds, 0.5 + s / 8)
    assert total >= 0.95


@pytest.mark.parametrize("rounds", [(7, 8, 8, 7), (1, 9, 10, 10)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_coverage_of_fixed_settings_by_exact_summation(fidelity, rounds):
    # 30 rounds in all and unequal correlations; the second case takes the sum of intervals.
    s = TSIRELSON * (4 * fidelity - 1) / 3
    chances = np.array([0.5, 0.5, 0.5, 0.5]) + s / 8 + np.array([0.04, -0.04, 0.02, -0.02])
    pmf = [binom.pmf(np.arange(n + 1), n, p) for n, p in zip(rounds, chances, strict=True)]
    total, missed = 0.0, 0.0
    for won in itertools.product(*(range(n + 1) for n in rounds)):
        weight = math.prod(pmf[i][k] for i, k in enumerate(won))
        if weight < 1e-7:
            missed += weight
            continue
        found = chsh(tallies(won, rounds))
        total += weight * (found.low <= s <= found.high + 1e-12)
    assert missed < 1e-3
    assert total >= 0.95


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_coverage_of_fixed_settings_by_simulation(fidelity):
    s = TSIRELSON * (4 * fidelity - 1) / 3
    rounds = (20, 25, 25, 30)
    rng = np.random.default_rng(int(1e4 * fidelity))
    won, times = np.unique(
        rng.binomial(rounds, 0.5 + s / 8, (10_000, 4)), axis=0, return_counts=True
    )
    total = 0
    for row, many in zip(won, times, strict=True):
        found = chsh(tallies(row, rounds))
        total += many * (found.low <= s <= found.high + 1e-12)
    assert total >= 9500


def test_fixed_settings_cost_little_width_where_rounds_are_balanced():
    widths = {}
    for settings in ("fixed", "random"):
        found = chsh(tallies([750] * 4, [1000] * 4), settings=settings)
        widths[settings] = found.high - found.low
    assert 1.0 < widths["fixed"] / widths["random"] < 1.5
    # One round says nothing of its setting: S is uncertain by its correlation, and hardly more.
    lone = chsh(tallies([1, 7500, 7500, 7500], [1, 10_000, 10_000, 10_000]))
    assert 1.9 < lone.high - lone.low < 2.3


@given(st.lists(st.integers(0, 400), min_size=8, max_size=8), st.sampled_from(["fixed", "random"]))
def test_intervals_are_ordered_and_below_tsirelson(numbers, settings):
    counts = ChshCounts(*(Tally(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True)))
    found = chsh(counts, settings=settings)
    assert -TSIRELSON <= found.low <= found.best <= found.high <= TSIRELSON
    assert found.rounds == sum(numbers)


def test_perfect_rounds_show_more_than_is_possible_and_say_so():
    found = chsh(tallies([9, 9, 9, 9], [9, 9, 9, 9]))
    assert found.observed == 4.0
    assert found.best == found.high == TSIRELSON
    empty = chsh(ChshCounts())
    assert (empty.low, empty.best, empty.high) == (-TSIRELSON, 0.0, TSIRELSON)


def test_fixed_settings_weigh_all_correlations_alike():
    found = chsh(tallies([90, 9, 45, 80], [100, 10, 50, 100]))
    assert found.observed == pytest.approx(0.8 + 0.8 + 0.8 + 0.6)
    assert chsh(tallies([90, 9, 45, 80], [100, 10, 50, 100]), settings="random").observed == (
        pytest.approx(8 * 224 / 260 - 4)
    )


# -- the largest S of a state --------------------------------------------------------------------


def s_by_search(table):
    """Maximise S over settings by turns: for fixed b, b' the best a is along T (b + b')."""
    t = np.asarray(table)[1:, 1:]
    best = 0.0
    rng = np.random.default_rng(5)
    for _ in range(20):
        b, c = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        for _ in range(300):
            a, d = t @ (b + c), t @ (b - c)
            value = np.linalg.norm(a) + np.linalg.norm(d)
            a, d = a / (np.linalg.norm(a) + 1e-300), d / (np.linalg.norm(d) + 1e-300)
            b, c = t.T @ (a + d), t.T @ (a - d)
            b, c = b / (np.linalg.norm(b) + 1e-300), c / (np.linalg.norm(c) + 1e-300)
        best = max(best, value)
    return best


def random_state(rng):
    g = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    phi = np.array([1, 0, 0, 1]) / np.sqrt(2)
    rho = 0.25 * g @ g.conj().T / np.trace(g @ g.conj().T) + 0.75 * np.outer(phi, phi)
    return bell.expectations_of(rho)


def test_largest_s_is_what_optimised_settings_reach():
    rng = np.random.default_rng(6)
    for _ in range(6):
        table = random_state(rng)
        assert largest_s_of(table) == pytest.approx(s_by_search(table), abs=1e-6)


def test_bell_diagonal_states_agree_with_the_full_table():
    for weights in np.random.default_rng(7).dirichlet(np.ones(4), 30):
        c = bell.correlators(weights)
        table = np.diag([1.0, c[0], -c[1], c[2]])
        assert largest_s(c) == pytest.approx(largest_s_of(table))
    assert largest_s_of(np.diag([1.0, 1.0, -1.0, 1.0]).ravel()) == TSIRELSON


def test_werner_states_violate_above_the_known_fidelity():
    threshold = (1 + 3 / math.sqrt(2)) / 4
    for offset, violates in ((-1e-6, False), (1e-6, True)):
        s = largest_s(bell.correlators(bell.werner(threshold + offset)))
        assert bool(s > 2.0) == violates


def test_the_diagonal_never_shows_more_than_the_state():
    rng = np.random.default_rng(8)
    for _ in range(30):
        table = random_state(rng)
        diagonal = np.abs(np.diagonal(table)[1:])
        assert largest_s(diagonal) <= largest_s_of(table) + 1e-9


def test_bounds_hold_for_all_states_in_the_box():
    rng = np.random.default_rng(9)
    states = bell.correlators(rng.dirichlet(np.ones(4), 200_000))
    for _ in range(20):
        low, high = np.sort(rng.uniform(-1.0, 1.0, (2, 3)), axis=0)
        inside = states[((states >= low) & (states <= high)).all(axis=-1)]
        if len(inside) < 100:
            continue
        least, most = largest_s_bounds(low, high)
        assert least <= largest_s(inside).min()
        assert largest_s(inside).max() <= most <= largest_s(inside).max() + 0.3


@pytest.mark.parametrize("shots", [30, 100])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_coverage_of_the_estimate_by_simulation(shots, fidelity):
    rng = np.random.default_rng([shots, int(1e4 * fidelity)])
    weights = bell.werner(fidelity)
    bases = rng.multinomial(shots, [1 / 3] * 3, 10_000)
    passes = rng.binomial(bases, bell.pass_probability(weights))
    low, high = correlator_bounds(np.stack([passes, bases - passes], axis=-1), 0.95)
    least, most = largest_s_bounds(low, high)
    s = largest_s(bell.correlators(weights))
    assert ((least <= s) & (s <= most + 1e-12)).mean() >= 0.95


def test_the_estimate_is_that_of_its_bounds():
    found = estimate_largest_s(Counts(Tally(97, 3), Tally(90, 10), Tally(99, 1)))
    low, high = correlator_bounds([[97, 3], [90, 10], [99, 1]], 0.95)
    assert (found.low, found.high) == tuple(x.item() for x in largest_s_bounds(low, high))
    assert found.low < found.best < found.high < TSIRELSON
    empty = estimate_largest_s(Counts())
    assert (empty.low, empty.best, empty.high) == (0.0, 0.0, TSIRELSON)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chsh(ChshCounts(), settings="sometimes"), "settings must be fixed or random"),
        (lambda: chsh(ChshCounts(), confidence=1.0), "confidence"),
        (lambda: p_value(3, 2), "won must be"),
        (lambda: p_value(-1, 2), "won must be"),
        (lambda: p_value(1, 2, bias=0.5), "bias"),
        (lambda: p_value(1, 2, bias=math.nan), "bias"),
        (lambda: largest_s([1.0, 1.0, 1.5]), "correlators"),
        (lambda: largest_s([1.0, 1.0]), "correlators"),
        (lambda: largest_s([1.0, 1.0, math.nan]), "correlators"),
        (lambda: largest_s_of(np.diag([1.0, 1.0, 1.0, 1.0])), "must be a state"),
        (lambda: largest_s_of(np.eye(3)), "16 finite numbers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()

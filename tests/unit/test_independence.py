"""P-values are exact: every order and every table of small streams is looked at."""

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import fisher_exact, multivariate_hypergeom

from quantum.errors import InputError
from quantum.estimation.independence import alike, independence, runs_test
from quantum.seeding import generator

ROUNDING = 1e-9


def orders(ones: int, zeros: int) -> list[tuple[int, ...]]:
    """Return all orders of so many ones and zeros."""
    size = ones + zeros
    places = itertools.combinations(range(size), ones)
    return [tuple(int(i in chosen) for i in range(size)) for chosen in map(set, places)]


def tables(margins: list[int], total: int) -> list[tuple[int, ...]]:
    ranges = [range(min(m, total) + 1) for m in margins]
    return [x for x in itertools.product(*ranges) if sum(x) == total]


def assert_super_uniform(values: list[float], weights: list[float]) -> None:
    """The chance of a p-value of at most a is at most a, for every a that occurs."""
    p, w = np.array(values), np.array(weights)
    assert w.sum() == pytest.approx(1.0)
    for level in np.unique(p):
        assert w[p <= level + ROUNDING].sum() <= level + 2 * ROUNDING


@pytest.mark.parametrize(("ones", "zeros"), [(6, 6), (9, 3), (2, 10), (7, 4), (1, 5), (8, 0)])
def test_runs_p_values_are_exact_over_all_orders(ones: int, zeros: int) -> None:
    every = orders(ones, zeros)
    runs = [1 + sum(a != b for a, b in itertools.pairwise(bits)) for bits in every]
    chance = {r: count / len(every) for r, count in Counter(runs).items()}
    values = [runs_test(bits) for bits in every]
    for r, value in zip(runs, values, strict=True):
        wanted = sum(c for c in chance.values() if c <= chance[r] * (1 + 1e-7))
        assert value == pytest.approx(wanted)
    assert_super_uniform(values, [1 / len(every)] * len(every))


@pytest.mark.parametrize(
    ("margins", "total"), [([4, 5, 6], 5), ([3, 3, 3, 3], 4), ([1, 9, 5], 7), ([10, 2], 6)]
)
def test_table_p_values_are_super_uniform_over_all_tables(margins: list[int], total: int) -> None:
    every = tables(margins, total)
    weights = [float(multivariate_hypergeom.pmf(x, margins, total)) for x in every]
    values = []
    for x in every:
        p, exact = alike(x, margins)
        assert exact
        values.append(p)
    assert_super_uniform(values, weights)
    # And they are not merely large: some table is as unlikely as the p-value says.
    assert min(values) == pytest.approx(min_tail(every, margins, weights), rel=1e-9)


def min_tail(every: list[tuple[int, ...]], margins: list[int], weights: list[float]) -> float:
    """Return the chance of the largest chi-square, by its own formula."""
    share = sum(every[0]) / sum(margins)
    squares = [
        sum((a - m * share) ** 2 / (m * share) for a, m in zip(x, margins, strict=True))
        for x in every
    ]
    return sum(w for s, w in zip(squares, weights, strict=True) if s >= max(squares) - 1e-9)


@pytest.mark.parametrize("hits", [(0, 7), (1, 9), (12, 4), (5, 5)])
def test_two_equal_groups_are_the_exact_test_of_fisher(hits: tuple[int, int]) -> None:
    table = [[hits[0], 20 - hits[0]], [hits[1], 20 - hits[1]]]
    assert alike(hits, [20, 20])[0] == pytest.approx(fisher_exact(table).pvalue, rel=0.02)


def test_whole_verdicts_of_streams_of_ten_are_calibrated() -> None:
    # All orders of three fails in ten tests, with blocks and bases: the joined p, and the bases'.
    every = orders(7, 3)
    bases = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    found = [independence(bits, bases, blocks=3, significance=0.1) for bits in every]
    weights = [1 / len(every)] * len(every)
    assert all(f.exact for f in found)
    for values in (
        [f.p for f in found],
        [f.p_blocks for f in found],
        [f.p_bases for f in found if f.p_bases is not None],
    ):
        assert_super_uniform(values, weights)
    blamed = [f.verdict != "no sign against it" for f in found]
    assert 0 < np.mean(blamed) <= 0.1


def test_a_thousand_good_streams_are_blamed_as_seldom_as_promised() -> None:
    rng = generator(1, "independence")
    blamed = [
        independence(rng.random(400) < 0.97, significance=0.05).p <= 0.05 for _ in range(1000)
    ]
    share = float(np.mean(blamed))
    assert 0.005 < share <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / 1000)


def test_beyond_the_exact_sizes_chi_square_takes_over_smoothly() -> None:
    hits, tests = np.array([60, 75, 95, 70, 66, 71, 89, 70]), np.full(8, 2000)
    near, exact = alike(hits - 4, tests)
    assert exact
    far, also = alike(10 * hits // 3, 10 * tests // 3)
    assert not also and far < near
    # The same table by the chi-square distribution, whose tail at 7 degrees of freedom is closed.
    x, share = hits - 4, (hits.sum() - 32) / 16_000
    s = float(((x - 2000 * share) ** 2 / (2000 * share * (1 - share))).sum())
    tail = math.erfc(math.sqrt(s / 2)) + math.sqrt(2 * s / math.pi) * math.exp(-s / 2) * (
        1 + s / 3 + s * s / 15
    )
    assert near == pytest.approx(tail, rel=0.05)


def test_bursts_alternation_and_drift_are_found() -> None:
    rng = generator(2, "independence")
    fails = np.zeros(2000, dtype=bool)
    for start in rng.integers(0, 1990, 12):
        fails[start : start + 5] = True
    assert independence(~fails).verdict == "bursts or drift"
    assert independence(np.arange(300) % 4 != 0).verdict == "alternating"
    chance = np.where(np.arange(4000) < 2000, 0.99, 0.95)
    found = independence(rng.random(4000) < chance)
    assert found.p_blocks < 1e-4 and found.verdict == "blocks differ"
    assert independence(rng.random(4000) < 0.97).verdict == "no sign against it"


def test_bases_that_differ_are_found_and_not_blamed() -> None:
    rng = generator(3, "independence")
    bases = rng.integers(0, 3, 3000)
    passed = rng.random(3000) < np.array([0.93, 0.93, 0.995])[bases]  # dephasing spares zz
    found = independence(passed, np.array(["xx", "yy", "zz"])[bases])
    assert found.p_bases is not None and found.p_bases < 1e-6
    assert found.verdict == "no sign against it"
    assert independence(passed).p_bases is None


@pytest.mark.parametrize("bits", [[], [True], [False], [True] * 50, [False] * 50])
def test_streams_that_say_nothing_are_not_blamed(bits: list[bool]) -> None:
    found = independence(bits, [0] * len(bits))
    assert (found.p_runs, found.p_blocks, found.p_bases, found.p) == (1.0, 1.0, 1.0, 1.0)
    assert found.runs == min(1, len(bits)) == found.expected_runs


def test_a_million_tests_are_no_trouble() -> None:
    rng = generator(4, "independence")
    found = independence(rng.random(1_000_000) < 0.97, rng.integers(0, 3, 1_000_000))
    assert not found.exact
    assert found.p > 1e-4
    assert abs(found.runs - found.expected_runs) < 5 * math.sqrt(found.expected_runs)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: independence([0.5, 1.0]), "passed"),
        (lambda: independence([[True]]), "passed"),
        (lambda: runs_test([math.nan]), "passed"),
        (lambda: independence([True], [0, 1]), "bases"),
        (lambda: independence([True], blocks=1), "blocks"),
        (lambda: independence([True], significance=0.0), "significance"),
        (lambda: alike([3], [2]), "hits"),
        (lambda: alike([-1, 1], [2, 2]), "hits"),
        (lambda: alike([math.nan, 1], [2, 2]), "hits"),
        (lambda: alike([0.5, 1], [2, 2]), "whole"),
        (lambda: alike([1, 1], [2, 2, 2]), "hits"),
    ],
)
def test_bad_input_names_its_field(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()

"""Comparison statistics against known answers, other libraries and simulated truth."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from controller.statistics import anova, convergence, crossed, holm, iqm, not_worse, paired
from quantum.errors import InputError
from quantum.seeding import generator


@pytest.fixture
def rng():
    return generator(7, "statistics")


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -50.0]) == pytest.approx(3.5)
    assert math.isnan(iqm([]))


def test_paired_on_a_small_case(rng):
    """Means 3 and 2: +50 %. Better, equal, worse: (1 + 0.5 + 0) / 3."""
    got = paired([5.0, 2.0, 2.0], [2.0, 2.0, 2.0], [0, 1, 2], rng=rng)
    assert got.relative == pytest.approx(0.5)
    assert got.p_improvement == pytest.approx(2 / 3)
    assert got.difference == pytest.approx(1.0)
    assert got.d_z == pytest.approx(1 / math.sqrt(3))
    assert (got.cells, got.clusters) == (3, 3)
    assert got.low < 0.5 < got.high
    got = paired([5.0, 2.0, 1.0], [2.0, 2.0, 2.0], [0, 1, 2], rng=rng, better="lower")
    assert got.p_improvement == pytest.approx(0.5)


def test_relative_is_the_ratio_of_means_not_the_mean_of_ratios(rng):
    got = paired([2.0, 10.0], [1.0, 10.0], ["x", "y"], rng=rng)
    assert got.relative == pytest.approx(12 / 11 - 1)


def test_p_is_the_t_test_on_clusters(rng):
    a, b = rng.normal(1.1, 0.1, 24), rng.normal(1.0, 0.1, 24)
    group = np.repeat(np.arange(6), 4)
    reference = stats.ttest_1samp((a - b).reshape(6, 4).mean(axis=1), 0.0)
    assert paired(a, b, group, rng=rng).p == pytest.approx(float(reference.pvalue))


def test_same_key_same_interval():
    a, b = np.arange(1.0, 9.0), np.ones(8)
    group = np.arange(8) // 2
    first, second = (paired(a, b, group, rng=generator(3, "x")) for _ in range(2))
    assert first == second


def test_copies_of_a_cell_within_a_cluster_add_no_certainty():
    a, b = np.array([1.0, 1.3, 0.9, 1.2, 1.4]), np.ones(5)
    group = np.arange(5)
    once = paired(a, b, group, rng=generator(1, "x"))
    often = paired(np.repeat(a, 50), np.repeat(b, 50), np.repeat(group, 50), rng=generator(1, "x"))
    assert often.low == pytest.approx(once.low)
    assert often.high == pytest.approx(once.high)
    assert often.p == pytest.approx(once.p)


def test_unknown_is_nan_and_null_in_json(rng):
    one = paired([1.0, 2.0], [1.0, 1.0], [0, 0], rng=rng)
    assert one.relative == pytest.approx(0.5)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(one.p)
    zero = paired([0.0, 1.0], [0.0, 0.0], [0, 1], rng=rng)
    assert math.isnan(zero.relative)
    assert msgspec.json.decode(msgspec.json.encode(one))["low"] is None


def test_equal_allocators_show_nothing(rng):
    values = rng.random(12)
    got = paired(values, values, np.arange(12) // 3, rng=rng)
    assert (got.relative, got.low, got.high, got.p_improvement, got.p) == (0, 0, 0, 0.5, 1)


@pytest.mark.parametrize("clusters", [4, 12])
def test_interval_covers_the_truth(clusters):
    """400 simulated comparisons, 6 cells a cluster, gain of +10 % that varies between clusters.

    Nominal 95 %; 400 trials have a standard error of 1.1 points. Without the stretch for few
    clusters four of them cover only about 80 %.
    """
    rng = generator(clusters, "coverage")
    group = np.repeat(np.arange(clusters), 6)
    covered = 0
    for _ in range(400):
        level = rng.normal(0.6, 0.1, clusters)[group]
        gain = rng.normal(0.06, 0.05, clusters)[group]
        b = level + rng.normal(0, 0.03, len(group))
        a = level + gain + rng.normal(0, 0.03, len(group))
        got = paired(a, b, group, rng=rng)
        covered += got.low <= 0.1 <= got.high
    assert 0.91 <= covered / 400 <= 0.985


def test_anova_agrees_with_statsmodels(rng):
    frame = pytest.importorskip("pandas")
    models = pytest.importorskip("statsmodels.stats.anova")
    values = rng.normal(size=(15, 4)) + rng.normal(size=(15, 1)) + [0.0, 0.5, 1.5, 1.0]
    long = frame.DataFrame(
        {
            "cell": np.repeat(np.arange(15), 4),
            "allocator": np.tile(np.arange(4), 15),
            "value": values.ravel(),
        }
    )
    table = models.AnovaRM(long, "value", "cell", within=["allocator"]).fit().anova_table
    got = anova(values)
    assert pytest.approx(float(table["F Value"].iloc[0])) == got.F
    assert got.df[0] / got.epsilon == pytest.approx(3)
    assert got.df[1] / got.epsilon == pytest.approx(42)
    assert stats.f.sf(got.F, 3, 42) == pytest.approx(float(table["Pr > F"].iloc[0]))
    assert got.p >= float(table["Pr > F"].iloc[0])


def test_anova_by_hand():
    """Three cells, two allocators: F is the squared paired t, here (2 / (1/sqrt 3))^2 = 12.

    Values 1 3 / 2 3 / 3 6 have differences 2 1 3. Sums of squares: allocators 6, cells 7,
    error 1 (total 14): generalised eta squared 6/14, partial 6/7.
    """
    got = anova([[1.0, 3.0], [2.0, 3.0], [3.0, 6.0]])
    assert pytest.approx(12.0) == got.F
    assert got.df == pytest.approx((1.0, 2.0))
    assert got.epsilon == pytest.approx(1.0)
    assert got.p == pytest.approx(float(stats.ttest_1samp([2.0, 1.0, 3.0], 0).pvalue))
    assert got.eta_squared == pytest.approx(6 / 14)
    assert got.partial_eta_squared == pytest.approx(6 / 7)
    assert got.correction == "greenhouse-geisser"


def test_epsilon_is_one_for_equal_and_least_for_one_varying_contrast():
    """Uncorrelated unit variances are spherical; all variance in one contrast gives 1/(k-1)."""
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    assert anova(signs).epsilon == pytest.approx(1.0)
    one = np.outer([1.0, -1.0, 2.0, 0.5], [1.0, -1.0, 0.0]) + np.array([0.0, 0.1, 0.3])
    assert anova(one).epsilon == pytest.approx(0.5)


def test_anova_without_noise_or_effect():
    assert anova(np.ones((4, 3)) * 0.1).p == 1.0
    exact = anova(np.array([[0.1, 0.2]] * 5) + np.arange(5)[:, None])
    assert math.isinf(exact.F)
    assert exact.p == 0.0


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.ones((3, 1)), [[1.0, math.nan], [1.0, 2.0]]])
def test_anova_refuses_what_it_cannot_test(bad):
    with pytest.raises(InputError, match="anova"):
        anova(bad)


def test_holm_against_hand_calculation():
    """Ranks 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1; the last is raised to the one before."""
    got = holm({"w": 0.01, "x": 0.04, "y": 0.03, "z": 0.005, "?": math.nan})
    assert math.isnan(got.pop("?"))
    assert got == pytest.approx({"z": 0.02, "w": 0.03, "y": 0.06, "x": 0.06})
    with pytest.raises(InputError, match="p of a"):
        holm({"a": 1.5})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_and_keeps_the_order(values):
    named = {str(i): p for i, p in enumerate(values)}
    got = holm(named)
    assert all(named[k] <= got[k] <= min(1.0, len(values) * max(values)) for k in named)
    order = sorted(named, key=lambda k: named[k])
    assert [got[k] for k in order] == sorted(got.values())


def test_not_worse_needs_evidence_and_not_only_absence_of_harm(rng):
    group = np.arange(8)
    b = np.full(8, 0.8)
    tight = b + rng.normal(0, 0.002, 8)
    assert not_worse(tight, b, group, margin=0.01).not_worse
    assert not_worse(tight, b, group, margin=0.01).equivalent
    wild = b + rng.normal(0, 0.2, 8)
    assert not not_worse(wild, b, group, margin=0.01).not_worse
    better = not_worse(tight + 0.1, b, group, margin=0.01)
    assert (better.not_worse, better.equivalent) == (True, False)
    assert not not_worse(tight + 0.1, b, group, margin=0.01, better="lower").not_worse
    assert not not_worse(tight[:1], b[:1], [0], margin=0.01).not_worse


def test_not_worse_is_scipys_one_sided_t_test(rng):
    a, b = rng.normal(0.80, 0.02, 9), rng.normal(0.79, 0.02, 9)
    got = not_worse(a, b, np.arange(9), margin=0.01)
    lower = stats.ttest_1samp(a - b, -0.01, alternative="greater").pvalue
    upper = stats.ttest_1samp(a - b, 0.01, alternative="less").pvalue
    assert got.p_worse == pytest.approx(float(lower))
    assert got.p_better == pytest.approx(float(upper))


def test_not_worse_errs_at_most_as_often_as_promised():
    """Truth exactly at the margin: 5 % of 2000 trials, standard error 0.5 points."""
    rng = generator(5, "noninferiority")
    d = rng.normal(-0.01, 0.02, (2000, 6))
    wrong = [not_worse(row, np.zeros(6), np.arange(6), margin=0.01).not_worse for row in d]
    assert 0.035 <= np.mean(wrong) <= 0.065


def test_convergence_of_known_curves(rng):
    """Level 1 from step 30 on; 0.95 is first reached at 20 (0.96)."""
    curve = np.array([0.1, 0.5, 0.96, 1.0, 1.0, 1.0])
    got = convergence(np.tile(curve, (4, 1)), np.arange(6) * 10.0, rng=rng)
    assert (got.steps, got.low, got.high, got.level) == (20.0, 20.0, 20.0, 1.0)
    single = convergence(curve[None], np.arange(6) * 10.0, rng=rng)
    assert single.steps == 20.0
    assert math.isnan(single.low)


def test_convergence_interval_spans_the_runs(rng):
    """Runs that arrive at 10, 20, ... 80: the interval lies inside and holds the estimate."""
    at = np.arange(100.0)
    curves = np.array([np.minimum(1.0, at / arrive) for arrive in range(10, 90, 10)])
    got = convergence(curves, at, rng=rng)
    assert 10 < got.low < got.steps < got.high < 80


def test_convergence_of_negative_scores_counts_from_below(rng):
    got = convergence([[-100.0, -20.0, -10.4, -10.0]], [0.0, 1.0, 2.0, 3.0], rng=rng)
    assert got.steps == 2.0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda rng: paired([1.0], [1.0, 2.0], [0], rng=rng), "same cells"),
        (lambda rng: paired([math.nan], [1.0], [0], rng=rng), "a must"),
        (lambda rng: paired([], [], [], rng=rng), "at least one"),
        (lambda rng: paired([1.0], [1.0], [0], rng=rng, confidence=1.0), "confidence"),
        (lambda _: not_worse([1.0], [1.0], [0], margin=0.0), "margin"),
        (lambda _: iqm([math.inf]), "values"),
        (lambda rng: convergence([[1.0, 2.0]], [2.0, 1.0], rng=rng), "rising"),
        (lambda rng: convergence([[]], [], rng=rng), "curves"),
        (lambda rng: convergence([[1.0]], [1.0], rng=rng, share=0.0), "share"),
    ],
)
def test_bad_input_is_named(call, name, rng):
    with pytest.raises(InputError, match=name):
        call(rng)


@pytest.mark.parametrize(
    ("rows", "columns", "rest"),
    [(0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.3, 1.0, 1.0), (1.0, 0.3, 2.0)],
)
def test_crossed_intervals_cover_the_mean_over_new_rows_and_columns(rows, columns, rest):
    """1000 tables of 5 trainings and 20 clusters: between 93 and 99 % of 95 % intervals."""
    rng, hits, often = generator(5, "crossed"), 0, 1000
    for _ in range(often):
        luck = [scale * rng.normal(size=size) for scale, size in ((rows, (5, 1)), (columns, 20))]
        found = crossed(2.0 + luck[0] + luck[1] + rest * rng.normal(size=(5, 20)))
        hits += found.low <= 2.0 <= found.high
    assert 0.93 < hits / often < 0.99


def test_crossed_is_the_analysis_of_variance_without_replication():
    """Montgomery's randomised blocks (vascular grafts): mean squares 59.39, 38.45 and 7.33."""
    grafts = np.array(
        [
            [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
            [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
            [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
            [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
        ]
    )
    found = crossed(grafts)
    assert found.row_spread**2 == pytest.approx((59.39 - 7.33) / 6, rel=1e-3)
    variance = (59.39 + 38.45 - 7.33) / 24
    free = (59.39 + 38.45 - 7.33) ** 2 / (59.39**2 / 3 + 38.45**2 / 5 + 7.33**2 / 15)
    half = stats.t.ppf(0.975, free) * math.sqrt(variance)
    assert found.high - found.mean == pytest.approx(half, rel=1e-3)
    one = stats.t.interval(0.95, 3, found.mean, stats.sem(grafts.mean(axis=1)))
    assert (found.row_low, found.row_high) == pytest.approx(one)
    assert found.next_high - found.mean > math.sqrt(5) * (found.row_high - found.mean) * 0.999


@pytest.mark.parametrize("table", [[1.0, 2.0], [[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan]] * 2])
def test_crossed_refuses_what_is_no_table(table):
    with pytest.raises(InputError, match="at least two by two"):
        crossed(table)

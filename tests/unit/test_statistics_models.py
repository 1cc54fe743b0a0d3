"""Published numbers, intervals on medians of the data, mixed models and regressions."""

import math
import sys

import numpy as np
import pytest
from scipy import stats

from controller.statistics import anova, iqm, mixed_model, paired, regression
from quantum.errors import InputError
from quantum.seeding import generator

#: The nine complete rows of pingouin's data set ``rm_anova_wide`` (R. Vallat, "Pingouin:
#: statistics in Python", JOSS 3(31), 1026, 2018).
WEEKS = np.array(
    [
        [4.3, 5.3, 4.8, 6.3],
        [3.9, 2.3, 5.6, 4.3],
        [5.1, 4.2, 6.0, 6.3],
        [3.8, 3.6, 4.8, 6.8],
        [3.8, 5.4, 5.1, 6.3],
        [4.5, 3.0, 7.7, 5.8],
        [3.7, 7.1, 5.5, 4.8],
        [4.4, 4.7, 4.2, 5.5],
        [3.7, 3.0, 4.0, 7.1],
    ]
)


def test_anova_gives_the_numbers_that_pingouin_documents():
    """F(3, 24) = 5.200652, p = 0.006557 uncorrected, ng2 = 0.346392, eps = 0.694329."""
    got = anova(WEEKS)
    assert pytest.approx(5.200652, abs=1e-6) == got.F
    assert got.eta_squared == pytest.approx(0.346392, abs=1e-6)
    assert got.partial_eta_squared == pytest.approx(0.393969, abs=1e-6)
    assert got.epsilon == pytest.approx(0.694329, abs=1e-6)
    assert got.df == pytest.approx((3 * got.epsilon, 24 * got.epsilon))
    assert stats.f.sf(got.F, 3, 24) == pytest.approx(0.006557, abs=1e-6)


def test_t_interval_is_scipys_on_the_means_of_clusters():
    rng = generator(3, "t")
    a, b = rng.normal(1.0, 0.1, 24), rng.normal(0.9, 0.1, 24)
    got = paired(a, b, np.repeat(np.arange(6), 4), rng=rng)
    means = (a - b).reshape(6, 4).mean(axis=1)
    ends = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    assert (got.t_low, got.t_high) == pytest.approx((ends.low, ends.high))
    assert got.t_low < got.difference < got.t_high


def test_bootstrap_of_the_interquartile_mean_resamples_clusters():
    """The same resamples, cut and averaged one by one, and stretched as documented."""
    rng = generator(4, "iqm")
    group = np.repeat(np.arange(5), [3, 4, 5, 4, 3])
    d = rng.normal(0.02, 0.05, len(group))
    got = paired(d + 1.0, np.ones(len(d)), group, rng=generator(9, "x"))
    drawn = generator(9, "x").multinomial(5, np.full(5, 0.2), size=4000)
    again = [
        iqm(np.concatenate([np.repeat(d[group == g], k) for g, k in enumerate(row)]))
        for row in drawn[:4000]
    ]
    low, high = np.quantile(again, [0.025, 0.975])
    stretch = math.sqrt(5 / 4) * stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    assert got.iqm_difference == pytest.approx(iqm(d))
    assert got.iqm_low == pytest.approx(iqm(d) + stretch * (low - iqm(d)))
    assert got.iqm_high == pytest.approx(iqm(d) + stretch * (high - iqm(d)))


def runs(rng, *, effect=0.05, by_load=-0.02, topologies=6, traces=20):
    """Draw runs of three allocators with known effects and variances."""
    rows = []
    for topology in range(topologies):
        of_topology = rng.normal(0.0, 0.06)
        for trace in range(traces):
            of_trace, load = rng.normal(0.0, 0.04), float(rng.choice([-1.0, 1.0]))
            for number, name in enumerate(("a", "b", "c")):
                value = 0.7 + of_topology + of_trace + rng.normal(0.0, 0.02)
                value += number * (effect + by_load * load)
                rows.append((value, name, load, f"t{topology}", f"{topology}-{trace}"))
    return [list(column) for column in zip(*rows, strict=True)]


def test_mixed_model_finds_what_was_put_in():
    """Tolerances are five standard errors of 120 traces of three runs, or of six topologies."""
    got = mixed_model(*runs(generator(1, "mixed")))
    assert got.converged and not got.note and got.reference == "a"
    for name, number in (("b", 1), ("c", 2)):
        assert got.allocators[name].estimate == pytest.approx(0.05 * number, abs=0.013)
        assert got.by_load[name].estimate == pytest.approx(-0.02 * number, abs=0.013)
        assert got.allocators[name].low < got.allocators[name].estimate < got.allocators[name].high
    assert got.residual_variance == pytest.approx(0.02**2, rel=0.5)
    assert got.trace_variance == pytest.approx(0.04**2, rel=0.7)
    assert 0.0 < got.topology_variance < 10 * 0.06**2


def test_mixed_model_of_balanced_runs_has_the_differences_of_the_means():
    """Every trace is played by all: the fixed effects are then those of least squares."""
    value, name, load, topology, trace = runs(generator(2, "mixed"), topologies=1)
    got = mixed_model(value, name, np.zeros(len(load)), topology, trace)
    means = {k: np.mean([v for v, n in zip(value, name, strict=True) if n == k]) for k in "abc"}
    assert got.allocators["b"].estimate == pytest.approx(means["b"] - means["a"], rel=1e-4)
    assert got.topology_variance is None and got.load is None and got.by_load == {}
    assert got == mixed_model(value, name, np.zeros(len(load)), topology, trace)


def test_mixed_model_says_why_there_is_none(monkeypatch):
    value, name, load, topology, trace = runs(generator(2, "mixed"), topologies=1)
    assert "two allocators" in mixed_model(value, ["a"] * len(name), load, topology, trace).note
    assert "equal" in mixed_model([0.5] * len(value), name, load, topology, trace).note
    monkeypatch.setattr("controller.statistics.mixed.MOST_ROWS", 10)
    assert "would take minutes" in mixed_model(value, name, load, topology, trace).note
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "statsmodels.api", None)
    assert "pip install 'dpem[arena]'" in mixed_model(value, name, load, topology, trace).note
    with pytest.raises(InputError, match="one value of each kind"):
        mixed_model(value[:-1], name, load, topology, trace)


def test_a_fit_that_does_not_converge_is_told(monkeypatch):
    from statsmodels.regression.mixed_linear_model import MixedLM

    fit = MixedLM.fit
    monkeypatch.setattr(MixedLM, "fit", lambda self, **_: fit(self, method="lbfgs", maxiter=1))
    got = mixed_model(*runs(generator(1, "mixed")))
    assert not got.converged
    assert any("converge" in said.lower() for said in got.warnings)


def test_regression_is_the_textbook_line():
    rng = generator(6, "line")
    x = np.repeat([25.0, 50.0, 100.0], 4)
    y = 0.9 - 0.002 * x + rng.normal(0.0, 0.02, 12)
    got = regression(x, y)
    design = np.column_stack([np.ones(12), x])
    best, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(float(residual[0]) / 10 / float(((x - x.mean()) ** 2).sum()))
    assert (got.intercept, got.slope) == pytest.approx(tuple(best))
    assert got.high - got.slope == pytest.approx(error * stats.t.ppf(0.975, 10))
    assert got.r2 == pytest.approx(1 - float(residual[0]) / float(((y - y.mean()) ** 2).sum()))
    assert got.points == 12
    flat = regression(x, np.full(12, 0.5))
    assert flat.slope == 0.0 and flat.p == 1.0 and math.isnan(flat.r2)
    for bad in (([1.0, 2.0], [1.0, 2.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])):
        with pytest.raises(InputError, match="regression"):
            regression(*bad)

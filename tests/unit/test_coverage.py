"""Coverage, exactly: the estimator keeps its promise, a backend's counts agree, Wald's fails."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import ndtri
from scipy.stats import binom

from backends.analytic import AnalyticBackend
from backends.contract import plan_of
from quantum.batch import stack
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import probability_at_least
from quantum.estimation.coverage import Interval, coverage, of_estimate, worst_coverage
from quantum.program import Generate, Measure, Program
from quantum.seeding import generator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIDELITIES = np.array([0.5, 0.9, 0.99, 0.999])
SHOTS = [30, 100, 1000]
CONFIDENCES = [0.9, 0.95, 0.99]
REPETITIONS = 10_000
ROUNDING = 1e-12


def pass_chance(fidelity: Floats) -> Floats:
    return (1 + 2 * fidelity) / 3


def wald(confidence: float) -> Interval:
    """The textbook's normal interval, which does not keep its promise."""
    z = float(ndtri(0.5 + confidence / 2))

    def interval(passed: Ints, n: int) -> tuple[Floats, Floats]:
        share = passed / n
        half = z * np.sqrt(share * (1 - share) / n)
        return share - half, share + half

    return interval


def keeps(interval: Interval, confidence: float, shots: int) -> bool:
    """The gate: never under nominal at the fidelities of the issue."""
    covered = coverage(interval, pass_chance(FIDELITIES), shots)
    return bool(np.all(covered >= confidence - ROUNDING))


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("shots", SHOTS)
def test_the_estimator_never_covers_less_than_promised(shots: int, confidence: float) -> None:
    interval = of_estimate(confidence)
    assert keeps(interval, confidence, shots)
    worst = worst_coverage(interval, shots)
    assert worst.coverage >= confidence - ROUNDING
    # Nor much more than it has to: exactness costs an interval of discrete results very little.
    assert worst.coverage <= confidence + 0.2 * (1 - confidence)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("shots", SHOTS)
def test_the_gate_can_fail(shots: int, confidence: float) -> None:
    assert not keeps(wald(confidence), confidence, shots)
    # At F = 0.999 most streams of 30 have no fail at all, and Wald's interval is then [1, 1].
    assert worst_coverage(wald(confidence), shots).coverage < 0.05


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("shots", SHOTS)
def test_ten_thousand_repetitions_on_a_backend_agree(fidelity: float, shots: int) -> None:
    # Not a Werner state: the fidelity alone decides what tests of random bases show.
    rest = 1 - fidelity
    state = (fidelity, 0.7 * rest, 0.2 * rest, 0.1 * rest)
    program = Program((Generate(0, state), Measure(0, "random", shots)))
    [(_, batch)] = stack([program] * REPETITIONS)
    plan = plan_of([program] * REPETITIONS)
    rng = generator(5, "coverage", round(1000 * fidelity), shots)
    counts = AnalyticBackend().run(batch, plan, rng).counts
    assert np.all(counts.sum(axis=(1, 2)) == shots)
    passed = counts[:, :, 0].sum(axis=1)
    p = pass_chance(np.array(fidelity))
    for confidence in CONFIDENCES:
        for interval in (of_estimate(confidence), wald(confidence)):
            low, high = (np.asarray(end) for end in interval(np.arange(shots + 1), shots))
            found = np.mean((low[passed] <= p) & (p <= high[passed]))
            exact = float(coverage(interval, p, shots))
            assert abs(found - exact) <= 5 * math.sqrt(exact * (1 - exact) / REPETITIONS) + ROUNDING


@pytest.mark.parametrize("shots", [1, 7, 200])
def test_the_sum_agrees_with_one_written_out(shots: int) -> None:
    interval = wald(0.9)
    low, high = (np.asarray(end) for end in interval(np.arange(shots + 1), shots))
    for p in (0.0, 0.34, 0.8, 0.97, 1.0):
        inside = [s for s in range(shots + 1) if low[s] <= p <= high[s]]
        wanted = sum(float(binom.pmf(s, shots, p)) for s in inside)
        assert float(coverage(interval, p, shots)) == pytest.approx(wanted, abs=1e-12)


def test_coverage_takes_arrays_of_any_shape() -> None:
    p = np.linspace(0.4, 1.0, 600).reshape(2, 300)
    found = coverage(of_estimate(), p, 20)
    assert found.shape == p.shape
    assert found[1, 7] == coverage(of_estimate(), p[1, 7], 20)
    assert coverage(of_estimate(), np.empty(0), 20).shape == (0,)


@pytest.mark.parametrize("shots", [5, 40])
@pytest.mark.parametrize("interval", [of_estimate(0.95), wald(0.95)], ids=["exact", "wald"])
def test_the_worst_is_below_every_fine_grid_and_is_approached(
    interval: Interval, shots: int
) -> None:
    worst = worst_coverage(interval, shots, points=2)
    fine = coverage(interval, np.linspace(1 / 3, 1, 20_001), shots)
    assert worst.coverage <= fine.min() + ROUNDING
    near = coverage(interval, np.clip(worst.p + np.array([-1e-9, 0.0, 1e-9]), 1 / 3, 1), shots)
    assert near.min() == pytest.approx(worst.coverage, abs=1e-6)


def test_no_tests_cover_everything() -> None:
    assert worst_coverage(of_estimate(), 0).coverage == 1.0


# ------------------------------------------------------------- what trust promises, and what not


def test_trust_is_the_share_of_good_kinds_among_those_drawn_from_the_prior() -> None:
    # The reading of probability_at_least: draw p from Jeffreys' prior above 1/3, then n tests. Of
    # all kinds that show s passes, this share has the fidelity. By integration, not by betainc.
    def joint(p: float, s: int, n: int) -> float:
        return float(p ** (s - 0.5) * (1 - p) ** (n - s - 0.5))

    for n, s in ((3, 0), (3, 3), (30, 27), (30, 30)):
        for fidelity in (0.5, 0.8, 0.95):
            cut = (1 + 2 * fidelity) / 3
            good = quad(joint, cut, 1, args=(s, n), limit=200)[0]
            rest = quad(joint, 1 / 3, cut, args=(s, n), limit=200)[0]
            trust = probability_at_least(Counts(xx=Tally(s, n - s)), fidelity)
            assert trust == pytest.approx(good / (good + rest), abs=1e-6)


def test_trust_is_not_a_guarantee_at_a_fixed_fidelity() -> None:
    # The frequentist reading, "a kind that just misses the wish is trusted by 95 % in at most 5 %
    # of cases", is not promised and does not hold; whoever needs it asks whether the low end of an
    # Estimate is above the wish.
    errors = []
    for fidelity in FIDELITIES:
        for n in SHOTS:
            trust = [
                probability_at_least(Counts(xx=Tally(s, n - s)), fidelity) for s in range(n + 1)
            ]
            weight = binom.pmf(np.arange(n + 1), n, (1 + 2 * fidelity) / 3)
            errors.append(float(weight[np.array(trust) > 0.95].sum()))
    assert max(errors) == pytest.approx(0.1262, abs=1e-4)  # F = 0.9 and 30 tests


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: coverage(of_estimate(), 1.1, 10), "p must"),
        (lambda: coverage(of_estimate(), [0.5, math.nan], 10), "p must"),
        (lambda: coverage(of_estimate(), 0.5, -1), "n must"),
        (lambda: coverage(lambda s, n: (s, s[:1]), 0.5, 10), "interval must"),
        (lambda: coverage(lambda s, n: (s * np.nan, s), 0.5, 10), "interval must"),
        (lambda: worst_coverage(of_estimate(), 10, least=0.9, most=0.8), "least"),
        (lambda: worst_coverage(of_estimate(), 10, points=1), "points"),
    ],
)
def test_bad_input_names_its_field(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()

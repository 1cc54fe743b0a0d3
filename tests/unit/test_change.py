"""Watches keep their rate of false alarms, and see a change about as soon as can be."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import spsolve
from scipy.special import betaincinv

from quantum.errors import InputError
from quantum.estimation.change import Alarm, Watch, watch_change, watch_drop
from quantum.seeding import generator

Bools = NDArray[np.bool_]
Draw = Callable[[int], Bools]


def pass_chance(fidelity: float) -> float:
    return (1 + 2 * fidelity) / 3


def divergence(p: float, q: float) -> float:
    """Return the relative entropy of a test with chance p to one with chance q, in nats."""
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def alarm_of(watch: Watch, draw: Draw, most: int = 10**6) -> Alarm:
    """Play until the alarm; a run of ``most`` tests without one counts as one there."""
    while watch.alarm is None and watch.tests < most:
        watch = watch.add(draw(4000))
    return watch.alarm or Alarm(watch.tests, watch.tests, "drop")


def run_lengths(watch: Watch, draw: Draw, runs: int, most: int = 10**6) -> NDArray[np.float64]:
    return np.array([alarm_of(watch, draw, most).tests for _ in range(runs)], dtype=float)


def five_sigma(values: NDArray[np.float64]) -> float:
    return float(5 * values.std() / math.sqrt(len(values)))


def exact_run_length(chance: float, before: float, after: float, threshold: float) -> float:
    """Return the mean run length of one Shiryaev-Roberts statistic by its transfer matrix.

    The states are log(R + 1) on a grid, reached by linear interpolation.
    """
    size = 4000
    grid = np.linspace(0.0, math.log(threshold + 1.0), size)
    rows, columns, weights = [], [], []
    for weight, ratio in ((chance, after / before), (1 - chance, (1 - after) / (1 - before))):
        r = np.exp(grid) * ratio
        alive = np.flatnonzero(r < threshold)
        place = np.log1p(r[alive]) / grid[-1] * (size - 1)
        left = np.minimum(place.astype(int), size - 2)
        for shift, share in ((0, 1 - (place - left)), (1, place - left)):
            rows.append(alive)
            columns.append(left + shift)
            weights.append(weight * share)
    matrix = csr_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
        shape=(size, size),
    )
    return float(spsolve((eye_array(size) - matrix).tocsc(), np.ones(size))[0])


@pytest.mark.parametrize(("promised", "fallen"), [(0.95, 0.8), (0.9, 0.6), (0.99, 0.9)])
@pytest.mark.parametrize("arl", [100, 2000])
def test_exact_run_length_of_one_alternative_is_what_was_asked(
    promised: float, fallen: float, arl: int
) -> None:
    before, after = pass_chance(promised), pass_chance(fallen)
    exact = exact_run_length(before, before, after, arl)
    # Overshoot: R + 1 <= A + 1 is multiplied by the ratio of a fail at most.
    assert arl <= exact <= (arl + 1) * (1 - after) / (1 - before)
    assert exact_run_length(pass_chance(0.5 + promised / 2), before, after, arl) > exact
    # A stream that is worse than promised would be found much sooner.
    assert exact_run_length(after, before, after, arl) < 0.6 * arl


def test_simulated_run_length_agrees_with_the_transfer_matrix() -> None:
    rng = generator(1, "change")
    before, after = pass_chance(0.95), pass_chance(0.8)
    found = run_lengths(
        watch_drop(0.95, arl=300, fallen=0.8), lambda n: rng.random(n) < before, 2000
    )
    exact = exact_run_length(before, before, after, 300)
    assert abs(found.mean() - exact) <= five_sigma(found)


@pytest.mark.parametrize("promised", [0.5, 0.9, 0.99])
def test_mean_run_length_at_the_promised_fidelity(promised: float) -> None:
    rng = generator(2, "change", round(1000 * promised))
    found = run_lengths(
        watch_drop(promised, arl=400), lambda n: rng.random(n) < pass_chance(promised), 2000
    )
    assert found.mean() - five_sigma(found) >= 400
    assert found.mean() < 3 * 400  # a watch that never alarms would be of no use


def test_a_fidelity_that_wanders_above_the_promise_is_left_in_peace() -> None:
    rng = generator(3, "change")
    # Ten tests at the promised fidelity, ten above it, and so on: no stationary null at all.
    chance = np.tile(np.repeat([pass_chance(0.9), pass_chance(0.93)], 10), 200)
    found = run_lengths(
        watch_drop(0.9, arl=400), lambda n: rng.random(n) < chance[:n], 2000, most=8000
    )
    assert found.mean() - five_sigma(found) >= 400


def test_the_run_length_gate_can_fail() -> None:
    rng = generator(4, "change")
    found = run_lengths(watch_drop(0.9, arl=400), lambda n: rng.random(n) < pass_chance(0.8), 500)
    assert found.mean() + five_sigma(found) < 400


@pytest.mark.parametrize("drop", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("promised", [0.9, 0.95, 0.99])
def test_delay_is_near_the_information_bound(promised: float, drop: float) -> None:
    rng = generator(5, "change", round(1000 * promised), round(100 * drop))
    before, after = pass_chance(promised), pass_chance(promised - drop)
    good, bound = 500, math.log(10_000) / divergence(after, before)
    delays, missed = [], []
    for _ in range(200):
        watch = watch_drop(promised, arl=10_000).add(rng.random(good) < before)
        if watch.alarm is None:
            found = alarm_of(watch, lambda n: rng.random(n) < after)
            delays.append(found.tests - good)
            missed.append(found.began - good)
            assert found.kind == "drop"
    delay = np.array(delays, dtype=float)
    assert len(delay) > 170
    # Lorden's bound is one for large thresholds: delays near it, on either side, are good.
    assert delay.mean() + five_sigma(delay) < 1.25 * bound
    # The estimate of the beginning is off by a few tests after each of which KL nats are known.
    assert abs(np.median(missed)) < 2 / divergence(after, before)


def test_more_alternatives_cost_little() -> None:
    rng = generator(6, "change")
    after = pass_chance(0.85)
    one, many = (
        run_lengths(watch, lambda n: rng.random(n) < after, 400)
        for watch in (watch_drop(0.95, arl=5000, fallen=0.85), watch_drop(0.95, arl=5000))
    )
    assert many.mean() < 1.4 * one.mean()


# ---------------------------------------------------------------------- after a reference window


@pytest.mark.parametrize("end", [0, 1])
def test_every_level_of_the_reference_interval_is_left_in_peace(end: int) -> None:
    rng = generator(7, "change", end)
    passed, failed = 465, 35
    ends = (betaincinv(passed, failed + 1, 0.025), betaincinv(passed + 1, failed, 0.975))
    watch = watch_change(passed, failed, arl=300)
    found = run_lengths(watch, lambda n: rng.random(n) < ends[end], 2000, most=20_000)
    assert found.mean() - five_sigma(found) >= 300 / 0.95


def test_mean_over_windows_and_streams_is_what_was_asked() -> None:
    rng = generator(8, "change")
    chance = pass_chance(0.9)
    found = []
    for passed in rng.binomial(200, chance, 2000):
        watch = watch_change(int(passed), 200 - int(passed), arl=300, risk=0.2)
        found.append(alarm_of(watch, lambda n: rng.random(n) < chance, most=8000).tests)
    lengths = np.array(found, dtype=float)
    assert lengths.mean() - five_sigma(lengths) >= 300


@pytest.mark.parametrize(("after", "kind"), [(0.75, "drop"), (0.99, "rise")])
def test_both_directions_are_seen_and_named(after: float, kind: str) -> None:
    rng = generator(9, "change", kind)
    watch = watch_change(1860, 140, arl=2000).add(rng.random(200) < pass_chance(0.895))
    found = alarm_of(watch, lambda n: rng.random(n) < pass_chance(after))
    assert found.kind == kind
    assert 200 < found.tests < 500
    assert abs(found.began - 200) < 60


def test_a_perfect_reference_can_only_drop() -> None:
    watch = watch_change(1000, 0, arl=100).add([True] * 5000)
    assert watch.alarm is None
    assert watch.add([False] * 5).alarm is not None


# ------------------------------------------------------------------------------------- as a value


@given(st.lists(st.booleans(), max_size=80), st.integers(0, 80))
def test_batches_and_single_tests_end_alike(bits: list[bool], cut: int) -> None:
    one = watch_drop(0.97, arl=30)
    for bit in bits:
        one = one.add(bit)
    two = watch_drop(0.97, arl=30).add(bits[:cut]).add(bits[cut:])
    assert (one.tests, one.alarm) == (two.tests, two.alarm)
    assert np.array_equal(one.roberts, two.roberts)
    if one.alarm is not None:
        assert 0 <= one.alarm.began < one.alarm.tests == one.tests <= len(bits)


def test_the_start_is_the_most_likely_one() -> None:
    rng = generator(10, "change")
    before, after = pass_chance(0.95), pass_chance(0.7)
    for _ in range(20):
        bits = rng.random(4000) < np.where(np.arange(4000) < 60, before, after)
        watch = watch_drop(0.95, arl=1000, fallen=0.7).add(bits)
        assert watch.alarm is not None
        seen = bits[: watch.tests]
        gain = np.where(seen, math.log(after / before), math.log((1 - after) / (1 - before)))
        since = gain[::-1].cumsum()[::-1]  # log-likelihood ratio of a change at each place
        assert since[watch.alarm.began] == pytest.approx(since.max())


def test_nothing_changes_after_an_alarm_and_a_restart_forgets() -> None:
    watch = watch_drop(0.95, arl=50).add([False] * 10)
    assert watch.alarm is not None
    assert watch.add([True] * 100) is watch
    fresh = watch.restart()
    assert (fresh.tests, fresh.alarm, fresh.roberts.sum()) == (0, None, 0.0)


def test_registers_of_more_qubits_have_their_own_chances() -> None:
    # Seven stabilizers of three qubits: F = 0.9 passes with 1/2 + (8 F - 1)/14.
    watch = watch_drop(0.9, arl=10, fallen=0.5, qubits=3)
    before, after = 0.5 + 6.2 / 14, 0.5 + 3.0 / 14
    assert watch.ratios[:, 0] == pytest.approx([(1 - after) / (1 - before), after / before])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: watch_drop(1.0, arl=100), "promised"),
        (lambda: watch_drop(math.nan, arl=100), "promised"),
        (lambda: watch_drop(0.9, arl=0.5), "arl"),
        (lambda: watch_drop(0.9, arl=math.inf), "arl"),
        (lambda: watch_drop(0.9, arl=100, fallen=0.9), "fallen"),
        (lambda: watch_drop(0.9, arl=100, fallen=-0.1), "fallen"),
        (lambda: watch_drop(0.9, arl=100, qubits=1), "qubits"),
        (lambda: watch_change(-1, 4, arl=100), "counts"),
        (lambda: watch_change(90, 10, arl=100, risk=1.0), "risk"),
        (lambda: watch_change(0, 0, arl=100), "reference of 0 tests"),
        (lambda: watch_drop(0.9, arl=100).add([0.5]), "passed"),
        (lambda: watch_drop(0.9, arl=100).add([[True]]), "passed"),
        (lambda: watch_drop(0.9, arl=100).add([math.nan]), "passed"),
    ],
)
def test_bad_input_names_its_field(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()

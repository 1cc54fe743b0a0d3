"""The confidence sequence holds at all times: exactly on the lattice of counts, and on paths."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import betaincinv

from quantum.errors import InputError
from quantum.estimation.sequence import FidelitySequence, bounds
from quantum.seeding import generator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Interval = Callable[[Floats, Floats], tuple[Floats, Floats]]

FIDELITIES = [0.5, 0.9, 0.99, 0.999]
PATHS, LOOKS = 10_000, 1000


def one_look(passed: Floats, failed: Floats) -> tuple[Floats, Floats]:
    """The exact interval for a number of tests fixed beforehand, in fidelities."""
    low = np.where(passed > 0, betaincinv(np.maximum(passed, 1), failed + 1, 0.025), 0.0)
    high = np.where(failed > 0, betaincinv(passed + 1, np.maximum(failed, 1), 0.975), 1.0)
    return np.clip((3 * low - 1) / 2, 0, 1), np.clip((3 * high - 1) / 2, 0, 1)


def misses(interval: Interval, fidelity: float, n: int) -> Bools:
    """Whether the interval after n tests misses the fidelity, by number of passes."""
    passed = np.arange(n + 1.0)
    low, high = interval(passed, n - passed)
    return (fidelity < low) | (fidelity > high)


def ever_missed(interval: Interval, fidelity: float, looks: int) -> float:
    """Return the exact chance to be missed at some look, one after every test."""
    chance = (1 + 2 * fidelity) / 3
    alive, dead = np.array([1.0]), 0.0
    for n in range(1, looks + 1):
        after = np.zeros(n + 1)
        after[1:] += chance * alive
        after[:-1] += (1 - chance) * alive
        out = misses(interval, fidelity, n)
        dead += float(after[out].sum())
        alive = np.where(out, 0.0, after)
    assert dead + alive.sum() == pytest.approx(1.0)
    return dead


@pytest.mark.parametrize(
    ("fidelity", "missed"), [(0.5, 0.0424), (0.9, 0.0298), (0.99, 0.0122), (0.999, 0.0124)]
)
def test_the_chance_to_be_missed_at_any_of_300_looks(fidelity: float, missed: float) -> None:
    exact = ever_missed(bounds, fidelity, 300)
    assert exact <= 0.05
    assert exact == pytest.approx(missed, abs=1e-4)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_ten_thousand_paths_agree_with_the_lattice(fidelity: float) -> None:
    rng = generator(11, "sequence", round(1000 * fidelity))
    passed = np.zeros(PATHS, dtype=np.int64)
    missed = np.zeros(PATHS, dtype=bool)
    for n in range(1, LOOKS + 1):
        passed += rng.random(PATHS) < (1 + 2 * fidelity) / 3
        missed |= misses(bounds, fidelity, n)[passed]
    exact = ever_missed(bounds, fidelity, LOOKS)
    assert exact <= 0.05 and missed.mean() <= 0.05
    assert abs(missed.mean() - exact) <= 5 * math.sqrt(exact * (1 - exact) / PATHS)


@pytest.mark.parametrize(
    ("fidelity", "looks", "missed"), [(0.5, 300, 0.309), (0.9, 300, 0.227), (0.99, 1000, 0.154)]
)
def test_the_interval_for_one_look_breaks_under_peeking(
    fidelity: float, looks: int, missed: float
) -> None:
    exact = ever_missed(one_look, fidelity, looks)
    assert exact > 3 * 0.05
    assert exact == pytest.approx(missed, abs=1e-3)


def test_width_pays_less_than_double_for_looking_always() -> None:
    for fidelity, price in zip([0.9, 0.99, 0.999], [1.7, 1.6, 1.6], strict=True):
        for n in (100.0, 1000.0):
            passed = np.round(n * (1 + 2 * fidelity) / 3)
            low, high = bounds(passed, n - passed)
            least, most = one_look(passed, n - passed)
            assert 1.0 < (high - low) / (most - least) < price


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from([0.5, 0.95, 1 - 1e-6]))
def test_ends_solve_the_equation_of_the_martingale(s: int, f: int, confidence: float) -> None:
    def log_martingale(p: float) -> float:
        # Written with lgamma, and with the logs of p: the module works with betaln and log odds.
        mixed = math.lgamma(4 + s) + math.lgamma(0.5 + f) - math.lgamma(4.5 + s + f)
        prior = math.lgamma(4) + math.lgamma(0.5) - math.lgamma(4.5)
        return mixed - prior - (s * math.log(p) if s else 0) - (f * math.log1p(-p) if f else 0)

    for end in bounds(s, f, confidence=confidence):
        if 0.0 < end < 1.0:
            p = (1 + 2 * float(end)) / 3
            rounding = 1e-6 + 1e-15 * (s / p + f / (1 - p))  # of lgamma, and of the end itself
            assert abs(log_martingale(p) + math.log1p(-confidence)) <= rounding


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([2, 3, 5]))
def test_batches_and_single_tests_end_alike(bits: list[bool], qubits: int) -> None:
    single = FidelitySequence(qubits=qubits)
    for bit in bits:
        single = single.add(passed=bit, failed=not bit)
    batch = FidelitySequence(qubits=qubits).add(passed=sum(bits), failed=len(bits) - sum(bits))
    assert single.interval() == batch.interval()
    seen = batch.interval()
    assert 0.0 <= seen.low <= seen.best <= seen.high <= 1.0
    low, high = bounds(batch.passed, batch.failed, qubits=qubits)
    assert (float(low), float(high)) == (seen.low, seen.high)


@pytest.mark.parametrize(
    ("passed", "failed"), [(0, 1), (1, 0), (0, 10**7), (10**7, 0), (10**7 - 1, 1), (1, 10**7)]
)
def test_extreme_counts_give_ordered_intervals(passed: int, failed: int) -> None:
    seen = FidelitySequence().add(passed, failed).interval()
    assert 0.0 <= seen.low <= seen.best <= seen.high <= 1.0
    assert (seen.high == 1.0) == (failed == 0)
    if passed == 10**7:
        assert 1e-6 < 1 - seen.low < 3e-6


def test_a_running_interval_never_grows_and_stays_inside() -> None:
    rng = generator(3, "running")
    running, plain = FidelitySequence(running=True), FidelitySequence()
    low, high = 0.0, 1.0
    for bit in rng.random(500) < (1 + 2 * 0.9) / 3:
        running = running.add(passed=int(bit), failed=1 - int(bit))
        plain = plain.add(passed=int(bit), failed=1 - int(bit))
        now, alone = running.interval(), plain.interval()
        assert low <= now.low <= now.best <= now.high <= high
        assert alone.low <= now.low and now.high <= alone.high
        low, high = now.low, now.high
    assert running.consistent and low <= 0.9 <= high


def test_a_running_sequence_notices_that_the_fidelity_has_changed() -> None:
    good = FidelitySequence(running=True).add(1000, 0)
    assert good.consistent
    mixed = good.add(500, 500)
    assert not mixed.consistent
    assert mixed.interval() == FidelitySequence(1500, 500).interval()


def test_registers_of_more_qubits_use_their_own_scale() -> None:
    # 2^n - 1 = 7 stabilizers: 3 of 4 passes are F = (1 + 7 / 2) / 8.
    seen = FidelitySequence(qubits=3).add(750, 250).interval()
    assert seen.best == pytest.approx(4.5 / 8)
    pair = FidelitySequence().add(750, 250).interval()
    chances = [(1 + 2 * end) / 3 for end in (pair.low, pair.high)]
    assert [seen.low, seen.high] == pytest.approx([(1 + 7 * (2 * p - 1)) / 8 for p in chances])


def test_without_tests_everything_is_possible() -> None:
    seen = FidelitySequence(running=True).interval()
    assert (seen.low, seen.high, seen.shots) == (0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: FidelitySequence(confidence=1.0), "confidence"),
        (lambda: FidelitySequence(confidence=math.nan), "confidence"),
        (lambda: FidelitySequence(qubits=1), "qubits"),
        (lambda: FidelitySequence(passed=-1), "counts"),
        (lambda: FidelitySequence().add(failed=-1), "counts"),
        (lambda: bounds([1.0, math.nan], 0), "counts"),
        (lambda: bounds(1, -1), "counts"),
        (lambda: bounds(1, math.inf), "counts"),
    ],
)
def test_bad_input_names_its_field(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()

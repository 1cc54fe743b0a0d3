"""QBER and key fractions: known thresholds, exact coverage, worst cases against random states."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from quantum import bell
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimation.chsh import TSIRELSON, largest_s
from quantum.estimation.qber import (
    bb84,
    binary_entropy,
    device_independent,
    key_fractions,
    qber,
    six_state,
)
from quantum.estimation.tomography import correlator_bounds

FIDELITIES = (0.5, 0.9, 0.99, 0.999)


def werner_of(error):
    return bell.werner(1.0 - 1.5 * error)


def test_thresholds_of_the_literature():
    # 11.00 % (Shor and Preskill), 12.6 % (Lo: six states without preprocessing), 7.1 % (Acin).
    assert brentq(lambda q: bb84(q, q).item(), 0.01, 0.3) == pytest.approx(0.1100, abs=5e-5)
    assert brentq(lambda q: six_state(werner_of(q)).item(), 0.01, 0.3) == pytest.approx(
        0.126, abs=5e-4
    )
    shown = brentq(lambda q: device_independent(q, TSIRELSON * (1 - 2 * q)).item(), 0.01, 0.14)
    assert shown == pytest.approx(0.071, abs=5e-4)


def test_known_values():
    assert binary_entropy(0.11).item() == pytest.approx(0.499916, abs=1e-6)
    assert bb84(0.0, 0.0) == six_state([1.0, 0.0, 0.0, 0.0]) == 1.0
    assert device_independent(0.0, TSIRELSON) == pytest.approx(1.0)
    for s in (2.0, 1.0, 0.0, -TSIRELSON):
        assert device_independent(0.0, s) == 0.0
    # A pure phase flip costs both protocols the same: bit errors need none of the entropy.
    weights = [0.9, 0.1, 0.0, 0.0]
    assert six_state(weights) == pytest.approx(bb84(0.1, 0.0).item())


def test_six_states_never_give_less_than_two_bases():
    # Entropy is subadditive: H(populations) <= h(e_x) + h(e_z).
    weights = np.random.default_rng(1).dirichlet(np.ones(4), 1000)
    error = 1.0 - bell.pass_probability(weights)
    assert (six_state(weights) >= bb84(error[:, 0], error[:, 2]) - 1e-12).all()


def test_device_independent_key_is_the_least():
    weights = np.random.default_rng(2).dirichlet(np.ones(4) * 0.3, 2000)
    error = 1.0 - bell.pass_probability(weights)
    s = largest_s(bell.correlators(weights))
    assert (device_independent(error[:, 2], s) <= six_state(weights) + 1e-9).all()


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("shots", [30, 100, 1000])
def test_qber_coverage_by_exact_summation(fidelity, shots):
    error = 2.0 * (1.0 - fidelity) / 3.0
    total = 0.0
    for failed in range(shots + 1):
        found = qber(Counts(zz=Tally(shots - failed, failed)))["zz"]
        total += binom.pmf(failed, shots, error) * (found.low <= error <= found.high)
    assert total >= 0.95


def truth_of(weights):
    error = 1.0 - bell.pass_probability(weights)
    s = largest_s(bell.correlators(weights))
    return {
        "bb84": bb84(error[..., 0], error[..., 2]),
        "six_state": six_state(weights),
        "device_independent": device_independent(error[..., 2], s),
    }


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_joint_coverage_of_key_fractions_by_exact_summation(fidelity):
    # Seven tests in each basis, every outcome; all three fractions must be right at once.
    weights = bell.werner(fidelity)
    truth = {name: value.item() for name, value in truth_of(weights).items()}
    pmf = binom.pmf(np.arange(8), 7, bell.pass_probability(weights)[0])
    total = 0.0
    for passed in itertools.product(range(8), repeat=3):
        keys = key_fractions(Counts(*(Tally(k, 7 - k) for k in passed)))
        parts = {name: getattr(keys, name).raw for name in truth}
        inside = all(
            parts[name].low - 1e-9 <= truth[name] <= parts[name].high + 1e-9 for name in truth
        )
        total += pmf[list(passed)].prod() * inside
    assert total >= 0.95


@pytest.mark.parametrize("shots", [30, 100])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_joint_coverage_by_simulation(fidelity, shots):
    weights = bell.werner(fidelity)
    truth = {name: value.item() for name, value in truth_of(weights).items()}
    rng = np.random.default_rng([shots, int(1e4 * fidelity)])
    bases = rng.multinomial(shots, [1 / 3] * 3, 10_000)
    passes = rng.binomial(bases, bell.pass_probability(weights))
    tables = np.stack([passes, bases - passes], axis=-1)
    # Where the box of correlators holds the state, so do all its key fractions (next test); only
    # the other outcomes need a look one by one.
    low, high = correlator_bounds(tables, 0.95)
    c = bell.correlators(weights)
    outside = np.flatnonzero(~((low <= c) & (c <= high)).all(axis=-1))
    wrong = 0
    for table in tables[outside]:
        keys = key_fractions(Counts.from_array(table))
        parts = {name: getattr(keys, name).raw for name in truth}
        wrong += not all(parts[name].low <= truth[name] <= parts[name].high for name in truth)
    assert wrong <= 500


def test_bounds_hold_for_every_state_in_the_box():
    rng = np.random.default_rng(3)
    states = np.concatenate([rng.dirichlet([8, 1, 1, 1], 100_000), rng.dirichlet([1] * 4, 100_000)])
    c = bell.correlators(states)
    truth = truth_of(states)
    checked = 0
    for _ in range(30):
        passed = rng.integers([8, 8, 8], 16)
        counts = Counts(*(Tally(int(k), int(16 - k)) for k in passed))
        low, high = correlator_bounds(counts.to_array(), 0.95)
        inside = ((c >= low) & (c <= high)).all(axis=-1)
        if inside.sum() < 50:
            continue
        checked += 1
        keys = key_fractions(counts)
        for name, values in truth.items():
            part = getattr(keys, name).raw
            assert part.low <= values[inside].min() + 1e-9
            assert part.high >= values[inside].max() - 1e-9
    assert checked > 10


def test_worst_cases_are_not_looser_than_needed():
    counts = Counts(*[Tally(9800, 200)] * 3)
    keys = key_fractions(counts)
    for part in (keys.bb84, keys.six_state, keys.device_independent):
        assert part.raw.low < part.best < part.raw.high
        assert part.raw.high - part.raw.low < 0.15
        assert part.best == part.raw.best
    high = max(x.high for x in qber(counts, confidence=1 - 0.05 / 3).values())
    assert keys.bb84.raw.low == pytest.approx(bb84(high, high).item())


@given(st.lists(st.integers(0, 300), min_size=6, max_size=6))
def test_fractions_are_ordered_and_clipped(numbers):
    counts = Counts.from_array(np.array(numbers).reshape(3, 2))
    keys = key_fractions(counts)
    for part in (keys.bb84, keys.six_state, keys.device_independent):
        assert -1.0 - 1e-9 <= part.raw.low <= part.raw.best <= part.raw.high <= 1.0
        assert part.low == max(0.0, part.raw.low)
        assert part.best == max(0.0, part.raw.best)
        assert 0.0 <= part.low <= part.best <= part.high <= 1.0
    for value in qber(counts).values():
        assert 0.0 <= value.low <= value.best <= value.high <= 1.0


def test_without_tests_there_is_no_key():
    keys = key_fractions(Counts())
    for part in (keys.bb84, keys.six_state, keys.device_independent):
        assert part.best == part.low == 0.0
        assert part.high == 1.0
    assert keys.bb84.raw.best == -1.0
    empty = qber(Counts())["xx"]
    assert (empty.low, empty.best, empty.high) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bb84(-0.1, 0.0), "qber_xx must be between 0 and 1"),
        (lambda: bb84(0.0, math.nan), "qber_zz must be between 0 and 1"),
        (lambda: six_state([0.5, 0.5, 0.5, 0.5]), "populations must be four weights"),
        (lambda: six_state([0.5, 0.5]), "populations must be four weights"),
        (lambda: six_state([1.5, -0.5, 0.0, 0.0]), "populations must be between"),
        (lambda: device_independent(1.1, 2.0), "qber must be between 0 and 1"),
        (lambda: device_independent(0.1, 2.9), "s must be between"),
        (lambda: device_independent(0.1, math.nan), "s must be between"),
        (lambda: qber(Counts(), confidence=0.0), "confidence"),
        (lambda: key_fractions(Counts(), confidence=2.0), "confidence"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()

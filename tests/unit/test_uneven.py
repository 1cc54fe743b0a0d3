"""Fidelity without random bases: the test of the split, and coverage for fixed designs."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from quantum import bell, ghz
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import estimate, estimate_batch
from quantum.estimation.box import population_bounds
from quantum.estimation.spam import Bit, Readout, correct
from quantum.estimation.tomography import correlator_bounds
from quantum.estimation.uneven import LEVEL, drawn, fidelity_of, ghz_fidelity_of

STATES = [
    [0.925, 0.025, 0.025, 0.025],
    [0.9, 0.1, 0.0, 0.0],
    [0.5, 0.0, 0.5, 0.0],
    [0.99, 0.0, 0.0, 0.01],
]


def counts_of(passed, tests):
    return Counts(*(Tally(int(p), int(n - p)) for p, n in zip(passed, tests, strict=True)))


def outcomes(chances, tests):
    """Yield every outcome of a fixed design with its exact probability."""
    for passed in product(*(range(n + 1) for n in tests)):
        weight = float(np.prod(binom.pmf(passed, tests, chances)))
        if weight > 0.0:
            yield passed, weight


# --------------------------------------------------------------------------- the test of the split


@pytest.mark.parametrize("total", [1, 2, 7, 11, 12, 30, 120])
def test_random_draws_are_rarely_called_uneven(total):
    splits = [(a, b, total - a - b) for a in range(total + 1) for b in range(total + 1 - a)]
    alarms = [split for split in splits if drawn(split) == "uneven"]
    chance = float(multinomial.pmf(alarms, total, [1 / 3] * 3).sum()) if alarms else 0.0
    assert chance <= LEVEL
    assert (chance > LEVEL / 1000) == (total > 10)  # and it is not deaf


@pytest.mark.parametrize("split", [(400, 300, 300), (420, 290, 290), (20, 0, 5), (5, 9, 7)])
def test_tails_are_those_of_binomial_numbers(split):
    total = sum(split)
    tails = [binom.sf(k - 1, total, 1 / 3) for k in split]
    tails += [binom.cdf(k, total, 1 / 3) for k in split]
    assert (drawn(split) == "uneven") == (6 * min(tails) < LEVEL)


def test_splits_of_any_size():
    many = 10**12
    assert drawn([0, 0, 0]) == "random"
    assert drawn([many, many, many]) == "random"
    assert drawn([many, many + 3 * 10**6, many]) == "random"
    assert drawn([many, many + 10**7, many]) == "uneven"
    assert drawn([many, 0, 0]) == "uneven"
    with np.errstate(all="raise"):
        assert drawn([1, many, many]) == "uneven"


# ---------------------------------------------------------------------------------------- coverage


@pytest.mark.parametrize("tests", [(100, 0, 0), (0, 200, 100), (60, 30, 10), (9000, 20, 20)])
@pytest.mark.parametrize("state", STATES)
def test_fixed_designs_are_covered_in_simulation(state, tests):
    size, confidence = 10_000, 0.95
    rng = np.random.default_rng([*tests, *(np.array(state) * 1000).astype(int)])
    passed = rng.binomial(tests, (1.0 + bell.correlators(state)) / 2.0, (size, 3))
    table = np.stack([passed, np.array(tests) - passed], axis=-1)
    least, most, _ = population_bounds(*correlator_bounds(table, confidence))
    covered = ((least[:, 0] <= state[0] + 1e-9) & (state[0] <= most[:, 0] + 1e-9)).mean()
    assert covered >= confidence - 5 * np.sqrt(0.05 * 0.95 / size)
    for row in range(5):  # and that is what is reported
        found, bases = fidelity_of(counts_of(passed[row], tests), confidence=confidence)
        assert bases == "uneven"
        assert (found.low, found.high) == pytest.approx((least[row, 0], most[row, 0]), abs=1e-12)
        assert found.low <= found.best <= found.high


def test_pooled_passes_would_not_be_covered():
    state, tests = STATES[2], (9000, 20, 20)
    rng = np.random.default_rng(3)
    passed = rng.binomial(tests, (1.0 + bell.correlators(state)) / 2.0, (10_000, 3))
    low, _, _ = estimate_batch(np.stack([passed, np.array(tests) - passed], axis=-1))
    assert (low > state[0]).all()


@pytest.mark.parametrize("tests", [(20, 0, 0), (0, 20, 5), (3, 2, 16)])
@pytest.mark.parametrize("state", STATES)
def test_fixed_designs_are_covered_exactly(state, tests):
    chances = (1.0 + bell.correlators(state)) / 2.0
    covered = 0.0
    for passed, weight in outcomes(chances, tests):
        found, bases = fidelity_of(counts_of(passed, tests), confidence=0.9, bases="uneven")
        assert bases == "uneven"
        covered += weight * (found.low - 1e-9 <= state[0] <= found.high + 1e-9)
    assert covered >= 0.9 - 1e-9


@pytest.mark.parametrize("error", [0.0, 0.05])
@pytest.mark.parametrize("state", STATES)
def test_corrected_fidelities_are_covered_exactly(state, error):
    tests, left, right = (3, 16, 2), 0.04, (0.02, 0.06)
    scale, offset = (1 - 2 * left) * (1 - sum(right)), 0.0
    readout = Readout(Bit(left), Bit(*right))
    if error:
        readout = {b: Readout(Bit(0.01, 0.05), Bit(0.02, 0.06)) for b in bell.BASES}
        scale, offset = 0.94 * 0.92, 0.04 * 0.04
    signs = np.array([1.0, -1.0, 1.0])
    chances = (1.0 + scale * bell.correlators(state) + offset * signs) / 2.0
    covered = 0.0
    for passed, weight in outcomes(chances, tests):
        counts = counts_of(passed, tests)
        found = correct(counts, readout, confidence=0.9, bases="uneven").corrected
        assert found.low <= found.best <= found.high
        covered += weight * (found.low - 1e-9 <= state[0] <= found.high + 1e-9)
    assert covered >= 0.9 - 1e-9


def test_the_uncertainty_of_a_calibration_widens():
    counts = counts_of((9900, 20, 19), (10_000, 20, 20))
    exact = correct(counts, Readout(Bit(0.01))).corrected
    calibrated = correct(counts, Readout(Bit(Tally(990, 10)))).corrected
    assert calibrated.low < exact.low < exact.best <= exact.high <= calibrated.high
    assert calibrated.best == pytest.approx(exact.best, abs=1e-3)
    unknown = correct(counts, Readout(Bit(Tally(3, 3)))).corrected
    assert (unknown.low, unknown.high) == (0.0, 1.0)
    perfect = correct(counts, Readout()).corrected
    assert perfect == fidelity_of(counts)[0]


@pytest.mark.parametrize("each", [1, 3, 10, 30])
def test_equal_fixed_numbers_are_covered_by_the_pooled_interval_too(each):
    table = np.array(
        [[[passed, 3 * each - passed]] + [[0, 0]] * 2 for passed in range(3 * each + 1)]
    )
    low, _, high = estimate_batch(table)
    states = np.random.default_rng(5).dirichlet([3, 0.4, 0.4, 0.4], 300)
    for state in [*STATES, *states, *np.eye(4)]:
        law = np.ones(1)
        for chance in np.clip((1.0 + bell.correlators(state)) / 2.0, 0.0, 1.0):
            law = np.convolve(law, binom.pmf(np.arange(each + 1), each, chance))
        assert law[(low <= state[0] + 1e-9) & (state[0] <= high + 1e-9)].sum() >= 0.95


# ------------------------------------------------------------------------------------- random bases


def test_random_bases_give_the_usual_estimate():
    counts = counts_of((320, 318, 321), (333, 334, 333))
    assert fidelity_of(counts, confidence=0.9) == (estimate(counts, confidence=0.9), "random")
    assert fidelity_of(Counts())[0] == estimate(Counts())
    lopsided = counts_of((100, 2, 2), (100, 2, 2))
    assert fidelity_of(lopsided, bases="random") == (estimate(lopsided), "random")
    assert fidelity_of(lopsided)[1] == "uneven"
    assert fidelity_of(counts, bases="uneven")[0].low < estimate(counts).low


# --------------------------------------------------------------------------------------------- GHZ


@pytest.mark.parametrize("passed", [(9990, 10, 10), (98, 0, 0), (5000, 20, 20), (9000, 3, 18)])
def test_pairs_by_linear_program_as_by_corners(passed):
    tests = (10_000, 20, 20) if passed[1] else (100, 0, 0)
    counts = counts_of(passed, tests)
    named = dict(zip(bell.BASES, (counts.xx, counts.yy, counts.zz), strict=True))
    corners, bases = fidelity_of(counts, bases="uneven")
    program, same = ghz_fidelity_of(named, bases="uneven")
    assert bases == same
    assert (program.low, program.high) == pytest.approx((corners.low, corners.high), abs=1e-6)


def test_fixed_designs_of_ghz_states_are_covered_exactly():
    state = np.array([0.8, 0.1, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01])
    labels = ghz.labels(3)
    chosen = {"xxx": 11, "zzi": 4}
    chances = [ghz.pass_probability(state)[labels.index(name)] for name in chosen]
    covered = 0.0
    for passed, weight in outcomes(chances, tuple(chosen.values())):
        tallies = {
            name: Tally(p, n - p) for p, (name, n) in zip(passed, chosen.items(), strict=True)
        }
        found, bases = ghz_fidelity_of(tallies, confidence=0.8)
        assert bases == "uneven"
        assert found.low <= found.best <= found.high
        covered += weight * (found.low <= state[0] <= found.high)
    assert covered >= 0.8


def test_what_no_state_shows_promises_nothing():
    never = {label: Tally(0, 500) for label in ("xxx", "zzi", "izz", "ziz")}
    found, bases = ghz_fidelity_of(never)
    assert bases == "uneven" and (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: fidelity_of(Counts(), confidence=1.0), "confidence"),
        (lambda: fidelity_of(Counts(), bases="fixed"), "bases"),
        (lambda: ghz_fidelity_of({}), "one stabilizer"),
        (lambda: ghz_fidelity_of({"xxz": Tally(1, 1)}), "'xxz'"),
        (lambda: ghz_fidelity_of({"xxx": Tally(1, 1), "xx": Tally(1, 1)}), "'xx'"),
        (lambda: ghz_fidelity_of({"x" * 40: Tally(1, 1)}), "xxx"),
    ],
)
def test_bad_input_is_named(call, field):
    with pytest.raises(InputError, match=field):
        call()

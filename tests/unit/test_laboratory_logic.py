"""What counts of a link mean, and what is done about it: pure, against the bench's physics."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.laboratory.compensation import Compensation, within
from backends.laboratory.diagnosis import (
    Health,
    LinkState,
    Trouble,
    after_failure,
    after_success,
    due,
    look,
)
from backends.laboratory.evidence import Evidence, Rates, Window, window_of
from backends.laboratory.stock import Stock
from firmware_stubs.bench.ports import Plate, Squeezer
from firmware_stubs.bench.setup import BenchSetup, LinkSetup
from firmware_stubs.bench.shared import ANALYSER_DEG, SharedBench
from quantum.errors import DeviceProtocol
from quantum.rack_optics import CalibrationEntry
from quantum.seeding import generator

POLICY = CalibrationEntry(window_s=3.0, alarm_below=0.9, reached=0.93, retry_s=5.0)
SINGLES = (2000, 2000, 2000, 2000)
REFERENCE = Rates(pairs_hz=8000.0, singles_hz=(20_000.0,) * 4)
STATE = LinkState(health=Health.UP, reason="", calibration="a-b-1", reference=REFERENCE)


def window(
    basis: int = 2,
    pairs: int = 800,
    fidelity: float = 0.95,
    singles: tuple[int, int, int, int] = SINGLES,
    since_s: float = 0.0,
) -> Window:
    passed = round(pairs * (1.0 + 2.0 * fidelity) / 3.0)
    return Window(basis, passed, pairs - passed, singles, 0.1, since_s)


def seen(*windows: Window) -> Evidence:
    evidence = Evidence(keep_s=POLICY.window_s)
    for one in windows:
        evidence.add(one)
    return evidence


GOOD = tuple(window(basis, since_s=-0.3 + 0.1 * basis) for basis in range(3))


@pytest.mark.parametrize(
    ("latest", "trouble"),
    [
        (window(), Trouble.NONE),
        # Half of the light: fewer of everything, and nothing wrong.
        (window(pairs=400, singles=(1000,) * 4), Trouble.NONE),
        # Twice the pump.
        (window(pairs=1600, singles=(4000,) * 4), Trouble.NONE),
        # Half of one arm only.
        (window(pairs=400, singles=(1000, 1000, 2000, 2000)), Trouble.NONE),
        (window(pairs=4), Trouble.TIMING),
        (window(pairs=0, singles=(0, 0, 0, 0)), Trouble.NO_LIGHT),
        (window(pairs=0, singles=(10, 10, 2000, 2000)), Trouble.DARK_ARM),
        (window(pairs=400, singles=(0, 2000, 2000, 2000)), Trouble.DARK_DETECTOR),
        # One detector that counts dark counts only.
        (window(pairs=400, singles=(20, 2000, 2000, 2000)), Trouble.DARK_DETECTOR),
    ],
)
def test_the_light_is_asked_first(latest: Window, trouble: Trouble) -> None:
    assert look(seen(*GOOD, latest), STATE, POLICY, now_s=0.1) is trouble


def test_a_jump_of_the_polarisation_is_a_trouble_of_the_state() -> None:
    bad = [window(basis, fidelity=0.5, since_s=0.1 * basis) for basis in range(3)]
    assert look(seen(*GOOD, *bad), STATE, POLICY, now_s=0.35) is Trouble.STATE
    # Of ten pairs nobody can be sure.
    few = [window(basis, pairs=10, fidelity=0.8, since_s=0.0) for basis in range(3)]
    unsure = msgspec.structs.replace(POLICY)
    quiet = LinkState(health=Health.UP, reason="", calibration="a-b-1")
    assert look(seen(*few), quiet, unsure, now_s=0.1) is Trouble.NONE


def test_chance_alone_raises_no_alarm() -> None:
    """300 windows at 0.02 above the alarm, with intervals of 99.9 % that are wider than that."""
    rng = generator(1, "alarms")
    evidence = Evidence(keep_s=POLICY.window_s)
    alarms = 0
    for number in range(300):
        passed = int(rng.binomial(80, (1.0 + 2.0 * 0.92) / 3.0))
        evidence.add(Window(number % 3, passed, 80 - passed, SINGLES, 0.1, 0.1 * number))
        quiet = LinkState(health=Health.UP, reason="", calibration="a-b-1")
        alarms += look(evidence, quiet, POLICY, 0.1 * number) is not Trouble.NONE
    assert alarms <= 1


def test_a_drift_below_the_alarm_is_seen_within_a_second_of_windows() -> None:
    rng = generator(2, "drift")
    evidence = Evidence(keep_s=POLICY.window_s)
    quiet = LinkState(health=Health.UP, reason="", calibration="a-b-1")
    for number in range(60):
        passed = int(rng.binomial(800, (1.0 + 2.0 * 0.8) / 3.0))
        evidence.add(Window(number % 3, passed, 800 - passed, SINGLES, 0.1, 0.02 * number))
        if look(evidence, quiet, POLICY, 0.02 * number) is Trouble.STATE:
            break
    assert number < 10


@pytest.mark.parametrize(
    ("even", "odd", "singles", "match"),
    [
        (-1, 4, SINGLES, "even counts"),
        (1, 2**31, SINGLES, "odd counts"),
        (1.5, 2, SINGLES, "even counts"),
        (math.nan, 2, SINGLES, "even counts"),
        (True, 2, SINGLES, "even counts"),
        (1, 2, (9, -9, 9, 9), "singles counts"),
        (5000, 0, SINGLES, "5000 coincidences cannot come from"),
    ],
)
def test_impossible_counts_never_become_a_window(
    even: int, odd: int, singles: tuple[int, int, int, int], match: str
) -> None:
    with pytest.raises(DeviceProtocol, match=match):
        window_of(2, even, odd, singles, 0.1, 0.0)


def test_estimates_have_an_age_and_a_calibration() -> None:
    known = seen(*GOOD).estimate(now_s=7.0, calibration="a-b-3")
    assert known.calibration == "a-b-3"
    assert known.age_s == pytest.approx(7.1)
    assert known.fidelity.low < 0.95 < known.fidelity.high
    nothing = Evidence(keep_s=1.0).estimate(now_s=7.0, calibration="")
    assert (nothing.fidelity.low, nothing.fidelity.high, nothing.age_s) == (0.0, 1.0, math.inf)


def test_intervals_of_uneven_bases_cover() -> None:
    rng = generator(3, "uneven")
    covered = 0
    for _ in range(300):
        evidence = Evidence(keep_s=math.inf)
        for basis, pairs in enumerate((60, 200, 400)):
            passed = int(rng.binomial(pairs, (1.0 + 2.0 * 0.93) / 3.0))
            evidence.add(Window(basis, passed, pairs - passed, SINGLES, 0.1, 0.0))
        found = evidence.fidelity()
        covered += found.low <= 0.93 <= found.high
    # At least 95 % each; 275 or fewer of 300 has probability 1e-2 at exactly 95 %.
    assert covered > 275


def test_failures_take_a_link_down_and_time_brings_another_try() -> None:
    policy = msgspec.structs.replace(POLICY, attempts=2)
    one = after_failure(STATE, "no peak", policy, 10.0)
    two = after_failure(one, "no peak", policy, 11.0)
    assert (one.health, two.health) == (Health.DEGRADED, Health.DOWN)
    assert due(one, policy, 10.0)
    assert not due(two, policy, 15.9)
    assert due(two, policy, 16.0)
    up = after_success(two, "a-b-2", REFERENCE, 20.0)
    assert (up.health, up.failures, up.calibration) == (Health.UP, 0, "a-b-2")
    assert not due(up, policy, 20.0 + policy.every_s)
    assert due(up, policy, 20.1 + policy.every_s)
    never = msgspec.structs.replace(policy, calibrate="never")
    assert due(LinkState(), never, 0.0)
    assert not due(up, never, 1e9)
    gone = after_failure(after_failure(LinkState(), "no", never, 1.0), "no", never, 2.0)
    assert not due(gone, never, 2.0), "links after it have their turn first"
    assert due(gone, never, 2.0 + policy.retry_s)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8
    ),
    st.integers(0, 200),
    st.integers(0, 2**32),
)
def test_stock_neither_makes_nor_loses_pairs(
    windows: list[tuple[int, int, int]], need: int, seed: int
) -> None:
    stock = Stock(max_age_s=10.0)
    for basis, passed, failed in windows:
        stock.add(4, Window(basis, passed, failed, SINGLES, 0.1, 0.0))
    before = [stock.size(4, basis, 1.0) for basis in range(3)]
    assert before == [sum(p + f for b, p, f in windows if b == basis) for basis in range(3)]
    taken, passed = stock.take(4, 1, need, 1.0, generator(seed, "stock"))
    assert taken == min(need, before[1])
    assert 0 <= passed <= taken
    assert stock.size(4, 1, 1.0) == before[1] - taken
    assert stock.size(3, 1, 1.0) == 0
    assert stock.size(4, 2, 10.1) == 0, "what is too old is gone"


@pytest.mark.parametrize("seed", range(12))
def test_compensation_undoes_any_fibre_from_counts(seed: int) -> None:
    """A source of 0.96, 400 pairs a point, the half-wave voltage known to 5 %: at least 0.925."""
    half_wave = 1500.0 * (0.95 + 0.1 * float(generator(seed, "half wave").random()))
    link = LinkSetup(rate_hz=40_000.0, fidelity=0.96, half_wave_mv=half_wave)
    bench = SharedBench(BenchSetup(link=(link,), switched=False), seed)
    rng = generator(seed, "counts")
    search = Compensation((0.0, 0.0, 0.0, 0.0), 1500.0, 5000.0, reached=0.905)
    now_s = 0.0
    while search.probe is not None:
        Squeezer(bench, 0).set_voltages_mv(search.probe.voltages_mv, now_s)
        for plate in range(4):
            angle = ANALYSER_DEG[search.probe.basis][plate % 2]
            Plate(bench, plate).set_angle_deg(angle, now_s)
        pairs = bench.events(now_s, now_s + 0.06, None, rng).pairs
        search.tell(2.0 * float(np.trace(pairs)) / float(pairs.sum()) - 1.0)
        now_s += 0.06
    Squeezer(bench, 0).set_voltages_mv(search.best, now_s)
    assert search.probes <= 360
    assert bench.link_truth(0, now_s, 2000.0)["fidelity"] > 0.925


@given(st.lists(st.floats(-2e4, 2e4), min_size=4, max_size=4), st.floats(200.0, 4000.0))
def test_voltages_unwind_by_whole_waves(volts: list[float], half_wave: float) -> None:
    a, b, c, d = volts
    near = within((a, b, c, d), half_wave, 5000.0)
    for before, after in zip(volts, near, strict=True):
        assert abs(after) <= min(5000.0, half_wave * (1.0 + 1e-9))
        waves = (before - after) / (2.0 * half_wave)
        assert abs(waves - round(waves)) < 1e-6


def test_a_correlator_is_no_more_than_one() -> None:
    search = Compensation((0.0, 0.0, 0.0, 0.0), 1500.0, 5000.0, 0.9)
    for wrong in (1.5, -2.0, math.nan):
        with pytest.raises(ValueError, match="correlator"):
            search.tell(wrong)

"""The bench of a rack: counts, accidentals, dead time, latching, switch and light, by formula."""

import math
import time

import msgspec
import numpy as np
import pytest

from firmware_stubs.bench import CountedBench, gated
from firmware_stubs.bench.detector import DetectorSetup, counted_hz
from firmware_stubs.bench.ports import (
    Counting,
    Detectors,
    Meter,
    Plate,
    Pump,
    Shutter,
    Squeezer,
    Switch,
)
from firmware_stubs.bench.setup import BenchSetup, LinkSetup
from firmware_stubs.bench.shared import ANALYSER_DEG, SharedBench
from firmware_stubs.bench.tags import without_dead_time
from firmware_stubs.ports import (
    CountingPort,
    DetectorPort,
    LightPort,
    RotatorPort,
    ShutterPort,
    SqueezerPort,
    SwitchPort,
)
from quantum.errors import InputError
from quantum.links.spdc import coincidence
from quantum.seeding import generator

QUIET = DetectorSetup(dark_hz=0.0, dead_time_s=0.0, noise_mv=1.0)
STRAIGHT = LinkSetup(straight=True)


def bench(*links: LinkSetup, detector: DetectorSetup = QUIET, **more: object) -> SharedBench:
    more = {"switched": False, "switch_loss_db": 0.0, "switch_settle_s": 0.02} | more
    return SharedBench(BenchSetup(link=links, detector=(detector,) * 4, **more), seed=3)


def look(table: SharedBench, basis: int, now_s: float = 0.0) -> None:
    for plate in range(4):
        Plate(table, plate).set_angle_deg(ANALYSER_DEG[basis][plate % 2], now_s)


def test_the_ports_are_what_stubs_are_promised() -> None:
    table = bench(STRAIGHT)
    counted: CountedBench = table
    ports: tuple[
        RotatorPort, SqueezerPort, SwitchPort, DetectorPort, CountingPort, LightPort, ShutterPort
    ] = (
        Plate(table, 0),
        Squeezer(table, 0),
        Switch(table),
        Detectors(table),
        Counting(table),
        Pump(table),
        Shutter(table),
    )
    assert counted is table and len(ports) == 7


def test_rates_follow_the_closed_form() -> None:
    glow = bench(STRAIGHT).glow(0.0)
    assert glow.counts_hz == pytest.approx([20_000.0 * 0.5 * 0.8 / 2.0] * 4)
    assert glow.both_hz.sum() == pytest.approx(20_000.0 * 0.5**2 * 0.8**2)


@pytest.mark.parametrize("basis", [0, 1, 2])
def test_plates_choose_what_is_counted(basis: int) -> None:
    table = bench(msgspec.structs.replace(STRAIGHT, fidelity=0.91))
    look(table, basis)
    both = table.glow(1.0).both_hz
    even = np.trace(both) / both.sum()
    passes = (1.0 + 2.0 * 0.91) / 3.0
    assert even == pytest.approx(1.0 - passes if basis == 1 else passes)
    assert table.link_truth(0, 1.0, 2000.0)["fidelity"] == pytest.approx(0.91)


def test_counts_are_poissonian_about_the_exact_mean() -> None:
    table = bench(STRAIGHT)
    look(table, 2)
    table.events(0.0, 1.0, None, generator(1, "a"))
    seen = [table.events(0.0, 0.1, None, generator(k, "a")).pairs.sum() for k in range(400)]
    # 320 pairs in 0.1 s; 400 means: deviation sqrt(320/400); five of them.
    assert np.mean(seen) == pytest.approx(320.0, abs=5.0 * math.sqrt(320.0 / 400.0))
    # Variance of 400 Poisson numbers: 7 %; five of them.
    assert np.var(seen) == pytest.approx(320.0, rel=0.36)


def test_accidentals_are_s1_s2_tau_and_give_the_ratio() -> None:
    """CAR: coincidences over accidentals, with two detectors that see independent light."""
    loud = DetectorSetup(dark_hz=2e5, dead_time_s=0.0, noise_mv=1.0)
    table = bench(msgspec.structs.replace(STRAIGHT, rate_hz=0.0), detector=loud)
    rng = generator(2, "accidentals")
    events = table.events(0.0, 50.0, None, rng)
    flat = gated(table, events, 0, 2, -1000.0, 1000.0, rng)
    expected = 2e5 * 2e5 * 2e-9 * 50.0
    assert flat == pytest.approx(expected, abs=5.0 * math.sqrt(expected))
    lit = bench(STRAIGHT, detector=DetectorSetup(dark_hz=2e4, dead_time_s=0.0, noise_mv=1.0))
    look(lit, 2)
    events = lit.events(0.0, 200.0, None, rng)
    gate = [gated(lit, events, 0, 2, low, low + 2000.0, rng) for low in (-1000.0, 50_000.0)]
    singles = 4000.0 + 2e4
    pairs = 3200.0 * (1.0 + 2.0 * 0.95) / 3.0 / 2.0
    accidental = singles * singles * 2e-9
    ratio = (pairs + accidental) / accidental
    assert gate[0] / gate[1] == pytest.approx(ratio, rel=5.0 / math.sqrt(accidental * 200.0))


def test_pairs_of_one_pulse_mix_as_the_source_model_says() -> None:
    """Against ``quantum.links.spdc`` at small gain: the correlator of what is seen together.

    Poissonian pairs, gain mu, each photon seen with chance eta: a detector is silent with
    exp(-mu eta / 2), two correlated ones with exp(mu eta^2 / 2) times the product.
    """
    gain, eta = 0.02, 1e-3
    _, expected = coincidence(-gain * eta / 2.0, -gain * eta / 2.0, gain * eta * eta / 2.0)
    link = LinkSetup(straight=True, fidelity=1.0, rate_hz=gain * 1e6, pulse_hz=1e6)
    both = bench(link).glow(0.0).both_hz
    seen = 2.0 * np.trace(both) / both.sum() - 1.0
    assert seen == pytest.approx(expected, rel=1e-4)


def test_dead_time_and_afterpulses() -> None:
    slow = DetectorSetup(dark_hz=0.0, dead_time_s=50e-6, afterpulse=0.1, noise_mv=1.0)
    rate = 20_000.0 * 0.5 * 0.8 / 2.0 / 0.9
    expected = rate / (1.0 + rate * 50e-6)
    assert bench(STRAIGHT, detector=slow).glow(0.0).counts_hz[0] == pytest.approx(expected)
    assert counted_hz(DetectorSetup(dead_time_s=1e-6, dark_hz=0.0), 1e9) < 1e6


def test_dead_time_acts_on_tags() -> None:
    rng = np.random.default_rng(5)
    times = np.sort(rng.uniform(0.0, 1.0, 100_000))
    kept, last = [], -1.0
    for moment in times.tolist():
        if moment - last >= 2e-5:
            kept.append(moment)
            last = moment
    assert without_dead_time(times, 2e-5).tolist() == kept
    # Non-paralysable: m = r / (1 + r tau).
    assert len(kept) == pytest.approx(1e5 / (1.0 + 1e5 * 2e-5), rel=0.02)


def test_tags_show_the_pairs_where_the_skew_is() -> None:
    table = bench(msgspec.structs.replace(STRAIGHT, skew_ps=4000.0, fidelity=1.0))
    look(table, 2)
    port = Counting(table)
    tags = [port.tags_ps(d, 0.0, 1.0).astype(np.int64) for d in range(4)]
    assert all(np.all(np.diff(t) >= 0) for t in tags)
    assert np.array_equal(port.tags_ps(0, 0.25, 0.5), [t for t in tags[0] if 25e10 <= t < 50e10])
    nearest = np.searchsorted(tags[2], tags[0] - 4000)
    gaps = tags[0] - tags[2][np.minimum(nearest, len(tags[2]) - 1)]
    before = tags[0] - tags[2][np.maximum(nearest - 1, 0)]
    together = np.sum((np.abs(gaps - 4000) < 1000) | (np.abs(before - 4000) < 1000))
    # 1600 pairs show ++ in a second.
    assert together == pytest.approx(1600, abs=5 * 40)
    assert len(tags[0]) == pytest.approx(4000, abs=5 * 64)


def test_a_detector_latches_at_its_rate_and_recovers_by_its_bias() -> None:
    weak = DetectorSetup(dark_hz=0.0, dead_time_s=0.0, noise_mv=1.0, latch_hz=5000.0)
    table = bench(STRAIGHT, detector=weak)
    port = Detectors(table)
    assert port.clicks(0, 0.0, 1.0) == pytest.approx(4000, abs=320)
    Pump(table).set_power_mw(20.0, 1.0)
    assert port.clicks(0, 2.0, 3.0) == 0
    assert port.bias_voltage_mv(0, 3.0) > 100.0
    Pump(table).set_power_mw(10.0, 3.0)
    assert port.clicks(0, 3.0, 4.0) == 0, "it stays latched without light"
    port.set_bias_ua(0, 0.0, 4.0)
    assert port.clicks(0, 4.0, 5.0) == 0
    port.set_bias_ua(0, 20.0, 5.0)
    assert port.bias_voltage_mv(0, 5.0) < 10.0
    assert port.clicks(0, 5.0, 6.0) == pytest.approx(4000, abs=320)
    port.set_bias_ua(0, 26.0, 6.0)
    assert port.clicks(0, 6.5, 7.0) == 0, "above the switching current"


def test_bias_and_trigger_have_edges() -> None:
    table = bench(STRAIGHT, detector=DetectorSetup(dead_time_s=0.0, noise_mv=10.0))
    port = Detectors(table)
    port.set_bias_ua(0, 14.0, 0.0)
    port.set_trigger_mv(1, 290.0, 0.0)
    port.set_trigger_mv(2, 400.0, 0.0)
    port.set_trigger_mv(3, 5.0, 0.0)
    counts = table.history.now, table.glow(1.0).counts_hz
    half = 0.5 * 4000.0 / (1.0 / (1.0 + math.exp(-(20 / 14 - 1) / 0.04)))
    assert counts[1][0] == pytest.approx(half + 100.0 * math.exp(-3.0), rel=1e-3)
    assert counts[1][1] < 4100.0 and counts[1][2] < 150.0
    assert counts[1][3] > 1e8


def test_the_switch_needs_time_and_may_lie() -> None:
    table = bench(STRAIGHT, STRAIGHT, switched=True, switch_loss_db=3.0103)
    port = Switch(table)
    assert table.glow(0.0).counts_hz.sum() == 0.0
    port.set_connections({2: 0, 3: 1}, 1.0)
    assert table.glow(1.01).counts_hz.sum() == 0.0
    assert port.power_dbm(0, True, 1.01) == -90.0
    settled = table.glow(1.03)
    assert settled.link == 1
    assert settled.both_hz.sum() == pytest.approx(3200.0 / 4.0, rel=1e-4)
    assert port.power_dbm(0, True, 1.03) == pytest.approx(-23.0103)
    assert port.power_dbm(2, False, 1.03) == -20.0
    assert port.power_dbm(40, False, 1.03) == -90.0
    table.history.change(2.0, misroutes=((2, -1),))
    lost = table.glow(2.1)
    assert lost.link == -1 and lost.both_hz.sum() == 0.0
    assert lost.counts_hz[:2].sum() == 0.0 and lost.counts_hz[2] > 0.0
    assert port.power_dbm(0, True, 2.1) == -90.0
    # Photons of two links have nothing to do with each other.
    table.history.change(3.0, misroutes=())
    port.set_connections({0: 0, 3: 1}, 3.0)
    assert table.glow(3.1).link == -1 and table.glow(3.1).counts_hz.min() > 0.0


def test_an_exchange_of_arms_shows_the_same_pairs() -> None:
    table = bench(LinkSetup(), switched=True)
    Switch(table).set_connections({0: 0, 1: 1}, 0.0)
    straight = table.glow(1.0).both_hz
    Switch(table).set_connections({0: 1, 1: 0}, 2.0)
    assert np.allclose(table.glow(3.0).both_hz, straight.T)


def test_no_light_behind_a_shutter_or_an_open_interlock() -> None:
    table = bench(STRAIGHT)
    shutter = Shutter(table)
    shutter.set_open(False, 1.0)
    assert table.glow(1.5).counts_hz.sum() == 0.0 and Meter(table).power_mw(1.5) == 0.0
    assert Pump(table).power_mw(1.5) == 10.0
    shutter.set_open(True, 2.0)
    assert table.glow(2.5).counts_hz.sum() > 0.0
    table.history.change(3.0, interlock_closed=False)
    shutter.set_open(True, 3.1)
    assert not shutter.is_open(3.2) and not shutter.interlock_closed(3.2)
    assert table.glow(3.2).counts_hz.sum() == 0.0


def test_windows_look_back_over_changes() -> None:
    table = bench(STRAIGHT)
    Shutter(table).set_open(False, 1.0)
    Shutter(table).set_open(True, 1.5)
    assert Detectors(table).clicks(0, 0.0, 2.0) == pytest.approx(6000, abs=5 * 78)
    assert Detectors(table).clicks(0, 1.0, 1.5) == 0


def test_a_scrambling_controller_and_a_jump_show_in_the_truth() -> None:
    table = bench(STRAIGHT)
    assert table.link_truth(0, 1.0, 2000.0)["fidelity"] == pytest.approx(0.95)
    table.jump(0, 0, (0.0, math.pi / 2.0, 0.0), 2.0)
    truth = table.link_truth(0, 2.0, 2000.0)
    # Half of phi_plus turned by 90 degrees: F = (0.95 + 1/60 ...) by the Werner correlator.
    c = (4.0 * 0.95 - 1.0) / 3.0
    assert truth["fidelity"] == pytest.approx((1.0 + c) / 4.0)
    assert truth["source_fidelity"] == pytest.approx(0.95)
    Squeezer(table, 0).set_scrambling(True, 3.0)
    assert table.link_truth(0, 3.0, 2000.0)["fidelity"] == pytest.approx(0.25)


def test_counting_is_fast() -> None:
    """A window of 20 ms on a bench where everything wanders: well under a millisecond."""
    link = LinkSetup(fibre_walk_rad_per_sqrt_s=0.01, phase_walk_rad_per_sqrt_s=0.01)
    table = bench(link, link, switched=True)
    Switch(table).set_connections({0: 0, 1: 1}, 0.0)
    table.events(0.0, 0.02, None, generator(0, "x"))
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for k in range(50):
            table.events(k * 0.02, k * 0.02 + 0.02, None, generator(k, "x"))
        best = min(best, (time.perf_counter() - began) / 50.0)
    assert best < 1e-3


@pytest.mark.parametrize(
    ("setup", "match"),
    [
        (BenchSetup(link=()), "bench.link needs 1 to 64"),
        (BenchSetup(detector=(DetectorSetup(),)), "bench.detector needs 4"),
        (BenchSetup(outputs=(1, 1)), "bench.outputs must differ"),
        (BenchSetup(link=(LinkSetup(inputs=(0, 0)),)), "two fibres end at one input"),
        (BenchSetup(tracer_dbm=math.nan), "bench.tracer_dbm"),
        (BenchSetup(link=(LinkSetup(phase_rad=math.inf),)), r"bench.link\[0\].phase_rad"),
        (BenchSetup(link=(LinkSetup(fidelity=1.5),)), r"bench.link\[0\].bell_diagonal"),
    ],
)
def test_impossible_benches_are_refused(setup: BenchSetup, match: str) -> None:
    with pytest.raises(InputError, match=match):
        setup.check()

"""The virtual bench: rates, parities, drift, and its physics against closed forms."""

import numpy as np
import pytest

from firmware_stubs.bench import Bench, Drift, Optics, gated
from firmware_stubs.id900 import ID900
from quantum.bell import from_name, pass_probability, werner
from quantum.errors import InputError
from quantum.seeding import generator

QUIET = Optics(dark_hz=(0.0, 0.0, 0.0, 0.0), dead_time_s=0.0)


def test_mean_counts_follow_the_closed_form() -> None:
    bench = Bench(QUIET, seed=3)
    rng = generator(3, "test")
    seconds = 100.0
    seen = bench.events(0.0, seconds, 2, rng)
    # rate x two arms (0.5 each) x two efficiencies (0.8 each); half of a side per detector.
    pairs = 20_000.0 * 0.5**2 * 0.8**2 * seconds
    singles = 20_000.0 * 0.5 * 0.8 / 2.0 * seconds
    # Five standard deviations of a Poisson count: 6e-7 for each of the five checks.
    assert abs(seen.pairs.sum() - pairs) < 5.0 * np.sqrt(pairs)
    assert np.all(np.abs(seen.singles - singles) < 5.0 * np.sqrt(singles))


@pytest.mark.parametrize("basis", [0, 1, 2])
@pytest.mark.parametrize("state", ["phi_plus", "phi_minus", "psi_plus", "psi_minus"])
def test_pure_bell_states_have_their_parities(state: str, basis: int) -> None:
    weights = from_name(state)
    bench = Bench(Optics(bell_diagonal=tuple(weights.tolist()), dark_hz=(0.0,) * 4), seed=1)
    # The bench keeps phi_plus at 0.25 or more: only that state can be shown pure.
    chances = bench.outcome_chances(0.0, 1.0, basis)
    even = chances[0, 0] + chances[1, 1]
    expected = pass_probability(bench.populations_at(0.5))[basis]
    assert even == pytest.approx(expected if basis != 1 else 1.0 - expected)
    if state == "phi_plus":
        assert even == pytest.approx(0.0 if basis == 1 else 1.0)


def test_unsettled_modulators_show_nothing() -> None:
    assert np.all(Bench(QUIET, seed=1).outcome_chances(0.0, 1.0, None) == 0.25)


def test_drift_steps_and_ramps() -> None:
    bench = Bench(Optics(fidelity=0.9), seed=1)
    bench.drifts += [Drift(1.0, step=-0.1), Drift(2.0, per_s=-0.05, lasts_s=2.0)]
    best = [float(bench.populations_at(t)[0]) for t in (0.5, 1.5, 3.0, 9.0)]
    assert best == pytest.approx([0.9, 0.8, 0.75, 0.7])
    bench.drifts.append(Drift(0.0, step=-5.0))
    assert bench.populations_at(10.0)[0] == 0.25
    assert bench.populations_at(10.0).sum() == pytest.approx(1.0)


def test_walk_is_keyed_and_relaxes() -> None:
    optics = Optics(fidelity=0.8, walk_per_sqrt_s=0.01, walk_relax_s=1.0)
    one, two = Bench(optics, seed=5), Bench(optics, seed=5)
    late = two.populations_at(40.0)[0]
    path = np.array([one.populations_at(t)[0] for t in np.arange(0.0, 40.0, 0.1)])
    assert one.populations_at(40.0)[0] == late
    # Stationary deviation of the walk is size x sqrt(relax / 2) = 0.007; a factor 2 either way.
    assert 0.0035 < path.std() < 0.014


def test_a_clock_step_hides_coincidences_but_not_singles() -> None:
    bench = Bench(QUIET, seed=2)
    rng = generator(2, "test")
    seen = bench.events(0.0, 10.0, 2, rng)
    before = gated(bench, seen, 0, 2, -500.0, 500.0, rng)
    bench.added_skew_ps = 5000.0
    assert gated(bench, seen, 0, 2, -500.0, 500.0, rng) < 0.01 * before
    found = gated(bench, seen, 0, 2, 4500.0, 5500.0, rng)
    assert found == pytest.approx(before, rel=0.05)
    # Seen from the other side the same step has the other sign.
    assert gated(bench, seen, 2, 0, -5500.0, -4500.0, rng) == pytest.approx(before, rel=0.05)


def test_accidentals_lower_the_observable_fidelity() -> None:
    noisy = Bench(Optics(fidelity=0.95, dark_hz=(2e5,) * 4), seed=1).truth(0.0, 10_000.0)
    clean = Bench(Optics(fidelity=0.95, dark_hz=(0.0,) * 4), seed=1).truth(0.0, 2000.0)
    assert clean["observable_fidelity"] == pytest.approx(0.95, abs=1e-3)
    assert noisy["fidelity"] == pytest.approx(0.95)
    assert isinstance(noisy["observable_fidelity"], float)
    assert noisy["observable_fidelity"] < 0.9


def test_truth_of_a_bell_diagonal_source() -> None:
    weights = (0.8, 0.15, 0.03, 0.02)
    truth = Bench(Optics(bell_diagonal=weights, dark_hz=(0.0,) * 4), seed=1).truth(0.0, 2000.0)
    assert truth["populations"] == pytest.approx(list(weights))
    assert truth["pass_chances"] == pytest.approx(pass_probability(weights).tolist(), abs=1e-4)
    assert Bench(Optics(fidelity=0.7), seed=1).populations_at(0.0) == pytest.approx(werner(0.7))


@pytest.mark.parametrize(
    "optics",
    [
        Optics(fidelity=float("nan")),
        Optics(rate_hz=float("inf")),
        Optics(transmission=(0.5, 1.5)),
        Optics(dark_hz=(-1.0, 0.0, 0.0, 0.0)),
        Optics(bell_diagonal=(0.5, 0.5, 0.5, 0.5)),
    ],
)
def test_impossible_benches_are_refused(optics: Optics) -> None:
    with pytest.raises(InputError, match="bench"):
        optics.check()


def test_windows_draw_the_same_counts_whoever_asks() -> None:
    one, two = (ID900(Bench(Optics(), seed=9)) for _ in range(2))
    for stub in (one, two):
        stub.answer("INPU1:ENAB ON;:INPU1:COUN:INTE 100", 0.0)
    assert one.answer("INPU1:COUN?", 0.05) == "0", "no full window yet"
    first = one.answer("INPU1:COUN?", 0.15)
    assert first == one.answer("INPU1:COUN?", 0.19) == two.answer("INPU1:COUN?", 0.11)
    assert first != one.answer("INPU1:COUN?", 0.25)


def test_accumulating_counter_grows_and_resets() -> None:
    stub = ID900(Bench(Optics(), seed=9))
    stub.answer("INPU1:ENAB ON;COUN:MODE ACCU", 0.0)
    values = [int(stub.answer("INPU1:COUN?", t)) for t in (0.5, 1.0, 1.0, 4.0)]
    assert values[0] < values[1] == values[2] < values[3]
    stub.answer("INPU1:COUN:RESE", 4.0)
    assert stub.answer("INPU1:COUN?", 4.0) == "0"


def test_histogram_shows_the_peak_where_the_skew_is() -> None:
    stub = ID900(Bench(Optics(skew_ps=1500.0, jitter_ps=100.0), seed=4))
    stub.answer("INPU1:ENAB ON;:INPU3:ENAB ON", 0.0)
    # Reference Bob, stop Alice: Alice arrives 1500 ps later, so bin 15 of 100 ps begins there.
    stub.answer("HIST1:REF:LINK INPU3;:HIST1:STOP:LINK INPU1;:HIST1:BWID 100;BCOU 32;FLUS", 0.0)
    bins = np.array([int(n) for n in stub.answer("HIST1:DATA?", 5.0).strip("[]").split(",")])
    assert len(bins) == 32
    assert bins.argmax() in (14, 15)
    assert bins[13:17].sum() > 0.9 * bins.sum()


def test_basis_follows_the_output_lines() -> None:
    """A window in XX of phi_plus has even parity; in YY odd; both lines high is undefined."""
    for lines, even in (("", 1.0), ("1", 1.0), ("2", 0.0), ("12", 0.5)):
        stub = ID900(Bench(Optics(fidelity=1.0, dark_hz=(0.0,) * 4, settle_s=0.0), seed=4))
        stub.answer("INPU1:ENAB ON", 0.0)
        for n in (2, 3, 4):
            stub.answer(f"INPU{n}:ENAB ON", 0.0)
        stub.answer("GENE1:ENAB ON", 0.0)
        for line in lines:
            stub.answer(f"OUTP{line}:LINK GENE1;ENAB ON", 0.0)
        for slot, (a, b) in enumerate(((1, 3), (1, 4), (2, 3), (2, 4)), start=1):
            stub.answer(f"DELA{a}:LINK INPU{a};VALU 1000", 0.0)
            stub.answer(f"TSCO{slot}:FIR:LINK DELA{a};:TSCO{slot}:OPOU MUTE;WIND:ENAB ON", 0.0)
            stub.answer(f"TSCO{slot}:WIND:BEGI:LINK INPU{b};:TSCO{slot}:WIND:END:LINK INPU{b}", 0.0)
            stub.answer(f"TSCO{slot}:WIND:END:DELA 2000", 0.0)
        pp, pm, mp, mm = (int(stub.answer(f"TSCO{n}:COUN?", 2.5)) for n in (1, 2, 3, 4))
        assert pp + pm + mp + mm > 2000
        # 3200 pairs: half a per cent of accidentals and 5 sigma (0.044) for the undefined case.
        assert (pp + mm) / (pp + pm + mp + mm) == pytest.approx(even, abs=0.05)

"""Time tags of the small bench: the same physics as its counts, click by click."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.drivers.peaks import differences, find_peak
from firmware_stubs.bench import Bench, Optics
from firmware_stubs.bench_tags import BenchTags, Piece, without_dead_time

ALL = (True, True, True, True)


def tags(
    optics: Optics, basis: int | None = 2, on: tuple[bool, bool, bool, bool] = ALL
) -> BenchTags:
    def pieces(begin_s: float, end_s: float) -> list[Piece]:
        return [(begin_s, end_s, basis, on)]

    return BenchTags(Bench(optics, seed=3), pieces)


def test_rates_are_those_of_the_counters() -> None:
    optics = Optics(rate_hz=400_000.0, dead_time_s=1e-6)
    port = tags(optics)
    _, rates = port.bench.rates()
    for detector in range(4):
        seen = port.clicks(detector, 1.0, 2.0)
        # Some 80000 clicks: five deviations are 1.8 %; the formula is that of mean rates.
        assert seen == pytest.approx(rates[detector], rel=0.02)


@pytest.mark.parametrize(("basis", "odd"), [(2, 0.0), (1, 1.0), (None, 0.5)])
def test_pairs_have_the_parity_of_the_basis(basis: int | None, odd: float) -> None:
    port = tags(Optics(rate_hz=50_000.0, fidelity=1.0, skew_ps=5000.0), basis)
    clicks = [port.tags_ps(n, 0.0, 1.0) for n in range(4)]
    near = [
        int(differences(clicks[a], clicks[b], 4000, 2000, 1)[0]) for a in (0, 1) for b in (2, 3)
    ]
    assert sum(near) > 3000
    assert (near[1] + near[2]) / sum(near) == pytest.approx(odd, abs=0.05)


def test_the_peak_lies_at_the_skew_with_the_jitter() -> None:
    port = tags(Optics(rate_hz=200_000.0, skew_ps=-1500.0, jitter_ps=120.0))
    seen = differences(port.tags_ps(0, 0.0, 1.0), port.tags_ps(2, 0.0, 1.0), -10_000, 50, 400)
    peak = find_peak(seen, -10_000.0, 50.0)
    assert peak is not None
    assert peak.centre_ps == pytest.approx(-1500.0, abs=5.0 * peak.centre_error_ps)
    assert peak.width_ps == pytest.approx(120.0, rel=0.05)


def test_pieces_of_time_fit_together() -> None:
    port = tags(Optics(rate_hz=100_000.0, skew_ps=900.0))
    whole = port.tags_ps(0, 0.1, 0.3)
    halves = [port.tags_ps(0, 0.1, 0.2137), port.tags_ps(0, 0.2137, 0.3)]
    # A dead time that reaches over the cut is forgotten there: one tag at most.
    assert abs(len(np.concatenate(halves)) - len(whole)) <= 1
    assert set(whole.tolist()) <= set(np.concatenate(halves).tolist())
    assert (np.diff(whole.astype(np.int64)) > 0).all()
    assert whole.min() >= 0.1e12
    assert whole.max() < 0.3e12


def test_inputs_that_are_off_are_silent() -> None:
    port = tags(Optics(), on=(True, False, True, False))
    assert port.clicks(0, 0.0, 1.0) > 0
    assert port.clicks(1, 0.0, 1.0) == 0


@given(
    st.lists(st.integers(0, 3000), max_size=60),
    st.integers(0, 400),
)
def test_dead_time_click_by_click(times: list[int], dead: int) -> None:
    expected: list[int] = []
    for time in sorted(times):
        if not expected or time - expected[-1] >= dead:
            expected.append(time)
    seen = without_dead_time(np.sort(np.array(times, dtype=np.float64)), float(dead))
    assert seen.tolist() == expected

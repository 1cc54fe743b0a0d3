"""The peak search against draws with a known peak, and the differences against every pair."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.drivers.peaks import Peak, differences, find_peak
from quantum.errors import InputError
from quantum.seeding import generator

BIN_PS, BINS, BEGIN_PS = 100.0, 400, -20_000.0


def drawn(
    rng: np.random.Generator, mean_ps: float, width_ps: float, pairs: float, flat: float
) -> np.ndarray:
    edges = BEGIN_PS + np.arange(BINS + 1) * BIN_PS
    peak, _ = np.histogram(rng.normal(mean_ps, width_ps, rng.poisson(pairs)), edges)
    return (peak + rng.poisson(flat, BINS)).astype(np.int64)


@pytest.mark.parametrize(
    ("mean_ps", "width_ps", "pairs", "flat"),
    [(1234.0, 150.0, 500, 3.0), (-7000.0, 400.0, 2000, 20.0), (0.0, 150.0, 60, 0.5)],
)
def test_centre_and_width_are_those_drawn(
    mean_ps: float, width_ps: float, pairs: int, flat: float
) -> None:
    rng = generator(1, "peaks")
    peaks = [
        find_peak(drawn(rng, mean_ps, width_ps, pairs, flat), BEGIN_PS, BIN_PS) for _ in range(200)
    ]
    found = [peak for peak in peaks if peak is not None]
    assert len(found) == 200
    pulls = [(peak.centre_ps - mean_ps) / peak.centre_error_ps for peak in found]
    # 200 pulls: their mean has deviation 0.07, their standard deviation 0.05; five of each.
    assert abs(np.mean(pulls)) < 0.35
    assert 0.75 < np.std(pulls) < 1.25
    # 95 % intervals cover in at least 174 of 200: fewer has probability 3e-5.
    assert sum(abs(pull) < 1.96 for pull in pulls) >= 174
    assert np.mean([peak.width_ps for peak in found]) == pytest.approx(width_ps, rel=0.05)
    assert np.mean([peak.counts for peak in found]) == pytest.approx(pairs, rel=0.05)
    assert np.mean([peak.background_per_bin for peak in found]) == pytest.approx(flat, rel=0.05)


@pytest.mark.parametrize("flat", [0.0, 0.01, 0.1, 1.0, 10.0, 1000.0])
def test_a_flat_histogram_has_no_peak(flat: float) -> None:
    rng = generator(2, "flat")
    for _ in range(100):
        assert (
            find_peak(rng.poisson(flat, BINS).astype(np.int64), 0.0, 1.0, significance=4.0) is None
        )


def test_a_narrow_peak_stays_in_its_bin() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[150] = 40
    peak = find_peak(counts, 0.0, 100.0)
    assert peak is not None
    assert peak.centre_ps == pytest.approx(15_050.0)
    assert peak.width_ps < 100.0
    assert peak.counts == pytest.approx(40.0)


def test_a_huge_peak_does_not_underflow() -> None:
    peak = find_peak(drawn(generator(3, "huge"), 500.0, 150.0, 2_000_000, 1.0), BEGIN_PS, BIN_PS)
    assert isinstance(peak, Peak)
    assert math.isfinite(peak.significance)
    assert peak.centre_ps == pytest.approx(500.0, abs=5.0 * peak.centre_error_ps)


@pytest.mark.parametrize(
    ("counts", "bin_ps"),
    [(np.zeros(3, np.int64), 1.0), (np.full(10, -1), 1.0), (np.zeros(10, np.int64), 0.0)],
)
def test_nonsense_is_refused(counts: np.ndarray, bin_ps: float) -> None:
    with pytest.raises(InputError):
        find_peak(counts, 0.0, bin_ps)


@given(
    late=st.lists(st.integers(0, 2000), max_size=40),
    early=st.lists(st.integers(0, 2000), max_size=40),
    begin=st.integers(-300, 300),
    wide=st.integers(1, 50),
    bins=st.integers(1, 30),
)
def test_differences_count_every_pair(
    late: list[int], early: list[int], begin: int, wide: int, bins: int
) -> None:
    a = np.sort(np.array(late, dtype=np.uint64))
    b = np.sort(np.array(early, dtype=np.uint64))
    expected = np.zeros(bins, dtype=np.int64)
    for x in late:
        for y in early:
            place = (x - y - begin) // wide
            if 0 <= place < bins:
                expected[place] += 1
    assert (differences(a, b, begin, wide, bins) == expected).all()

"""Coincidences from tags: against brute force, against the closed form, and as fast as promised."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.drivers.capabilities import Tags
from backends.drivers.tagged_pairs import TaggedPairs
from backends.drivers.tags import count_coincidences, difference_histogram, sorted_ps
from quantum.errors import DeviceLimit, DeviceProtocol, InputError
from quantum.seeding import generator

rows = st.lists(st.integers(0, 400), max_size=60).map(
    lambda values: np.array(sorted(values), dtype=np.int64)
)


@given(rows, rows, st.integers(-80, 80), st.integers(0, 100))
def test_counts_are_those_of_brute_force(
    first: np.ndarray, second: np.ndarray, low: int, width: int
) -> None:
    difference = second[None, :] - first[:, None]
    wanted = int(((difference >= low) & (difference <= low + width)).sum())
    assert count_coincidences(first, second, low_ps=low, high_ps=low + width) == wanted
    # The same pairs seen from the other side.
    assert count_coincidences(second, first, low_ps=-low - width, high_ps=-low) == wanted


@given(rows, rows, st.integers(-80, 80), st.integers(1, 9), st.integers(1, 30))
def test_histograms_are_those_of_brute_force(
    first: np.ndarray, second: np.ndarray, low: int, width: int, bins: int
) -> None:
    difference = (second[None, :] - first[:, None]).ravel()
    wanted = [
        int(((difference >= low + k * width) & (difference < low + (k + 1) * width)).sum())
        for k in range(bins)
    ]
    found = difference_histogram(first, second, low_ps=low, bin_ps=width, bins=bins)
    assert found.tolist() == wanted
    # An interval of whole bins holds what its bins hold.
    inside = count_coincidences(first, second, low_ps=low, high_ps=low + bins * width - 1)
    assert inside == sum(wanted)


def poisson_ps(rate_hz: float, seconds: float, *names: object) -> np.ndarray:
    rng = generator(4, *names)
    count = rng.poisson(rate_hz * seconds)
    return np.sort(rng.integers(0, round(seconds * 1e12), count))


def test_accidentals_are_the_product_of_rates_and_window() -> None:
    seconds, window = 2.0, 10_000
    first, second = (poisson_ps(2e5, seconds, name) for name in ("alice", "bob"))
    # S1 S2 tau T = 2e5 * 2e5 * 10 ns * 2 s = 800; five standard deviations are 142.
    found = count_coincidences(first, second, low_ps=-window // 2, high_ps=window // 2)
    assert abs(found - 800) < 142


def test_a_million_tags_a_side_take_less_than_a_second() -> None:
    first, second = (poisson_ps(1e6, 1.0, name) for name in ("a", "b"))
    began = time.process_time()
    count_coincidences(first, second, low_ps=-1000, high_ps=1000)
    assert time.process_time() - began < 1.0


def test_the_peak_stands_at_the_delay() -> None:
    pairs = poisson_ps(1e4, 1.0, "pairs")
    rng = generator(4, "jitter")
    late = np.sort(pairs + 123_456 + rng.normal(0.0, 100.0, len(pairs)).astype(np.int64))
    found = difference_histogram(pairs, late, low_ps=0, bin_ps=500, bins=400)
    assert int(found.argmax()) == 123_456 // 500


@pytest.mark.parametrize("late", [2**63, 2**64 - 1])
def test_tags_that_cannot_be_are_refused(late: int) -> None:
    with pytest.raises(DeviceProtocol, match="tags must be from 0"):
        sorted_ps("channel 1", np.array([1, late], dtype=np.uint64))
    with pytest.raises(DeviceProtocol, match="one row of integers"):
        sorted_ps("channel 1", np.array([1.0, np.nan]))
    with pytest.raises(DeviceProtocol, match="tags must be from 0"):
        sorted_ps("channel 1", np.array([-1]))


@pytest.mark.parametrize(("low", "high"), [(5, 4), (-(2**62), 0), (0, 2**62)])
def test_intervals_that_cannot_be_are_refused(low: int, high: int) -> None:
    row = np.array([1])
    with pytest.raises(InputError, match="low_ps and high_ps"):
        count_coincidences(row, row, low_ps=low, high_ps=high)


class Still:
    """A tagger with a record that is given: for what surrounds it."""

    channels = 4

    def __init__(self, record: Tags) -> None:
        self.record = record

    def tags(self, duration_s: float) -> Tags:
        return self.record


def record(*rows_ps: list[int], duration_s: float = 0.1, lost: bool = False) -> Tags:
    return Tags(tuple(np.array(row, dtype=np.int64) for row in rows_ps), duration_s, lost, 1.0, 2.0)


def test_pairs_are_told_apart_and_delays_are_taken_off() -> None:
    # Alice + and Bob -, with Bob's - late by 5 us; Alice - and Bob + without a delay.
    tags = record([100_000, 300_000], [200_000], [200_400, 900_000], [5_100_100, 5_300_900])
    counter = TaggedPairs(Still(tags), window_ps=2000, delays_ps=(0, 0, 0, 5_000_000))  # type: ignore[arg-type]
    seen = counter.coincidences(0.1)
    assert seen.pairs == ((0, 2), (1, 0))
    assert seen.singles == (2, 1, 2, 2)
    assert (seen.not_before_s, seen.not_after_s) == (1.0, 2.0)


def test_records_that_mean_nothing_are_refused() -> None:
    empty: list[list[int]] = [[], [], [], []]
    for bad, kind, word in (
        (record(*empty, lost=True), DeviceLimit, "lost tags"),
        (record(*empty, duration_s=0.05), DeviceProtocol, "instead of 0.1 s"),
        (record(*empty, duration_s=float("nan")), DeviceProtocol, "instead of"),
        (record([], []), DeviceProtocol, "answered 2 channels"),
    ):
        with pytest.raises(kind, match=word):
            TaggedPairs(Still(bad)).coincidences(0.1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="channels must be four different"):
        TaggedPairs(Still(record(*empty)), channels=(0, 1, 2, 2))  # type: ignore[arg-type]

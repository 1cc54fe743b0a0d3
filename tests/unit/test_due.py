"""When the next block of a season is due: the law of its time, and what nodes learn of it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from controller.forecasting.due import (
    NEAR_S,
    SUREST,
    USUAL_SCATTER_S,
    Due,
    chance_by,
    hazard,
    law,
    learn_scatter,
    scatter,
)
from controller.forecasting.looks import flat_rate, look_ahead, note
from controller.forecasting.streams import BIN_S, BINS, COLUMNS, FEATURES, new_streams

Floats = NDArray[np.float64]
SEASON_S, FLAT_HZ = 20.0, 0.05


def ring(times: list[float], size: int = 256) -> tuple[Floats, int]:
    """Return times as the ring that streams keep, and how many there were."""
    kept = np.zeros(size)
    for number, time_s in enumerate(times):
        kept[number % size] = time_s
    return kept, len(times)


def due(
    times: list[float], now_s: float, centre_s: float, half_s: float = 1.3, size: int = 256
) -> Due:
    """Return what is due near a time."""
    return law(*ring(times, size), FLAT_HZ, now_s, SEASON_S, centre_s, half_s)


def schedule(rng: np.random.Generator, seasons: int, sigma: float, phase_s: float = 7.0) -> Floats:
    """Draw the blocks of a schedule that never leaves one out."""
    return phase_s + SEASON_S * np.arange(seasons) + rng.normal(0.0, sigma, seasons)


# ------------------------------------------------------------------------------------------ the law


def test_blocks_of_the_past_are_folded_and_their_mean_is_due() -> None:
    found = due([7.1, 26.9, 47.3, 67.1], 86.8, 87.3)
    assert found.at_s == pytest.approx(80.0 + np.mean([7.1, 6.9, 7.3, 7.1]))
    assert found.past == 4.0
    assert found.chance == pytest.approx(5.0 / 6.0)  # Laplace: (4 + 1) / (4 + 2)
    assert not found.came


def test_a_block_of_this_season_is_the_one_that_was_due() -> None:
    assert due([7.1, 26.9, 47.3, 66.9], 67.0, 67.5).came
    # One long before or after it is not.
    assert not due([7.1, 26.9, 47.3, 61.0], 67.0, 67.5).came


def test_seasons_without_a_block_lower_the_chance() -> None:
    found = due([7.0, 47.0, 147.0], 186.9, 187.4)
    assert (found.past, found.chance) == (3.0, pytest.approx(4.0 / 11.0))


def test_nothing_is_known_where_nothing_came() -> None:
    found = due([2.0, 22.0], 50.0, 50.5)
    assert found.past == 0.0
    assert not found.came
    assert found.chance == pytest.approx(2.6 * FLAT_HZ / 3.0)
    assert due([], 0.0, 0.5).past == 0.0


def test_blocks_without_order_are_many_and_one_more_does_not_end_them() -> None:
    found = due(np.arange(0.0, 100.0, 0.5).tolist(), 100.0, 100.5)
    assert not found.came
    assert found.chance == pytest.approx((3.0 + 1.6 * FLAT_HZ) / 2.0)
    assert found.chance > SUREST  # which tells many from one
    assert hazard(found, 0.4, 0.6) == pytest.approx(0.2 * found.chance)


def test_the_mean_does_not_depend_on_where_in_the_window_it_lies() -> None:
    times = [6.8, 27.4, 47.0, 67.2]
    middle = due(times, 86.6, 87.1).at_s
    for now_s in (85.6, 86.0, 87.5):
        assert due(times, now_s, now_s + 0.5).at_s == pytest.approx(middle)


def test_a_full_ring_counts_the_seasons_that_it_reaches_back_to() -> None:
    times = (7.0 + SEASON_S * np.arange(500)).tolist()
    for size in (16, 256):
        found = due(times, 10_006.8, 10_007.3, size=size)
        assert found.at_s == pytest.approx(10_007.0)
        assert found.past == min(size, 64)
        assert found.chance > 0.9


@given(
    times=st.lists(st.floats(0.0, 400.0), max_size=300),
    season_s=st.floats(1.6, 50.0),
    later_s=st.floats(0.0, 1e4),
)
@settings(max_examples=200, deadline=None)
def test_whatever_came_the_law_is_a_law(
    times: list[float], season_s: float, later_s: float
) -> None:
    now_s = max(times, default=0.0) + later_s
    found = law(*ring(sorted(times)), FLAT_HZ, now_s, season_s, now_s + 0.5, 1.3)
    assert math.isfinite(found.at_s)
    assert abs(found.at_s - now_s - 0.5) <= 1.3 + NEAR_S
    assert 0.0 < found.chance < math.inf
    assert 0.0 <= found.past <= 64.0


def test_chances_are_those_of_the_normal_law() -> None:
    late = np.linspace(-2.0, 2.0, 41)
    got = [chance_by(x, 0.3) for x in late.tolist()]
    np.testing.assert_allclose(got, norm.cdf(late, scale=0.3), atol=1e-15)


# -------------------------------------------------------------------------------------- the scatter


def test_a_node_learns_the_scatter_of_its_schedules() -> None:
    rng = np.random.default_rng(3)
    for sigma in (0.1, 0.2, 0.4):
        squares = np.zeros(2)
        assert scatter(squares) == pytest.approx(USUAL_SCATTER_S)
        for _ in range(200):
            times = schedule(rng, 6, sigma).tolist()
            found = due(times[:-1], times[-1], times[-1], NEAR_S)
            learn_scatter(squares, times[-1] - found.at_s, found.past)
        assert scatter(squares) == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("seasons", [2, 3, 6])
def test_four_of_five_blocks_come_in_the_interval_of_four_fifths(seasons: int) -> None:
    """The scatter that is known is the true one here, so coverage is exact however few came."""
    rng, sigma, trials, inside = np.random.default_rng(seasons), 0.1, 1500, 0
    for _ in range(trials):
        times = schedule(rng, seasons, sigma).tolist()
        now_s = SEASON_S * (seasons - 1) + 6.5
        found = due(times[:-1], now_s, now_s + 0.5)
        wide = sigma * math.sqrt(1.0 + 1.0 / found.past)
        inside += 0.1 <= chance_by(times[-1] - found.at_s, wide) <= 0.9
    assert binomtest(inside, trials, 0.8).pvalue > 1e-3


# ------------------------------------------------------------------------------------------ looking


def looked(times: list[float], now_s: float) -> Floats:
    """Return what the bins ahead (BINS, FEATURES) look like after blocks at some times."""
    streams = new_streams(np.zeros(1, dtype=np.int64), 1)
    for time_s in times:
        note(streams, 0, time_s, 4.0, 0.8)
    out = np.empty((BINS, FEATURES))
    look_ahead(streams, 0, now_s, flat_rate(streams, 0, now_s), out)
    return out


def test_a_look_sees_when_a_block_is_due_and_no_more_once_it_came() -> None:
    times = (7.0 + SEASON_S * np.arange(6)).tolist()
    column = COLUMNS.index("due")
    ahead = looked(times[:-1], 106.5)[:, column]
    assert np.all(np.diff(ahead[:5]) > 0.0)  # the longer it does not come, the likelier
    assert ahead.max() > 1.0
    after = looked([*times[:-1], 106.5], 106.5)[:, column]
    assert after.max() < ahead.min()
    late = looked(times[:-1], 106.5)[:, COLUMNS.index("due_late")]
    assert np.all(np.diff(late) > 0.0)


def test_hazards_of_a_due_block_end_in_its_chance() -> None:
    """Nobody sees more than the block's own chance: what bins expect is part of it."""
    times = (7.0 + SEASON_S * np.arange(5)).tolist()
    streams = new_streams(np.zeros(1, dtype=np.int64), 1)
    for time_s in times:
        note(streams, 0, time_s, 4.0, 0.8)
    now_s, out = 106.5, np.empty((BINS, FEATURES))
    flat = flat_rate(streams, 0, now_s)
    look_ahead(streams, 0, now_s, flat, out)
    usual = flat * BIN_S
    expected = np.exp(2.0 * out[:, COLUMNS.index("due")]) * 1.02 * usual - 0.02 * usual
    none = np.prod(1.0 - expected)
    found = due(times, now_s, now_s + 0.5)
    wide = scatter(streams.node_squares[0]) * math.sqrt(1.0 + 1.0 / found.past)
    before, by = (chance_by(now_s + s - found.at_s, wide) for s in (0.0, BINS * BIN_S))
    assert none == pytest.approx((1.0 - found.chance * by) / (1.0 - found.chance * before))

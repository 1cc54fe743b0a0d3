"""Rivals of the forecaster in a few lines, against known answers."""

import numpy as np

from controller import baselines


def test_a_season_is_found_in_a_schedule_and_not_in_noise() -> None:
    """A block every 20 s with a jitter of 0.1 s, in bins of 0.1 s, as in scheduled demand."""
    rng = np.random.default_rng(3)
    at = np.arange(3.0, 100.0, 20.0)[None, :] + rng.normal(0.0, 0.1, (2, 5))
    scheduled = np.zeros((2, 1020))
    for node in range(2):
        np.add.at(scheduled[node], (at[node] / 0.1).astype(int), 8.0)
    assert np.all(np.abs(baselines.seasonal_lag(scheduled, 8) - 200) <= 2)
    noise = 4.0 * rng.poisson(0.02, (40, 1020))
    assert np.count_nonzero(baselines.seasonal_lag(noise, 8)) <= 2


def test_a_slow_change_is_not_a_season() -> None:
    rate = np.where(np.arange(1000) < 500, 0.2, 4.0)
    series = np.random.default_rng(0).poisson(rate, (20, 1000)).astype(float)
    assert not baselines.seasonal_lag(series, 8).any()


def test_rivals_by_hand() -> None:
    series = np.array([[1.0, 2.0, 3.0, 3.0, 6.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0, 5.0]])
    lag = np.array([3, 0])
    assert not baselines.zero(series, 2).any()
    assert baselines.last_value(series, 2).tolist() == [[9.0, 9.0], [5.0, 5.0]]
    assert baselines.seasonal_naive(series, 4, lag)[0].tolist() == [3.0, 6.0, 9.0, 3.0]
    assert baselines.seasonal_naive(series, 2, lag)[1].tolist() == [5.0, 5.0]
    # Profile (2, 4, 6); the last 3 bins brought 18 where it has 12.
    want = np.array([2.0, 4.0, 6.0, 2.0]) * 18.5 / 12.5
    got = baselines.profile_level(series, 4, lag, recent=3)
    np.testing.assert_allclose(got[0], want)
    np.testing.assert_allclose(got[1], 0.8 + 0.2 * 5.0)
    by_hand = 1.0
    for x in series[0]:
        by_hand = 0.7 * by_hand + 0.3 * x
    np.testing.assert_allclose(baselines.ewma(series, 1, 0.3)[0, 0], by_hand)


def test_profile_times_level_beats_its_parts_on_a_season_with_a_changing_level() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(480)
    level = np.exp(rng.normal(0.0, 0.5, (30, 10))).repeat(48, axis=1)
    rate = 3.0 * level * (1.0 + 0.8 * np.sin(2.0 * np.pi * t / 48.0))
    series = rng.poisson(rate).astype(float)
    past, truth, lag = series[:, :-20], series[:, -20:], np.full(30, 48)
    scores = [
        np.abs(forecast - truth).mean()
        for forecast in (
            baselines.profile_level(past, 20, lag),
            baselines.seasonal_naive(past, 20, lag),
            baselines.ewma(past, 20),
        )
    ]
    assert scores[0] < min(scores[1:])

"""The rivals of the recurrent forecaster, in numpy: blocks per bin from the counts of past bins.

A series is (K, T): blocks of K commodities in T bins, the newest last; a forecast is (K, BINS).
They are those of :mod:`controller.baselines`, told the true season of the demand where it has one.
``profile x level`` is the bar; ``tuned`` is the same idea at its best, its three numbers chosen on
training traces: a profile averaged over neighbouring bins and drawn to the mean, times a level of
many bins.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from controller.baselines import ewma, last_value, profile_level, seasonal_naive, zero

__all__ = ["RIVALS", "mean_rate", "smooth_profile"]

Floats = NDArray[np.float64]
Rival = Callable[[Floats, int, int], Floats]

#: Bins of the exponentially weighted mean's weight, see :func:`controller.baselines.ewma`.
_ALPHA = 0.02


def mean_rate(series: Floats, horizon: int) -> Floats:
    """Forecast the mean of all that came, drawn to the mean of all commodities.

    >>> mean_rate(np.array([[3.0, 1.0], [0.0, 0.0]]), 1).round(3).tolist()
    [[0.106], [0.021]]
    """
    total, bins = series.sum(axis=1), series.shape[1]
    usual = (float(total.sum()) + 0.5) / (len(series) * (bins + 100.0))
    rate = (total + 1.0) / (bins + 1.0 / usual)
    found: Floats = np.repeat(rate[:, None], horizon, axis=1)
    return found


def smooth_profile(
    series: Floats, horizon: int, season: int, *, half: int, drawn: float, recent: int
) -> Floats:
    """Forecast a smooth profile times the recent level; the mean and its level without a season."""
    flat = mean_rate(series, horizon)
    size, total = series.shape
    window = min(recent, total)
    if not 0 < season <= total:
        expected = flat[:, :1] * window
        level = (series[:, -window:].sum(axis=1, keepdims=True) + 1.0) / (expected + 1.0)
        steady: Floats = flat * level
        return steady
    seasons = total // season
    past = series[:, total - seasons * season :].reshape(size, seasons, season)
    summed = past.sum(axis=1)
    wide = np.zeros_like(summed)
    for shift in range(-half, half + 1):
        wide += np.roll(summed, shift, axis=1)
    width = 2 * half + 1
    profile = (wide + drawn * width * flat[:, :1]) / (width * (seasons + drawn))
    expected = profile[:, (season - 1 - np.arange(window)) % season].sum(axis=1, keepdims=True)
    level = (series[:, -window:].sum(axis=1, keepdims=True) + 1.0) / (expected + 1.0)
    found: Floats = profile[:, np.arange(horizon) % season] * level
    return found


def _seasons(series: Floats, season: int) -> NDArray[np.int64]:
    return np.full(len(series), season, dtype=np.int64)


def _tuned(series: Floats, horizon: int, season: int) -> Floats:
    found = _settings()
    return smooth_profile(
        series,
        horizon,
        season,
        half=int(found["half"]),
        drawn=float(found["drawn"]),
        recent=int(found["recent"]),
    )


@cache
def _settings() -> dict[str, float]:
    text = files("controller").joinpath("data", "forecast_profile.toml").read_text("utf-8")
    settings: dict[str, float] = tomllib.loads(text)["settings"]
    return settings


RIVALS: Mapping[str, Rival] = {
    "zero": lambda series, horizon, season: zero(series, horizon),
    "last": lambda series, horizon, season: last_value(series, horizon),
    "ewma": lambda series, horizon, season: ewma(series, horizon, _ALPHA),
    "mean": lambda series, horizon, season: mean_rate(series, horizon),
    "seasonal naive": lambda series, horizon, season: seasonal_naive(
        series, horizon, _seasons(series, season)
    ),
    "profile x level": lambda series, horizon, season: profile_level(
        series, horizon, _seasons(series, season)
    ),
    "profile x level, tuned": lambda series, horizon, season: _tuned(series, horizon, season),
}

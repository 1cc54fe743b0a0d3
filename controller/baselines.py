"""Forecasters in a few lines, the rivals of the network, and the scores that judge them all.

A series is (N, T): pairs asked of N nodes in T bins, the newest last. A forecast is (N, horizon).
The rival to beat is the seasonal profile times the recent level; zero is here because sparse counts
flatter it, so judge by CRPS, pinball loss and coverage too.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import i0e, i1e
from scipy.stats import norm, poisson

from quantum.errors import InputError

__all__ = [
    "coverage",
    "crps_poisson",
    "ewma",
    "last_value",
    "mase",
    "pinball",
    "profile_level",
    "seasonal_lag",
    "seasonal_naive",
    "wape",
    "zero",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Lags averaged when a season is sought, because real schedules jitter by a bin or two.
_JITTER_BINS = 5


def zero(series: Floats, horizon: int) -> Floats:
    """Forecast that nothing comes."""
    return np.zeros((len(series), horizon))


def last_value(series: Floats, horizon: int) -> Floats:
    """Forecast the newest bin again."""
    return np.repeat(series[:, -1:], horizon, axis=1)


def ewma(series: Floats, horizon: int, alpha: float = 0.2) -> Floats:
    """Forecast the exponentially weighted mean, started at the oldest bin.

    >>> ewma(np.array([[0.0, 1.0]]), 2, alpha=0.5)
    array([[0.5, 0.5]])
    """
    if not 0.0 < alpha <= 1.0:
        raise InputError(f"ewma.alpha must be above 0 and at most 1, got {alpha}")
    start = (1.0 - alpha) * series[:, :1]
    smooth, _ = lfilter([alpha], [1.0, alpha - 1.0], series, axis=1, zi=start)
    return np.repeat(smooth[:, -1:], horizon, axis=1)


def seasonal_naive(series: Floats, horizon: int, lag: Ints) -> Floats:
    """Forecast what came one season ago; nodes without a season (lag 0) get their newest bin.

    >>> seasonal_naive(np.array([[1.0, 2.0, 3.0, 1.0]]), 2, np.array([3]))
    array([[2., 3.]])
    """
    out = last_value(series, horizon)
    for node, period in enumerate(lag):
        if 0 < period <= series.shape[1]:
            season = series[node, -period:]
            out[node] = season[np.arange(horizon) % period]
    return out


def profile_level(series: Floats, horizon: int, lag: Ints, recent: int = 12) -> Floats:
    """Forecast the mean season times how much more than it came in the ``recent`` bins.

    Nodes without a season (lag 0) get their exponentially weighted mean.
    """
    out = ewma(series, horizon)
    total = series.shape[1]
    for node, period in enumerate(lag):
        if not 0 < period <= total:
            continue
        whole = total // period * period
        profile = series[node, total - whole :].reshape(-1, period).mean(axis=0)
        window = min(recent, total)
        # The newest bin is the profile's last; half a pair keeps an empty window from deciding.
        expected = profile[(period - 1 - np.arange(window)) % period].sum()
        level = (series[node, -window:].sum() + 0.5) / (expected + 0.5)
        out[node] = profile[np.arange(horizon) % period] * level
    return out


def seasonal_lag(series: Floats, shortest: int, *, false_alarm: float = 0.01) -> Ints:
    """Estimate each node's season in bins from its own autocorrelation; 0 where there is none.

    A season must have been seen three times, stand out of white noise at the ``false_alarm`` level
    over all lags tried, and stand out again at twice the lag, which a coincidence does not.
    """
    nodes, total = series.shape
    lags = np.zeros(nodes, dtype=np.int64)
    longest = total // 3
    if longest <= shortest:
        return lags
    centred = series - series.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * total, axis=1)
    raw = np.fft.irfft(np.abs(spectrum) ** 2, 2 * total, axis=1)[:, :total]
    half = _JITTER_BINS // 2
    limit = norm.isf(false_alarm / (longest - shortest)) / np.sqrt(total * _JITTER_BINS)
    for node in np.flatnonzero(raw[:, 0] > 0.0):
        smooth = np.convolve(raw[node] / raw[node, 0], np.ones(_JITTER_BINS) / _JITTER_BINS, "same")
        # Slow changes make near lags similar without any season: look behind the first dip.
        dips = np.flatnonzero(smooth[half + 1 : longest] <= 0.0)
        if not len(dips):
            continue
        start = max(shortest, half + 1 + int(dips[0]))
        if start >= longest:
            continue
        best = start + int(np.argmax(smooth[start : longest + 1]))
        again = smooth[2 * best - half : 2 * best + half + 1].max()
        if smooth[best] > limit and again > 0.5 * smooth[best]:
            lags[node] = best
    return lags


def wape(forecast: Floats, truth: Floats) -> float:
    """Return the summed absolute error over the summed truth.

    >>> wape(np.array([[1.0, 1.0]]), np.array([[2.0, 0.0]]))
    1.0
    """
    total = float(np.abs(truth).sum())
    if total == 0.0:
        raise InputError("wape needs a truth that is not all zero")
    return float(np.abs(forecast - truth).sum()) / total


def mase(forecast: Floats, truth: Floats, history: Floats, lag: int = 1) -> float:
    """Return the mean absolute error over that of a naive forecast on ``history`` (N, T).

    Hyndman and Koehler, Int. J. Forecasting 22, 679 (2006). Constant nodes have no scale and do not
    count; InputError if all are constant.
    """
    scale = np.abs(history[:, lag:] - history[:, :-lag]).mean(axis=1)
    moving = scale > 0.0
    if not moving.any():
        raise InputError("mase needs a history that is not constant")
    error = np.abs(forecast - truth).reshape(len(truth), -1).mean(axis=1)
    return float((error[moving] / scale[moving]).mean())


def pinball(quantiles: Floats, truth: Floats, levels: Floats) -> float:
    """Return the mean pinball loss of ``quantiles`` (..., Q) at ``levels`` (Q,).

    >>> pinball(np.array([[3.0]]), np.array([5.0]), np.array([0.9]))
    1.8
    """
    below = truth[..., None] - quantiles
    return float(np.maximum(levels * below, (levels - 1.0) * below).mean())


def crps_poisson(mean: Floats, truth: Floats) -> float:
    """Return the mean continuous ranked probability score of Poisson forecasts.

    Closed form of Wei and Held, TEST 23, 787 (2014).
    """
    mu = np.maximum(mean, 1e-12)
    score = (truth - mu) * (2.0 * poisson.cdf(truth, mu) - 1.0)
    score += mu * (2.0 * poisson.pmf(truth, mu) - i0e(2.0 * mu) - i1e(2.0 * mu))
    return float(score.mean())


def coverage(low: Floats, high: Floats, truth: Floats) -> float:
    """Return the share of truths within [low, high], ends included.

    >>> coverage(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([1.0, 2.0]))
    0.5
    """
    return float(((truth >= low) & (truth <= high)).mean())

"""The season of a node, finer than a bin: what its forecaster folds the past at."""

import numpy as np
from numpy.typing import NDArray

from controller.baselines import seasonal_lag
from controller.forecasting.streams import BINS

__all__ = ["seasons"]

Floats = NDArray[np.float64]

#: Bins around a multiple of the season in which its peak is sought.
_AROUND = 4


def seasons(series: Floats) -> Floats:
    """Return each node's season in bins, from its counts (N, T), the newest last; 0 where none.

    Peaks of the autocorrelation at multiples of the season say it more exactly than the first.
    """
    lags = seasonal_lag(series, BINS)
    found = lags.astype(np.float64)
    total = series.shape[1]
    for n in np.flatnonzero(lags):
        centred = series[n] - series[n].mean()
        spectrum = np.abs(np.fft.rfft(centred, 2 * total)) ** 2
        raw = np.maximum(np.fft.irfft(spectrum, 2 * total)[:total], 0.0)
        for multiple in range(1, int(total / 2 / found[n]) + 1):
            middle = round(multiple * found[n])
            around = np.arange(max(1, middle - _AROUND), min(total, middle + _AROUND + 1))
            if raw[around].sum() > 0.0:
                found[n] = float((raw[around] * around).sum() / raw[around].sum()) / multiple
    return found

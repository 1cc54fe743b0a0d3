"""The search for the best profile x level: its three numbers, on training traces."""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from controller.forecasting.lessons import training_traces
from controller.forecasting.rivals import smooth_profile
from controller.forecasting.streams import BIN_S, BINS
from controller.forecasting.walked import Classes, Walked
from quantum.traffic import REFRESH_S

__all__ = ["GRID", "search"]

Floats = NDArray[np.float64]

GRID = {"half": (3, 5, 8, 12), "drawn": (0.3, 1.0, 3.0), "recent": (5, 10, 20, 50)}
#: Bins between two forecasts.
_EVERY = 30


def search(
    traces: int, seconds: float, advance: Callable[[], None]
) -> tuple[dict[str, float], float]:
    """Return the numbers with the best mean log score, and that score in nats a bin.

    The season is told where there is one, as in every comparison.
    """
    settings = [
        dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())
    ]
    total, looks = np.zeros(len(settings)), 0
    for trace in training_traces(traces, seconds):
        classes = Classes.of_trace(trace)
        size = max(1, len(classes.source) // max(1, len(trace.commodities)))
        commodity = np.arange(len(classes.source)) // size
        owner = np.zeros(len(trace.commodities), dtype=np.int64)
        blocks = Walked.of(trace, classes, commodity, owner, seconds).blocks
        season = round(REFRESH_S / BIN_S) if trace.name in ("scheduled", "hotspot") else 0
        for bin_ in range(400, round(seconds / BIN_S) - BINS, _EVERY):
            past, came = blocks[:, :bin_], blocks[:, bin_ : bin_ + BINS] > 0.0
            for number, setting in enumerate(settings):
                rate = np.maximum(_profile(past, season, setting), 1e-6)
                total[number] += np.where(came, -np.log(-np.expm1(-rate)), rate).mean()
            looks += 1
        advance()
    best = int(np.argmin(total))
    return settings[best], float(total[best] / looks)


def _profile(past: Floats, season: int, setting: dict[str, float]) -> Floats:
    half, recent = int(setting["half"]), int(setting["recent"])
    return smooth_profile(past, BINS, season, half=half, drawn=setting["drawn"], recent=recent)

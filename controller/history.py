"""From a node's stream of requests to the inputs of its forecaster, bin by bin.

N nodes share one object with a leading axis N, but no node sees another's stream. A request counts
for its source and for its destination: both hold memory for it. Everything is bounded: the newest
``capacity`` bins are kept.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.baselines import seasonal_lag
from quantum.errors import InputError

__all__ = ["History", "HistoryConfig"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Longest time since the last request that is told apart, seconds.
_FORGET_S = 20.0


@dataclass(frozen=True)
class HistoryConfig:
    """How requests become inputs."""

    bin_s: float = 0.1
    length: int = 10
    """Bins in an input window."""
    horizon: int = 8
    """Future bins that are forecast."""
    capacity: int = 1024
    """Bins kept, for training and to find a season."""
    rates_s: tuple[float, ...] = (0.3, 1.0, 4.0, 20.0)
    """Time constants of the decaying rates."""
    season_every: int = 100
    """Bins between two looks for a season; 0 never looks."""

    def __post_init__(self) -> None:
        if not (0.0 < self.bin_s < math.inf):
            raise InputError(f"history.bin_s must be > 0 seconds, got {self.bin_s}")
        for name in ("length", "horizon"):
            if getattr(self, name) < 1:
                raise InputError(f"history.{name} must be >= 1, got {getattr(self, name)}")
        if self.capacity < self.length + self.horizon:
            raise InputError(
                f"history.capacity must be >= length + horizon = {self.length + self.horizon}"
            )
        if not self.rates_s or not all(0.0 < tau < math.inf for tau in self.rates_s):
            raise InputError("history.rates_s must be positive times in seconds")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the input columns, in order."""
        rates = tuple(f"rate_{tau:g}s" for tau in self.rates_s)
        ahead = tuple(f"season_{j}" for j in range(1, self.horizon + 1))
        return ("requests", "pairs", "as_source", "fidelity", "since", *rates, "season", *ahead)


class History:
    """The request streams of N nodes, binned as they come.

    Counts, times and rates enter as log(1 + x). Season columns hold what came one season before
    each bin of the horizon, and are zero until a node's own autocorrelation shows a season.

    >>> h = History(2, HistoryConfig(length=3))
    >>> h.record(0.25, source=0, destination=1, minimum_fidelity=0.8, pairs=4)
    >>> h.advance(0.3)
    >>> h.series().tolist()
    [[0.0, 0.0, 4.0], [0.0, 0.0, 4.0]]
    """

    def __init__(self, nodes: int, config: HistoryConfig | None = None) -> None:
        if nodes < 1:
            raise InputError(f"history.nodes must be >= 1, got {nodes}")
        self.config = config or HistoryConfig()
        self.nodes = nodes
        self.bins = 0
        self.lag = np.zeros(nodes, dtype=np.int64)
        # Of the open bin, per node: requests, pairs, pairs as source, fidelity summed.
        self._open = np.zeros((nodes, 4))
        self._last_s = np.full(nodes, -np.inf)
        self._rate = np.zeros((nodes, len(self.config.rates_s)))
        own = 5 + len(self.config.rates_s)
        self._rows = np.zeros((nodes, self.config.capacity, own))
        self._pairs = np.zeros((nodes, self.config.capacity))

    def record(
        self, time_s: float, *, source: int, destination: int, minimum_fidelity: float, pairs: int
    ) -> None:
        """Count a request at both its ends; closes the bins before it, a late one joins the open.

        A ``destination`` of -1 lives in another process and keeps its own history.

        Raises InputError on a node out of range, the same node twice, or values not possible.
        """
        if not (math.isfinite(time_s) and time_s >= 0.0):
            raise InputError(f"request.time_s must be finite and >= 0, got {time_s}")
        if not (0 <= source < self.nodes and -1 <= destination < self.nodes):
            raise InputError(
                f"request source and destination must be 0 to {self.nodes - 1}, or a destination -1"
            )
        if source == destination:
            raise InputError("request source and destination must differ")
        if not 0.0 <= minimum_fidelity <= 1.0:
            raise InputError(f"request.minimum_fidelity must be 0 to 1, got {minimum_fidelity}")
        if pairs < 1:
            raise InputError(f"request.pairs must be >= 1, got {pairs}")
        self.advance(time_s)
        for node in (source, destination) if destination >= 0 else (source,):
            as_source = pairs if node == source else 0
            self._open[node] += (1.0, pairs, as_source, minimum_fidelity)
            self._last_s[node] = max(time_s, self._last_s[node])

    def advance(self, now_s: float) -> None:
        """Close every bin that has ended by ``now_s``."""
        if not math.isfinite(now_s):
            raise InputError(f"history time must be finite, got {now_s}")
        # A slot's end is a sum of floats: a billionth of a bin short is still the end.
        target = math.floor(now_s / self.config.bin_s + 1e-9)
        skip = target - self.bins - self.config.capacity
        if skip > 1:  # what lies behind the capacity is forgotten anyway
            self._close()
            self._rate *= np.exp(-(skip - 1) * self.config.bin_s / np.array(self.config.rates_s))
            self.bins += skip - 1
            self._pairs[:] = 0.0
            self._rows[:] = 0.0
        while self.bins < target:
            self._close()

    def series(self) -> Floats:
        """Return the pairs asked in the closed bins kept, (N, T), the newest last."""
        kept = min(self.bins, self.config.capacity)
        at = np.arange(self.bins - kept, self.bins) % self.config.capacity
        return self._pairs[:, at]

    def inputs(self) -> Floats:
        """Return the newest window (N, L, I); bins before the start are zero."""
        ends = np.full((self.nodes, 1), self.bins - 1)
        return self._window(ends)[:, 0]

    def windows(self, batch: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw training windows (N, B, L, I) and the pairs that followed (N, B, horizon).

        Raises InputError before ``length + horizon`` bins are closed.
        """
        cfg = self.config
        oldest = max(0, self.bins - cfg.capacity) + cfg.length - 1
        newest = self.bins - 1 - cfg.horizon
        if newest < oldest:
            raise InputError(f"history needs {cfg.length + cfg.horizon} closed bins to train on")
        ends = rng.integers(oldest, newest + 1, (self.nodes, batch))
        ahead = ends[..., None] + np.arange(1, cfg.horizon + 1)
        return self._window(ends), self._pairs_at(ahead)

    def _close(self) -> None:
        requests, pairs, as_source, fidelity = self._open.T
        taus = np.array(self.config.rates_s)
        self._rate = self._rate * np.exp(-self.config.bin_s / taus) + pairs[:, None] / taus
        end_s = (self.bins + 1) * self.config.bin_s
        since = np.clip(end_s - self._last_s, 0.0, _FORGET_S)
        at = self.bins % self.config.capacity
        row = self._rows[:, at]
        row[:, 0], row[:, 1] = np.log1p(requests), np.log1p(pairs)
        row[:, 2] = as_source / np.maximum(pairs, 1.0)
        row[:, 3] = fidelity / np.maximum(requests, 1.0)
        row[:, 4] = np.log1p(since)
        row[:, 5:] = np.log1p(self._rate)
        self._pairs[:, at] = pairs
        self._open[:] = 0.0
        self.bins += 1
        every = self.config.season_every
        if every and self.bins % every == 0:
            self.lag = seasonal_lag(self.series(), self.config.horizon)

    def _window(self, ends: Ints) -> Floats:
        """Return the inputs of windows that end with bins ``ends`` (N, B): (N, B, L, I)."""
        bins = ends[..., None] + np.arange(1 - self.config.length, 1)
        nodes = np.arange(self.nodes)[:, None, None]
        kept = self._kept(bins)[..., None]
        own = np.where(kept, self._rows[nodes, bins % self.config.capacity], 0.0)
        lag = self.lag[:, None, None]
        season = np.broadcast_to(lag > 0, bins.shape)[..., None]
        before = (bins - lag)[..., None] + np.arange(1, self.config.horizon + 1)
        ahead = np.where(season, np.log1p(self._pairs_at(before)), 0.0)
        return np.concatenate([own, season.astype(np.float64), ahead], axis=-1)

    def _pairs_at(self, bins: Ints) -> Floats:
        """Return the pairs asked in bins (N, ...); zero where not kept."""
        nodes = np.arange(self.nodes).reshape(-1, *[1] * (bins.ndim - 1))
        return np.where(self._kept(bins), self._pairs[nodes, bins % self.config.capacity], 0.0)

    def _kept(self, bins: Ints) -> NDArray[np.bool_]:
        return (bins >= max(0, self.bins - self.config.capacity)) & (bins < self.bins)

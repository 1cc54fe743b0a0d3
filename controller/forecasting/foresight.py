"""When each node will be asked for pairs: forecasts by recurrence, learned as the requests come.

A node that is the source of commodities reads its own requests with a network that was trained
before (:func:`shipped`); the outputs of the network go on learning, by gradient steps on what the
node itself sees (Zinkevich, ICML 2003, with the step sizes of Duchi et al., JMLR 12, 2121, 2011).
Every second the forecast of the second before is scored against what came; that is all the past
that is needed, and the future is never touched.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from controller.baselines import seasonal_lag
from controller.checkpoint import load
from controller.forecasting.kernels import foresee, improve
from controller.forecasting.recurrence import OUTPUTS, Weights
from controller.forecasting.streams import (
    BIN_S,
    BINS,
    CELL_S,
    CELLS,
    FEATURES,
    INPUTS,
    SIZES,
    flat_rate,
    new_streams,
    note,
    set_season,
)
from quantum.errors import InputError

__all__ = ["Foresight", "shipped"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Bins of a node's series in which a season is looked for, and seconds between two looks.
_SEASON_BINS, _SEASON_EVERY_S = 2048, 10.0
#: A season that differs by less, or a multiple of the one in use, is no other season.
_SAME_SEASON = 0.04
#: What is left of a class's share of its commodity at each request of that commodity.
_FADE_SHARE = 0.97
#: Pairs of a request, until one has been seen.
_USUAL_PAIRS = 4.0


@cache
def shipped(name: str = "gru") -> Weights:
    """Return the network that comes with the package, one set of weights.

    ``data/forecast.toml`` says by which command, from which seeds and by which versions it was
    made.
    """
    path = Path(str(files("controller").joinpath("data", f"forecast_{name}.safetensors")))
    arrays = load(path).arrays
    return Weights(**{key: np.asarray(arrays[key], np.float64) for key in Weights._fields})


class Foresight:
    """Forecasts the requests of C classes: ``record`` what comes, ask what is ``expected``.

    ``source``, ``destination`` and ``fidelity`` (C,) tell what a class asks for; classes of the
    same two nodes are one commodity, remembered by its source. ``learn=False`` keeps the network
    as it is; ``weights`` takes another one.

    >>> f = Foresight(np.array([0]), np.array([1]), np.array([0.8]), slot_s=0.02)
    >>> f.record(0, 0, 4)
    >>> f.expected(0, 25).shape
    (1,)
    """

    def __init__(
        self,
        source: Ints,
        destination: Ints,
        fidelity: Floats,
        *,
        slot_s: float,
        weights: Weights | None = None,
        learn: bool = True,
        learning_rate: float = 0.03,
        leash: float = 1e-3,
    ) -> None:
        _check(source, destination, fidelity, slot_s)
        self.slot_s, self.learn = slot_s, learn
        self._rate, self._leash = learning_rate, leash
        ends = np.stack([source, destination], axis=1).reshape(-1, 2)
        self.commodities, of = np.unique(ends, axis=0, return_inverse=True)
        self.commodity = of.reshape(-1).astype(np.int64)
        self.nodes, owner = np.unique(self.commodities[:, 0], return_inverse=True)
        self.owner = owner.reshape(-1).astype(np.int64)
        self._fidelity = np.asarray(fidelity, np.float64)
        self._classes = np.bincount(self.commodity, minlength=len(self.commodities))
        self._asked = np.ones(len(source))
        self.streams = new_streams(self.owner, len(self.nodes))
        start = shipped() if weights is None else weights
        many = len(self.nodes)
        self.weights = Weights(*(np.repeat(part[:1], many, axis=0) for part in start))
        self._start = Weights(*(np.repeat(part[:1], many, axis=0) for part in start))
        if self.weights.wz.shape[1] != FEATURES or self.weights.wi.shape[1] != INPUTS:
            raise InputError(f"forecast weights must have {INPUTS} inputs, {FEATURES} features")
        units, hidden = self.weights.wz.shape[2], self.weights.wh.shape[1]
        size = len(self.commodities)
        self._hidden, self._read = np.zeros((many, hidden)), np.full(many, -1, dtype=np.int64)
        self._heard = np.zeros(many, dtype=np.int64)
        self._squares = np.zeros((many, units + 1, OUTPUTS))
        self._units, self._flat = np.zeros((size, BINS, units)), np.zeros(size)
        self._log = np.zeros((size, BINS, OUTPUTS))
        self._series = np.zeros((many, _SEASON_BINS))
        self._season = np.full(many, np.nan)
        self._slot, self._asked_slot = 0, -1
        self._second = -1
        self._pending: tuple[int, Floats, Floats] | None = None

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """Note a request of class ``cls`` for ``pairs`` pairs, made in ``slot``; slots never fall.

        Raises InputError on a class, slot or number of pairs that cannot be.
        """
        if not 0 <= cls < len(self.commodity):
            raise InputError(f"forecast class must be 0 to {len(self.commodity) - 1}, got {cls}")
        if not (pairs >= 1 and np.isfinite(pairs)):
            raise InputError(f"forecast pairs must be >= 1, got {pairs}")
        self._walk(slot)
        k = int(self.commodity[cls])
        n = int(self.owner[k])
        now_s = slot * self.slot_s
        before = self.streams.blocks[k]
        note(self.streams, k, now_s, float(pairs), float(self._fidelity[cls]))
        if self.streams.blocks[k] > before:
            self._series[n, int(now_s / CELL_S + 1e-9) % _SEASON_BINS] += 1.0
        self._heard[n] += 1
        same = self.commodity == k
        self._asked[same] = 1.0 + _FADE_SHARE * (self._asked[same] - 1.0)
        self._asked[cls] += 1.0
        self._asked_slot = -1

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """Return the pairs expected of each class in the ``horizon_slots`` after ``slot``, (C,)."""
        if horizon_slots < 1:
            raise InputError(f"forecast horizon must be >= 1 slot, got {horizon_slots}")
        rate = -np.expm1(-np.exp(self.log_rates(slot)[:, :, 1]))
        reach = horizon_slots * self.slot_s / BIN_S
        inside = np.clip(reach - np.arange(BINS), 0.0, 1.0)
        blocks = rate @ inside + self._flat * BIN_S * max(0.0, reach - BINS)
        return (blocks * self.block_pairs())[self.commodity] * self.shares()

    def hazards(self, slot: int) -> Floats:
        """Return the chance that a commodity's next block comes in each bin, (K, BINS).

        What is left of one is the chance that none comes within the grid.
        """
        hazard = np.exp(self.log_rates(slot)[:, :, 0])
        before = np.cumsum(hazard, axis=1) - hazard
        chance: Floats = np.exp(-before) * -np.expm1(-hazard)
        return chance

    def time_to_next(self, slot: int) -> Floats:
        """Return the chance that the next request of a class came by each bin's end, (C, BINS).

        A block of b batches holds one of the class's with chance 1 - (1 - share)^b; later blocks
        within the grid count by their rates.
        """
        usual = np.maximum(1.0, self.block_pairs() / _USUAL_PAIRS)
        share = 1.0 - (1.0 - self.shares()) ** usual[self.commodity]
        hazard = np.exp(self.log_rates(slot)[:, :, 0])[self.commodity]
        survived: Floats = np.exp(-np.cumsum(hazard, axis=1))
        return share[:, None] * (1.0 - survived)

    def log_rates(self, slot: int) -> Floats:
        """Return the log of hazard and rate of blocks in each bin ahead, (K, BINS, 2)."""
        self._walk(slot)
        if self._asked_slot != slot:
            now_s = slot * self.slot_s
            foresee(
                self.streams,
                self.weights,
                now_s,
                self._heard,
                self._read,
                self._hidden,
                self._flat,
                self._units,
                self._log,
            )
            self._asked_slot = slot
        return self._log

    def block_pairs(self) -> Floats:
        """Return the pairs that a block of each commodity asks for on average, (K,)."""
        s = self.streams
        usual = (s.node_pairs + _USUAL_PAIRS) / (s.node_blocks + 1.0)
        mean: Floats = (s.size[:, 0] + usual[self.owner]) / (s.size[:, 1] + 1.0)
        return mean

    def block_sizes(self) -> tuple[Floats, Floats]:
        """Return what the newest blocks asked for (K, SIZES + 1), with weights that sum to one."""
        s = self.streams
        usual = (s.node_pairs + _USUAL_PAIRS) / (s.node_blocks + 1.0)
        known = np.arange(SIZES)[None, :] < np.minimum(s.blocks, SIZES)[:, None]
        weight = np.concatenate([known, np.full((len(known), 1), 0.5)], axis=1)
        sizes = np.concatenate([s.sizes, np.rint(usual[self.owner])[:, None]], axis=1)
        return sizes, weight / weight.sum(axis=1, keepdims=True)

    def shares(self) -> Floats:
        """Return each class's share of the pairs of its commodity, (C,)."""
        total = np.bincount(self.commodity, self._asked, minlength=len(self.commodities))
        share: Floats = self._asked / total[self.commodity]
        return share

    def head(self) -> Floats:
        """Return the outputs' weights of each node (N, (Z + 1) 2): what may be averaged."""
        parts = self.weights.wo, self.weights.bo
        return np.concatenate([part.reshape(len(self.nodes), -1) for part in parts], axis=1)

    def load_head(self, head: Floats) -> None:
        """Take over outputs' weights (N, P), as after an average over nodes."""
        wanted = self.head().shape
        if head.shape != wanted or not np.all(np.isfinite(head)):
            raise InputError(f"forecast head must be finite and have shape {wanted}")
        edge = self.weights.wo[0].size
        self.weights.wo[:] = head[:, :edge].reshape(self.weights.wo.shape)
        self.weights.bo[:] = head[:, edge:].reshape(self.weights.bo.shape)
        self._asked_slot = -1

    def _walk(self, slot: int) -> None:
        """Learn from every second that has ended before ``slot``."""
        if slot < self._slot:
            raise InputError(f"forecast slots never fall: {slot} after {self._slot}")
        last, self._slot = self._slot, slot
        second = int((slot - 1) * self.slot_s / (BINS * BIN_S) + 1e-9)
        if second == self._second:
            return
        # Of a long silence the beginning and the end teach all there is.
        seconds = range(self._second + 1, second + 1)
        for number in seconds if len(seconds) <= 128 else [*seconds[:64], *seconds[-64:]]:
            self._end_of(number)
        self._second = second
        self._forget(last, slot)

    def _end_of(self, second: int) -> None:
        now_s = second * BINS * BIN_S
        slot = round(now_s / self.slot_s)
        if self.learn and len(self.nodes):
            if self._pending is not None and self._pending[0] == second - 1:
                improve(
                    self.streams,
                    self.weights,
                    self._start,
                    self._pending[1],
                    self._pending[2],
                    now_s - BINS * BIN_S,
                    self._rate,
                    self._leash,
                    self._squares,
                )
            self._asked_slot = -1
            self._refresh(now_s)
            self._pending = (second, self._units.copy(), self._flat.copy())
        every = round(_SEASON_EVERY_S / (BINS * BIN_S))
        if second and second % every == 0 and slot:
            self._find_seasons(now_s)

    def _refresh(self, now_s: float) -> None:
        foresee(
            self.streams,
            self.weights,
            now_s,
            self._heard,
            self._read,
            self._hidden,
            self._flat,
            self._units,
            self._log,
        )

    def _find_seasons(self, now_s: float) -> None:
        """Look for each node's season in its own series; fold its blocks anew where it is new."""
        known = int(now_s / CELL_S + 1e-9)
        size = min(known, _SEASON_BINS)
        at = np.arange(known - size, known) % _SEASON_BINS
        lags = seasonal_lag(self._series[:, at], BINS)
        for n in np.flatnonzero(lags):
            found = float(lags[n]) * CELL_S
            if found > CELLS * CELL_S:
                continue
            for k in np.flatnonzero(self.owner == n):
                used = self.streams.cells[k] * self.streams.cell_s[k]
                ratio = found / used
                if abs(ratio - max(1.0, np.rint(ratio))) > _SAME_SEASON * ratio:
                    set_season(self.streams, int(k), found, now_s)

    def _forget(self, last: int, slot: int) -> None:
        """Clear the bins of the series that the clock has entered since ``last``."""
        first, end = (int(s * self.slot_s / CELL_S + 1e-9) for s in (last, slot))
        new = np.arange(max(first + 1, end - _SEASON_BINS + 1), end + 1)
        self._series[:, new % _SEASON_BINS] = 0.0


def _check(source: Ints, destination: Ints, fidelity: Floats, slot_s: float) -> None:
    if not (len(source) == len(destination) == len(fidelity)):
        raise InputError("forecast classes need a source, a destination and a fidelity each")
    if not np.all(np.isfinite(fidelity)):
        raise InputError("forecast fidelity must be finite")
    if not (0.0 < slot_s <= BINS * BIN_S and np.isfinite(slot_s)):
        raise InputError(f"forecast slot_s must be above 0 and at most 1 second, got {slot_s}")

"""When each node will be asked for pairs: forecasts by recurrence, learned as the requests come.

A node that is the source of commodities reads its own requests with a network that was trained
before (:func:`shipped`); the outputs of the network go on learning, by gradient steps on what the
node itself sees (Zinkevich, ICML 2003, with the step sizes of Duchi et al., JMLR 12, 2121, 2011).
Every second the forecast of the second before is scored against what came; that is all the past
that is needed, and the future is never touched.
"""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.checkpoint import load
from controller.forecasting.kernels import foresee, improve
from controller.forecasting.looks import note
from controller.forecasting.recurrence import OUTPUTS, Weights
from controller.forecasting.seasons import seasons
from controller.forecasting.streams import (
    BIN_S,
    BINS,
    CELL_S,
    CELLS,
    FEATURES,
    INPUTS,
    SIZES,
    new_streams,
    newest,
    set_season,
)
from quantum.errors import InputError

__all__ = ["Foresight", "shipped"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Turns windows of requests (W, LENGTH, INPUTS), of which ``length`` (W,) are real, into (W, H).
Reader = Callable[[Floats, Ints], Floats]

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

    ``data/forecast_NAME.toml`` says by which command, from which seeds and by which versions it
    was made.
    """
    path = Path(str(files("controller").joinpath("data", f"forecast_{name}.safetensors")))
    arrays = load(path).arrays
    return Weights(**{key: np.asarray(arrays[key], np.float64) for key in Weights._fields})


class _Look(NamedTuple):
    """What was seen ahead: flat rates, the head's units, the log of hazards and rates."""

    flat: Floats  # (K,)
    units: Floats  # (K, BINS, Z)
    log: Floats  # (K, BINS, 2)

    @classmethod
    def of(cls, size: int, units: int) -> "_Look":
        """Return room for K commodities."""
        return cls(np.zeros(size), np.zeros((size, BINS, units)), np.zeros((size, BINS, OUTPUTS)))


class Foresight:
    """Forecasts the requests of C classes: ``record`` what comes, ask what is ``expected``.

    ``source``, ``destination`` and ``fidelity`` (C,) tell what a class asks for; classes of the
    same two nodes are one commodity, remembered by its source. ``learn=False`` keeps the network
    as it is; ``weights`` takes another one, and a ``reader`` reads the nodes' requests in the place
    of the GRU (see :mod:`controller.forecasting.reservoirs`).

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
        reader: Reader | None = None,
        learn: bool = True,
        learning_rate: float = 0.01,
        leash: float = 1e-3,
    ) -> None:
        _check(source, destination, fidelity, slot_s)
        self.slot_s, self.learn = slot_s, learn
        self._rate, self._leash, self._reader = learning_rate, leash, reader
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
        self._now, self._soon = _Look.of(size, units), _Look.of(size, units)
        self._anchor, self._last = np.full(many, -1), np.zeros(many, dtype=np.int64)
        self._learned = 0
        self._series = np.zeros((many, _SEASON_BINS))
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
        self._last[n] = slot
        self._anchor[n] = -1
        same = self.commodity == k
        self._asked[same] = 1.0 + _FADE_SHARE * (self._asked[same] - 1.0)
        self._asked[cls] += 1.0
        self._asked_slot = -1

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """Return the pairs expected of each class in the ``horizon_slots`` after ``slot``, (C,)."""
        if horizon_slots < 1:
            raise InputError(f"forecast horizon must be >= 1 slot, got {horizon_slots}")
        self._walk(slot)
        anchor, look = self._anchored(slot)
        rate = -np.expm1(-np.exp(look.log[:, :, 1]))
        # Bins of a commodity begin when its node looked, at most a bin ago.
        start = ((slot - anchor) * self.slot_s / BIN_S)[self.owner, None]
        stop = start + horizon_slots * self.slot_s / BIN_S
        inside = np.clip(stop - np.arange(BINS), 0.0, 1.0) - np.clip(
            start - np.arange(BINS), 0.0, 1.0
        )
        blocks = (rate * inside).sum(axis=1)
        blocks += look.flat * BIN_S * np.maximum(0.0, stop[:, 0] - BINS)
        pairs: Floats = (blocks * self.block_pairs())[self.commodity] * self.shares()
        return pairs

    def hazards(self, slot: int) -> Floats:
        """Return the chance that a commodity's next block comes in each bin, (K, BINS).

        What is left of one is the chance that none comes within the grid.
        """
        hazard = np.exp(self.log_rates(slot)[:, :, 0])
        before = np.cumsum(hazard, axis=1) - hazard
        chance: Floats = np.exp(-before) * -np.expm1(-hazard)
        return chance

    def time_to_next(self, slot: int) -> Floats:
        """Return the chance that a class's next request came by each bin's end, (C, BINS)."""
        hazard = np.exp(self.log_rates(slot)[:, :, 0])
        return self.by_class(-np.expm1(-np.cumsum(hazard, axis=1)))

    def by_class(self, chance: Floats) -> Floats:
        """Turn chances that a block comes (K, ...) into chances that a class is in it (C, ...).

        A block of b requests holds one of a class with chance 1 - (1 - share)^b.
        """
        usual = (self.streams.node_pairs + _USUAL_PAIRS) / (self._heard + 1.0)
        batches = np.maximum(1.0, self.block_pairs() / usual[self.owner])
        inside = 1.0 - (1.0 - self.shares()) ** batches[self.commodity]
        found: Floats = chance[self.commodity] * inside.reshape(-1, *[1] * (chance.ndim - 1))
        return found

    def log_rates(self, slot: int) -> Floats:
        """Return the log of hazard and rate of blocks in each bin ahead, (K, BINS, 2)."""
        self._walk(slot)
        if self._asked_slot != slot:
            self._refresh(self._now, np.full(len(self.nodes), slot * self.slot_s))
            self._asked_slot = slot
        return self._now.log

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
        self._asked_slot, self._anchor[:] = -1, -1

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
            self._asked_slot, self._learned = -1, slot + 1
            self._refresh(self._now, np.full(len(self.nodes), now_s))
            self._pending = (second, self._now.units.copy(), self._now.flat.copy())
        every = round(_SEASON_EVERY_S / (BINS * BIN_S))
        if second and second % every == 0 and slot:
            self._find_seasons(now_s)

    def _anchored(self, slot: int) -> tuple[Ints, _Look]:
        """Return when each node looked last (N,), and what it saw: cheap enough for every slot.

        A node looks again at every bin of the clock, when it hears a request and when it has
        learned; never because it is asked, so its answers do not depend on who asks when.
        """
        every = max(1, round(BIN_S / self.slot_s))
        anchor = np.maximum(self._last, max(slot // every * every, self._learned))
        now_s = np.where(anchor != self._anchor, anchor * self.slot_s, -1.0)
        if np.any(now_s >= 0.0):
            self._refresh(self._soon, now_s)
            self._anchor = anchor
        return anchor, self._soon

    def _refresh(self, look: _Look, now_s: Floats) -> None:
        """Look at the commodities of the nodes that look, each at its time ``now_s`` (N,)."""
        if self._reader is not None:
            news = np.flatnonzero((self._read != self._heard) & (now_s >= 0.0))
            if len(news):
                events, length = newest(self.streams, news)
                self._hidden[news] = self._reader(events, length)
                self._read[news] = self._heard[news]
        foresee(self.streams, self.weights, now_s, self._heard, self._read, self._hidden, *look)

    def _find_seasons(self, now_s: float) -> None:
        """Look for each node's season in its own series; fold its blocks anew where it is new."""
        known = int(now_s / CELL_S + 1e-9)
        size = min(known, _SEASON_BINS)
        at = np.arange(known - size, known) % _SEASON_BINS
        bins = seasons(self._series[:, at])
        for n in np.flatnonzero(bins):
            found = float(bins[n]) * CELL_S
            if found > CELLS * CELL_S:
                continue
            for k in np.flatnonzero(self.owner == n):
                used = self.streams.cells[k] * self.streams.cell_s[k]
                ratio = found / used
                if abs(ratio - max(1.0, np.rint(ratio))) > _SAME_SEASON * ratio:
                    set_season(self.streams, int(k), found, now_s)
                    self._learned = max(self._learned, round(now_s / self.slot_s) + 1)
                    self._asked_slot = -1

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

"""Who will ask soon: what a forecaster of requests is, and two of a few lines of numpy.

A class is a node pair with a minimum fidelity (a row of ``world.cls``); a forecaster hears of the
requests of the classes whose sources it speaks for, and of no others. What it says of a class must
not depend on the classes of other sources, so that nodes forecast the same however they are spread
over processes.

Scheduled demand comes in blocks that repeat: key refresh, backups, synchronisation. Whether a
node's demand is of that kind is not told to it. :class:`Periodic` weighs two models of each node's
requests, blocks that repeat and arrivals at a constant rate, by how likely they made what came.
"""

import math
from collections import deque
from typing import Protocol

import numpy as np
from scipy.special import ndtr

from quantum.errors import InputError
from quantum.kernels import Table
from quantum.ledger.state import Floats, Ints

__all__ = ["Arrivals", "Periodic", "Recent"]

#: Gaps between blocks that a node remembers.
_GAPS = 32


class Arrivals(Protocol):
    """Forecasts the requests of C classes; times are slots and never go back."""

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """Note that a request for ``pairs`` pairs of class ``cls`` arrives in ``slot``."""

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """Return the pairs (C,) of requests that arrive after ``slot``, within the horizon.

        What is recorded up to and including ``slot`` is known. Finite, and at least 0.
        """


class Recent:
    """The recent rate of every class: an exponentially weighted mean over ``memory_s``.

    It starts without bias: until as much time has passed, it is the plain mean.
    """

    def __init__(self, classes: Table, slot_s: float, *, memory_s: float = 20.0) -> None:
        if not 0.0 < memory_s < math.inf:
            raise InputError(f"memory_s must be > 0 seconds, got {memory_s}")
        self._slots = max(1.0, memory_s / slot_s)
        self._sum = np.zeros(len(classes))
        self._last = np.zeros(len(classes))

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """See :class:`Arrivals`."""
        # Each class fades by itself: what is said of it is the same, bit by bit, alone.
        self._sum[cls] *= math.exp((self._last[cls] - slot) / self._slots)
        self._sum[cls] += pairs
        self._last[cls] = slot

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """See :class:`Arrivals`."""
        weight = -math.expm1(-(slot + 1.0) / self._slots) * self._slots
        faded = self._sum * np.exp((self._last - slot) / self._slots)
        out: Floats = faded * (horizon_slots / weight)
        return out


class Periodic:
    """Blocks that repeat with a scatter of ``spread_s``, where they are seen to.

    A block is what a node pair asks for within ``block_s`` of its first request. The next is
    expected a period later, as large as those before it on average; after more the phase is their
    mean. The period is ``period_s`` where it is known; else every node finds its own, as the mean
    of the gaps between its blocks that most of them agree on. A node's blocks are believed in
    (:meth:`belief`) as far as they explain its requests better than a constant rate does: by the
    likelihood ratio of the blocks that came and of those that did not, from even odds. What is not
    believed to be blocks is :class:`Recent`, with a memory short enough to follow a hot spot.
    """

    def __init__(
        self,
        classes: Table,
        slot_s: float,
        *,
        period_s: float | None = None,
        spread_s: float = 0.2,
        block_s: float = 0.5,
        memory_s: float = 2.0,
    ) -> None:
        for name, value in (("period_s", period_s), ("spread_s", spread_s), ("block_s", block_s)):
            if value is not None and not 0.0 < value < math.inf:
                raise InputError(f"{name} must be > 0 seconds, got {value}")
        self._block = block_s / slot_s
        # A slot is as sharp as times are known.
        self._spread = math.hypot(spread_s / slot_s, 0.5)
        self._recent = Recent(classes, slot_s, memory_s=memory_s)
        ends = np.stack([classes.a, classes.b], axis=1).reshape(-1, 2)
        pairs, commodity = np.unique(ends, axis=0, return_inverse=True)
        self._commodity: Ints = commodity.reshape(-1)
        size = len(pairs)
        self._source: Ints = pairs[:, 0].astype(np.int64)
        self._alike = np.bincount(self._commodity, minlength=size)
        self._start = np.full(size, -np.inf)  # of the last block
        self._phase = np.full(size, np.inf)  # when the last one was due, by all that came
        self._seen = np.zeros(size)  # blocks on which its phase stands
        self._blocks, self._missed = np.zeros(size), np.zeros(size)
        self._pairs = np.zeros(size)  # in all blocks
        nodes = int(self._source.max(initial=-1)) + 1
        self._odds = np.zeros(nodes)  # log, by source
        known = math.inf if period_s is None else period_s / slot_s
        self._period = np.full(nodes, known)
        #: Gaps that agree on the period; none have to where it is known.
        self._agreed = np.full(nodes, 1.0 if period_s is None else np.inf)
        self._gaps: list[deque[float]] | None = None
        if period_s is None:
            self._gaps = [deque(maxlen=_GAPS) for _ in range(nodes)]

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """See :class:`Arrivals`."""
        self._pass(slot)
        self._recent.record(slot, cls, pairs)
        k = self._commodity[cls]
        self._pairs[k] += pairs
        if slot - self._start[k] > self._block:
            self._begin(int(k), slot)

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """See :class:`Arrivals`."""
        self._pass(slot)
        rate = self._recent.expected(slot, horizon_slots)
        due = self._due()
        soon = np.flatnonzero(due < slot + horizon_slots + 5.0 * self._spread)
        trust = self.belief()
        out: Floats = (1.0 - trust[self._source[self._commodity]]) * rate
        if not len(soon):
            return out
        chance = self._comes(soon)
        sigma = self._sigma(soon)
        begun = ndtr((slot + 0.5 - due[soon]) / sigma)
        until = ndtr((slot + horizon_slots + 0.5 - due[soon]) / sigma)
        chance *= (until - begun) / np.maximum(1.0 - chance * begun, 1e-9)
        size = self._pairs[soon] / np.maximum(self._blocks[soon], 1.0)
        block = np.zeros(len(due))
        block[soon] = trust[self._source[soon]] * chance * size
        out += (block / np.maximum(self._alike, 1))[self._commodity]
        return out

    def belief(self) -> Floats:
        """Return how far blocks are believed in at every source, 0 to 1, by node number."""
        out: Floats = 1.0 / (1.0 + np.exp(-self._odds))
        return out

    def _due(self) -> Floats:
        """Return when the next block of every node pair is expected, in slots."""
        out: Floats = self._phase + self._period[self._source]
        return out

    def _comes(self, which: Ints) -> Floats:
        """Return the chance that a block comes when it is due; blocks may be empty."""
        out: Floats = (self._blocks[which] + 1.0) / (
            self._blocks[which] + self._missed[which] + 1.5
        )
        return out

    def _sigma(self, which: Ints) -> Floats:
        """Return the scatter of what comes about when it is due, in slots.

        The phase is a mean of blocks, the period one of gaps, which have two ends.
        """
        of_phase = 1.0 / np.maximum(self._seen[which], 1.0)
        of_period = 2.0 / self._agreed[self._source[which]]
        out: Floats = self._spread * np.sqrt(1.0 + of_phase + of_period)
        return out

    def _begin(self, k: int, slot: int) -> None:
        """Note the first request of a block, and what it says of the two models."""
        at, due = np.array([k]), self._phase[k] + self._period[self._source[k]]
        sigma = float(self._sigma(at)[0])
        expected = abs(slot - due) <= 4.0 * sigma
        if math.isfinite(due):
            rate = self._blocks[k] / max(1.0, slot)
            off = (slot - due) / sigma
            here = math.exp(-0.5 * off * off) / (sigma * math.sqrt(2.0 * math.pi))
            told = 0.95 * float(self._comes(at)[0]) * here + 0.05 * rate
            self._learn(k, math.log(told / rate))
        if expected:
            # The phase is the mean of all blocks that it stands on.
            self._phase[k] = due + (slot - due) / (self._seen[k] + 1.0)
            self._seen[k] += 1.0
        else:
            self._phase[k], self._seen[k] = slot, 1.0
        if self._gaps is not None and self._blocks[k] > 0:
            self._look(int(self._source[k]), slot - self._start[k])
        self._blocks[k] += 1.0
        self._start[k] = slot

    def _look(self, node: int, gap: float) -> None:
        """Take one more gap between blocks of a node, and the period that most of them agree on."""
        assert self._gaps is not None
        self._gaps[node].append(gap)
        gaps = np.array(self._gaps[node])
        near = np.abs(gaps[:, None] - gaps[None, :]) <= 3.0 * math.sqrt(2.0) * self._spread
        # Of equals the newest.
        best = len(gaps) - 1 - int(np.argmax(near.sum(axis=1)[::-1]))
        self._period[node] = gaps[near[best]].mean()
        self._agreed[node] = near[best].sum()

    def _pass(self, slot: int) -> None:
        """Give up the blocks that have not come in time."""
        while len(late := np.flatnonzero(self._due() + 4.0 * self._spread * 1.5 < slot)):
            for k in late.tolist():
                chance = float(self._comes(np.array([k]))[0])
                wide = 12.0 * self._spread * self._blocks[k] / max(1.0, slot)
                self._learn(k, math.log(max(1e-3, 1.0 - 0.95 * chance)) + wide)
                self._missed[k] += 1.0
                self._phase[k] += self._period[self._source[k]]

    def _learn(self, k: int, step: float) -> None:
        node = self._source[k]
        # Never so sure that a change of demand could not be noticed.
        self._odds[node] = min(6.0, max(-6.0, self._odds[node] + step))

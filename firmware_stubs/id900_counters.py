"""How the stub counts: a timeline of wirings, and counts of any stretch of it.

Counters of a time controller look back: a CYCLe counter shows its last *full* window, whatever was
switched meanwhile. So the stub remembers when the wiring changed and draws the counts of a window
piece by piece. The same window always draws the same counts, whoever asks and how often.

Times are seconds of wall clock since power-on; the bench runs ``speed`` times faster.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench import CountedBench, gated
from quantum.seeding import generator

__all__ = ["COUNTERS", "Counters", "Tap", "Wiring"]

Ints = NDArray[np.int64]

#: Counter blocks in the order of a row of counts.
COUNTERS = ("INPU1", "INPU2", "INPU3", "INPU4", "STAR", *(f"TSCO{n}" for n in range(1, 9)))

#: Windows longer than this are refused by the tree, so no older wiring can matter.
_MEMORY_S = 7300.0
_CACHED_WINDOWS = 64


@dataclass(frozen=True)
class Tap:
    """What a time-stamp combiner counts.

    Events of ``source`` (input 0-3), or of a generator of ``period_s``; those inside the ``gate``
    (other input, low ps, high ps) count if ``inside``, all the others if ``outside``.
    """

    source: int | None
    period_s: float | None
    gate: tuple[int, float, float] | None
    inside: bool
    outside: bool


@dataclass(frozen=True)
class Wiring:
    """Everything that decides what is counted: basis 0-2 (None: undefined), inputs, combiners."""

    basis: int | None
    enabled: tuple[bool, bool, bool, bool]
    taps: tuple[Tap | None, ...]


@dataclass(frozen=True)
class _Stretch:
    begin_s: float
    settled_s: float
    wiring: Wiring


@dataclass
class Counters:
    """The timeline and the counts that follow from it."""

    bench: CountedBench
    speed: float
    _timeline: list[_Stretch] = field(default_factory=list)
    _cache: dict[tuple[int, int], Ints] = field(default_factory=dict)

    def rewire(self, now_s: float, wiring: Wiring) -> None:
        """Note that the wiring changed; a new basis takes the modulators' settling time."""
        settled = now_s + self.bench.optics.settle_s
        if self._timeline:
            last = self._timeline[-1]
            if last.wiring == wiring:
                return
            if last.wiring.basis == wiring.basis:
                settled = last.settled_s
        self._timeline.append(_Stretch(now_s, settled, wiring))
        while len(self._timeline) > 1 and self._timeline[1].begin_s < now_s - _MEMORY_S:
            del self._timeline[0]

    def counts(self, begin_s: float, end_s: float) -> Ints:
        """Return the counts (13,) of all counters from ``begin_s`` to ``end_s``."""
        key = (round(begin_s * 1e9), round(end_s * 1e9))
        known = self._cache.get(key)
        if known is None:
            rng = generator(self.bench.seed, "counts", *key)
            known = np.zeros(len(COUNTERS), dtype=np.int64)
            for a, b, basis, wiring in self.pieces(begin_s, end_s):
                known += self._piece(a, b, basis, wiring, rng)
            self._cache[key] = known
            while len(self._cache) > _CACHED_WINDOWS:
                del self._cache[next(iter(self._cache))]
        return known

    def histogram(
        self, begin_s: float, end_s: float, ref: int, stop: int, edges_ps: NDArray[np.float64]
    ) -> Ints:
        """Return how often ``stop`` came between the edges after ``ref``, shape (bins,)."""
        key = (round(begin_s * 1e9), round(end_s * 1e9))
        rng = generator(self.bench.seed, "histogram", ref, stop, *key)
        bins = np.zeros(len(edges_ps) - 1, dtype=np.int64)
        for a, b, basis, wiring in self.pieces(begin_s, end_s):
            if not (wiring.enabled[ref] and wiring.enabled[stop]) or ref == stop:
                continue
            seen = self.bench.events(a * self.speed, b * self.speed, basis, rng)
            flat_hz = seen.rates_hz[ref] * seen.rates_hz[stop] * 1e-12
            bins += rng.poisson(flat_hz * np.diff(edges_ps) * seen.seconds)
            if (ref < 2) != (stop < 2):
                alice, bob = (stop, ref - 2) if stop < 2 else (ref, stop - 2)
                shares = [
                    self.bench.inside(low, high, stop < 2)
                    for low, high in pairwise(edges_ps.tolist())
                ]
                chances = np.array([*shares, max(0.0, 1.0 - sum(shares))])
                pairs = int(seen.pairs[alice, bob])
                bins += rng.multinomial(pairs, chances / chances.sum())[:-1]
        return bins

    def pieces(self, begin_s: float, end_s: float) -> list[tuple[float, float, int | None, Wiring]]:
        """Cut a stretch of time where the wiring changed: begin, end, basis if settled, wiring."""
        pieces: list[tuple[float, float, int | None, Wiring]] = []
        ends = [s.begin_s for s in self._timeline[1:]] + [end_s]
        for stretch, stop in zip(self._timeline, ends, strict=True):
            a, b = max(begin_s, stretch.begin_s), min(end_s, stop)
            if b <= a:
                continue
            middle = min(max(stretch.settled_s, a), b)
            if middle > a:
                pieces.append((a, middle, None, stretch.wiring))
            if b > middle:
                pieces.append((middle, b, stretch.wiring.basis, stretch.wiring))
        return pieces

    def _piece(
        self, a: float, b: float, basis: int | None, wiring: Wiring, rng: np.random.Generator
    ) -> Ints:
        seen = self.bench.events(a * self.speed, b * self.speed, basis, rng)
        row = np.zeros(len(COUNTERS), dtype=np.int64)
        on = np.array(wiring.enabled)
        row[:4] = np.where(on, seen.singles, 0)
        for slot, tap in enumerate(wiring.taps):
            if tap is None:
                continue
            total, inside = 0, 0
            if tap.source is not None and on[tap.source]:
                total = int(seen.singles[tap.source])
                if tap.gate is not None and on[tap.gate[0]]:
                    inside = gated(self.bench, seen, tap.source, *tap.gate, rng)
            elif tap.period_s is not None:
                # The generator belongs to the instrument: it runs on wall time.
                total = int(b / tap.period_s) - int(a / tap.period_s)
            row[5 + slot] = inside * tap.inside + (total - inside) * tap.outside
        return row

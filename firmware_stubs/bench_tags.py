"""Time tags of the small bench: every click of its four detectors, picosecond by picosecond.

The same processes as :meth:`firmware_stubs.bench.Bench.events`: pairs that both sides see, photons
and dark counts that come alone. Tags are drawn in stretches of a fixed grid, each from a generator
of its own, so whoever asks twice sees the same clicks. Dead time is non-paralysable, click by
click.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench import Bench
from quantum.seeding import generator

__all__ = ["BenchTags", "Piece", "without_dead_time"]

Tags = NDArray[np.uint64]
Floats = NDArray[np.float64]

#: Begin and end in bench seconds, basis 0-2 or None, and which inputs are on.
Piece = tuple[float, float, int | None, tuple[bool, bool, bool, bool]]

_GRID_S = 0.1
_CACHED_TAGS = 8_000_000
_PS = 1e12


def without_dead_time(tags: Floats, dead_ps: float) -> Floats:
    """Return sorted tags without those that come within ``dead_ps`` of the last one that counted.

    >>> without_dead_time(np.array([0.0, 30.0, 60.0, 90.0]), 40.0)
    array([ 0., 60.])
    """
    while len(tags) > 1:
        near = np.diff(tags) < dead_ps
        if not near.any():
            break
        # Only the first of a run is surely dead: what follows it may lie clear of the tag before.
        first = near & ~np.concatenate([[False], near[:-1]])
        tags = tags[~np.concatenate([[False], first])]
    return tags


@dataclass
class BenchTags:
    """A :class:`firmware_stubs.ports.CountingPort` on the small bench.

    ``pieces`` says what was wired in a stretch of bench time that is over.
    """

    bench: Bench
    pieces: Callable[[float, float], list[Piece]]
    detectors: int = 4
    _drawn: "OrderedDict[int, list[Floats]]" = field(default_factory=OrderedDict)
    _held: int = 0

    def clicks(self, detector: int, begin_s: float, end_s: float) -> int:
        """Count the clicks of a detector in a stretch of time."""
        return len(self.tags_ps(detector, begin_s, end_s))

    def tags_ps(self, detector: int, begin_s: float, end_s: float) -> Tags:
        """Return sorted tags of a detector, uint64 picoseconds since the bench began."""
        optics = self.bench.optics
        skew_ps = abs(optics.skew_ps + self.bench.added_skew_ps)
        margin_s = (skew_ps + 8.0 * optics.jitter_ps) / _PS
        first = math.floor(max(0.0, begin_s - margin_s) / _GRID_S)
        last = math.ceil((end_s + margin_s) / _GRID_S)
        parts = [self._stretch(number)[detector] for number in range(first, max(first, last))]
        tags = np.concatenate(parts) if parts else np.zeros(0)
        # Skew and jitter carry tags over the seams of the grid: nearly sorted, so this is cheap.
        tags = np.sort(tags, kind="stable")
        low, high = np.searchsorted(tags, (begin_s * _PS, end_s * _PS))
        return without_dead_time(tags[low:high], optics.dead_time_s * _PS).astype(np.uint64)

    def _stretch(self, number: int) -> list[Floats]:
        known = self._drawn.get(number)
        if known is not None:
            self._drawn.move_to_end(number)
            return known
        rng = generator(self.bench.seed, "tags", number)
        parts: list[list[Floats]] = [[] for _ in range(4)]
        for a, b, basis, enabled in self.pieces(number * _GRID_S, (number + 1) * _GRID_S):
            for detector, tags in enumerate(self._draw(a, b, basis, rng)):
                if enabled[detector]:
                    parts[detector].append(tags)
        drawn = [np.sort(np.concatenate(part)) if part else np.zeros(0) for part in parts]
        self._drawn[number] = drawn
        self._held += sum(map(len, drawn))
        while self._held > _CACHED_TAGS and len(self._drawn) > 1:
            self._held -= sum(map(len, self._drawn.popitem(last=False)[1]))
        return drawn

    def _draw(
        self, a: float, b: float, basis: int | None, rng: np.random.Generator
    ) -> list[Floats]:
        """Draw the clicks of four detectors from ``a`` to ``b``; without dead time, unsorted."""
        optics = self.bench.optics
        reach = np.repeat(np.array(optics.transmission), 2) * np.array(optics.efficiency)
        both_hz = np.outer(reach[:2], reach[2:]) * self.bench.outcome_chances(a, b, basis)
        both_hz *= optics.rate_hz
        in_pairs = np.concatenate([both_hz.sum(axis=1), both_hz.sum(axis=0)])
        clicks = 0.5 * optics.rate_hz * reach + np.array(optics.dark_hz)
        alone = rng.poisson(np.maximum(clicks - in_pairs, 0.0) * (b - a))
        tags = [[rng.uniform(a * _PS, b * _PS, n)] for n in alone]
        pairs = rng.poisson(both_hz * (b - a))
        skew_ps = optics.skew_ps + self.bench.added_skew_ps
        for (alice, bob), n in np.ndenumerate(pairs):
            when = rng.uniform(a * _PS, b * _PS, n)
            tags[2 + bob].append(when)
            late = when + rng.normal(skew_ps, optics.jitter_ps, n)
            tags[alice].append(np.maximum(late, 0.0))
        return [np.concatenate(part) for part in tags]

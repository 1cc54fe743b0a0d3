"""Time tags of the shared bench: the same pulses for all detectors, block by block.

A block of bench time is drawn once, for all four detectors together, so tags of a pair lie as far
apart as the pair's photons arrive. Dead time acts on the tags one by one.
"""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from firmware_stubs.bench.shared import SharedBench
from quantum.seeding import generator

__all__ = ["TagStream", "without_dead_time"]

Floats = NDArray[np.float64]
Tags = NDArray[np.uint64]

_BLOCK_S = 0.01
_KEPT_BLOCKS = 256
#: Mean delay of an afterpulse behind the dead time.
_AFTERPULSE_S = 50e-9


def without_dead_time(times: Floats, dead: float) -> Floats:
    """Return the sorted times that a non-paralysable detector shows, shape (kept,).

    >>> without_dead_time(np.array([0.0, 0.6, 1.2, 1.3]), 1.0).tolist()
    [0.0, 1.2]
    """
    while True:
        close = np.diff(times) < dead
        if not close.any():
            return times
        # The first of a run of close ones is lost for certain; its followers may then be far off.
        close[1:] &= ~close[:-1]
        times = np.delete(times, np.flatnonzero(close) + 1)


class TagStream:
    """Tags of a bench; the same stretch always gives the same tags while it is remembered."""

    def __init__(self, bench: SharedBench) -> None:
        self._bench = bench
        self._blocks: OrderedDict[int, tuple[Tags, ...]] = OrderedDict()

    def tags_ps(self, detector: int, begin_s: float, end_s: float) -> Tags:
        """Return the tags with begin <= tag < end on the tagger's clock, which starts at 0."""
        if end_s <= begin_s or end_s <= 0.0:
            return np.zeros(0, dtype=np.uint64)
        first, last = int(max(0.0, begin_s) / _BLOCK_S), int(end_s / _BLOCK_S)
        tags = np.concatenate([self._block(n)[detector] for n in range(first, last + 1)])
        low, high = (np.uint64(round(max(0.0, t) * 1e12)) for t in (begin_s, end_s))
        tags.sort()
        return tags[np.searchsorted(tags, low) : np.searchsorted(tags, high)]

    def _block(self, number: int) -> tuple[Tags, ...]:
        if number in self._blocks:
            return self._blocks[number]
        bench = self._bench
        rng = generator(bench.seed, "tags", number)
        clicks: list[list[Floats]] = [[], [], [], []]
        for a, b, glow in bench.pieces(number * _BLOCK_S, (number + 1) * _BLOCK_S):
            setups = bench.setup.detector
            # Rates of counts are behind the dead time; tags meet it below.
            live = np.array(
                [1.0 - c * d.dead_time_s for c, d in zip(glow.counts_hz, setups, strict=True)]
            )
            pulse = np.array([1.0 - d.afterpulse for d in setups])
            arriving = glow.counts_hz / np.maximum(live, 1e-6) * pulse
            both = glow.both_hz / np.outer(np.maximum(live[:2], 1e-6), np.maximum(live[2:], 1e-6))
            in_pairs = np.concatenate([both.sum(axis=1), both.sum(axis=0)])
            for place in range(4):
                alone = rng.poisson(max(0.0, arriving[place] - in_pairs[place]) * (b - a))
                clicks[place].append(rng.uniform(a, b, alone))
            if glow.link >= 0:
                self._pairs(clicks, both * (b - a), glow.link, a, b, rng)
        block = tuple(
            self._shown(np.concatenate(times), place, rng) for place, times in enumerate(clicks)
        )
        self._blocks[number] = block
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block

    def _pairs(
        self,
        clicks: list[list[Floats]],
        means: Floats,
        link: int,
        a: float,
        b: float,
        rng: np.random.Generator,
    ) -> None:
        skew_s = self._bench.skew_ps(link, (a + b) / 2.0) * 1e-12
        spread_s = self._bench.setup.link[link].jitter_ps * 1e-12
        for alice in range(2):
            for bob in range(2):
                made = rng.uniform(a, b, rng.poisson(means[alice, bob]))
                apart = rng.normal(skew_s, spread_s, len(made))
                clicks[alice].append(made + apart / 2.0)
                clicks[2 + bob].append(made - apart / 2.0)

    def _shown(self, times: Floats, place: int, rng: np.random.Generator) -> Tags:
        setup = self._bench.setup.detector[place]
        times.sort()
        times = without_dead_time(times, setup.dead_time_s)
        if setup.afterpulse > 0.0 and len(times):
            again = times[rng.uniform(size=len(times)) < setup.afterpulse / (1 - setup.afterpulse)]
            late = setup.dead_time_s + rng.exponential(_AFTERPULSE_S, len(again))
            times = np.concatenate([times, again + late])
            times.sort()
            times = without_dead_time(times, setup.dead_time_s)
        return np.round(np.maximum(times, 0.0) * 1e12).astype(np.uint64)

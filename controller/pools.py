"""Measured fidelity: test outcomes pooled by link and by the number of links of a path.

One tested pair says little; pairs of one kind within a window of time say enough. The pools give
estimates with intervals, and the probability that a pair meets the fidelity of its request, which
is the reward.
"""

from collections import deque

import numpy as np

from quantum.counts import Counts
from quantum.estimate import Estimate, estimate, probability_at_least
from quantum.ledger.state import MAX_HOPS, Floats, Ints

__all__ = ["Pools"]


class Pools:
    """Counts by path class (number of links), by link, and over all; a sliding window of slots."""

    def __init__(self, links: int, fidelities: Floats, *, window_slots: int) -> None:
        self._window = window_slots
        self._paths = np.zeros((MAX_HOPS + 1, 3, 2), dtype=np.int64)
        self._links = np.zeros((links, 3, 2), dtype=np.int64)
        self._recent: deque[tuple[int, int, int, int, int]] = deque()
        self._fidelities = fidelities
        self._levels, self._level = np.unique(fidelities, return_inverse=True)
        self._stale = True
        self._trust = np.zeros((len(fidelities), MAX_HOPS + 1))
        self.total = np.zeros((3, 2), dtype=np.int64)
        self.predicted = 0.0
        """Sum of the closed-form fidelities of the tested pairs."""

    def add(
        self, slot: int, *, hops: int, link: int, basis: int, passed: bool, predicted: float
    ) -> None:
        """Add the outcome of a test; ``link`` is -1 unless a single link was tested."""
        outcome = 0 if passed else 1
        self._paths[hops, basis, outcome] += 1
        if link >= 0:
            self._links[link, basis, outcome] += 1
        self._recent.append((slot, hops, link, basis, outcome))
        self.total[basis, outcome] += 1
        self.predicted += predicted
        self._stale = True

    def forget(self, slot: int) -> None:
        """Drop what is older than the window."""
        while self._recent and self._recent[0][0] < slot - self._window:
            _, hops, link, basis, outcome = self._recent.popleft()
            self._paths[hops, basis, outcome] -= 1
            if link >= 0:
                self._links[link, basis, outcome] -= 1
            self._stale = True

    def trust(self) -> Floats:
        """Return the probability that a pair meets its fidelity, (classes, links + 1).

        A kind of path without any test in the window is not trusted at all: no reward without
        measurement.
        """
        if self._stale:
            for hops in range(1, MAX_HOPS + 1):
                counts = Counts.from_array(self._paths[hops])
                known = counts.shots > 0
                by_level = [probability_at_least(counts, f) if known else 0.0 for f in self._levels]
                self._trust[:, hops] = np.array(by_level)[self._level] if by_level else 0.0
            self._stale = False
        return self._trust

    def path(self, hops: int) -> Estimate:
        """Estimate the fidelity of paths of so many links."""
        return estimate(Counts.from_array(self._paths[hops]))

    def link(self, link: int) -> Estimate:
        """Estimate the fidelity of one link."""
        return estimate(Counts.from_array(self._links[link]))

    def links(self) -> Ints:
        """Return a copy of the counts of all links, (m, 3, 2)."""
        return self._links.copy()

    def recent(self) -> Estimate:
        """Estimate over all tests of the window."""
        return estimate(Counts.from_array(self._paths.sum(axis=0)))

    def overall(self) -> Estimate:
        """Estimate over all tests so far."""
        return estimate(Counts.from_array(self.total))

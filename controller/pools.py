"""Measured fidelity: test outcomes pooled by link, and by the kind of a path.

One tested pair says little; pairs of one kind within a window of time say enough. The pools give
estimates with intervals, and the probability that a pair meets the fidelity of its request, which
is the reward.
"""

from collections import deque

import numpy as np

from quantum.counts import Counts
from quantum.estimate import Estimate, estimate, probability_at_least
from quantum.kernels import Table
from quantum.ledger.state import MAX_HOPS, Floats, Ints

__all__ = ["Pools", "own_links"]


def own_links(links: Ints, classes: Table) -> Ints:
    """Return the link between the two nodes of every class of requests, -1 where there is none.

    ``links`` (m, 2) are the ends of links in order, ``classes`` (C,) a world's table.
    """
    ends = {(a, b): number for number, (a, b) in enumerate(links.tolist())}
    pairs = zip(classes["a"].tolist(), classes["b"].tolist(), strict=True)
    found = [ends.get((min(a, b), max(a, b)), -1) for a, b in pairs]
    return np.array(found, dtype=np.int64)


class Pools:
    """Counts by kind of path, by link, and over all; a sliding window of slots.

    The kind of a path is its number of links, and more where links were distilled, see
    :func:`quantum.ledger.events.kinds_of`.
    """

    def __init__(
        self, links: int, fidelities: Floats, *, window_slots: int, own: Ints | None = None
    ) -> None:
        """``own`` (C,): links whose own tests alone say whether a class is met, -1 for others."""
        self._window = window_slots
        self._own = own
        self._by_link = np.zeros((links, 3, 2), dtype=np.int64)
        self._paths = np.zeros((2 * MAX_HOPS + 1, 3, 2), dtype=np.int64)
        self._links = np.zeros((links, 3, 2), dtype=np.int64)
        self._recent: deque[tuple[int, int, int, int, int]] = deque()
        self._fidelities = fidelities
        self._levels, self._level = np.unique(fidelities, return_inverse=True)
        self._stale = set(range(1, 2 * MAX_HOPS + 1))
        self._trust = np.zeros((len(fidelities), 2 * MAX_HOPS + 1))
        self.total = np.zeros((3, 2), dtype=np.int64)
        """All tests of assembled pairs, bases by (pass, fail)."""
        self.links_total = np.zeros((3, 2), dtype=np.int64)
        """All tests of fresh pairs on a link."""
        self.predicted = 0.0
        """Sum of the closed-form fidelities of the tested assembled pairs."""

    def add(
        self,
        slot: int,
        *,
        kind: int,
        link: int,
        basis: int,
        passed: bool,
        predicted: float,
        of: int = -1,
    ) -> None:
        """Add the outcome of a test of a fresh pair on ``link``, or of an assembled one (-1).

        ``of`` is the link of an assembled pair whose class goes by that link's own tests.
        """
        outcome = 0 if passed else 1
        if link >= 0:
            self._links[link, basis, outcome] += 1
            self.links_total[basis, outcome] += 1
            self._recent.append((slot, -1 - link, basis, outcome, -1))
        else:
            self._paths[kind, basis, outcome] += 1
            self.total[basis, outcome] += 1
            self.predicted += predicted
            self._recent.append((slot, kind, basis, outcome, of))
            if of >= 0:
                self._by_link[of, basis, outcome] += 1
        self._stale.add(1 if link >= 0 else kind)

    def forget(self, slot: int) -> None:
        """Drop what is older than the window."""
        while self._recent and self._recent[0][0] < slot - self._window:
            _, kind, basis, outcome, of = self._recent.popleft()
            if of >= 0:
                self._by_link[of, basis, outcome] -= 1
            if kind < 0:
                self._links[-1 - kind, basis, outcome] -= 1
            else:
                self._paths[kind, basis, outcome] -= 1
            self._stale.add(max(kind, 1))

    def _of_path(self, kind: int) -> Counts:
        """Counts of a kind of path; a path of one link is also known by the tests of links."""
        table = self._paths[kind]
        return Counts.from_array(table + self._links.sum(axis=0) if kind == 1 else table)

    def trust(self) -> Floats:
        """Return the probability that a pair meets its fidelity, (classes, kinds + 1).

        A kind of path without any test in the window is not trusted at all: no reward without
        measurement.
        """
        for kind in self._stale:
            counts = self._of_path(kind)
            known = counts.shots > 0
            by_level = [probability_at_least(counts, f) if known else 0.0 for f in self._levels]
            self._trust[:, kind] = np.array(by_level)[self._level] if by_level else 0.0
            if kind == 1 and self._own is not None:
                self._trust_links(self._own)
        self._stale.clear()
        return self._trust

    def _trust_links(self, own: Ints) -> None:
        """Let classes go by the tests of their own link."""
        for row in np.flatnonzero(own >= 0).tolist():
            counts = Counts.from_array(self._by_link[own[row]])
            asked = float(self._fidelities[row])
            self._trust[row, 1] = probability_at_least(counts, asked) if counts.shots else 0.0

    def path(self, kind: int) -> Estimate:
        """Estimate the fidelity of paths of a kind."""
        return estimate(self._of_path(kind))

    def link(self, link: int) -> Estimate:
        """Estimate the fidelity of one link."""
        return estimate(Counts.from_array(self._links[link]))

    def links(self) -> Ints:
        """Return a copy of the counts of all links, (m, 3, 2)."""
        return self._links.copy()

    def recent(self) -> Estimate:
        """Estimate over the assembled pairs tested within the window."""
        return estimate(Counts.from_array(self._paths.sum(axis=0)))

    def overall(self) -> Estimate:
        """Estimate over all assembled pairs tested so far."""
        return estimate(Counts.from_array(self.total))

    def overall_links(self) -> Estimate:
        """Estimate over all fresh pairs tested on their links so far."""
        return estimate(Counts.from_array(self.links_total))

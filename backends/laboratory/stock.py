"""Pairs that were counted and not needed yet: drawn without replacement, while they are young."""

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace

import numpy as np

from backends.laboratory.evidence import Window

__all__ = ["Stock"]


@dataclass(frozen=True)
class _Pool:
    passed: int
    failed: int
    since_s: float


@dataclass
class Stock:
    """Pools by link and basis, oldest first; a pool older than ``max_age_s`` is thrown away."""

    max_age_s: float
    _pools: dict[tuple[int, int], deque[_Pool]] = field(default_factory=lambda: defaultdict(deque))

    def add(self, link: int, window: Window) -> None:
        """Put the pairs of a window by."""
        if window.pairs:
            pool = _Pool(window.passed, window.failed, window.since_s)
            self._pools[link, window.basis].append(pool)

    def drop(self, link: int) -> None:
        """Throw away all pairs of a link: they say nothing about what it is now."""
        for basis in range(3):
            self._pools.pop((link, basis), None)

    def size(self, link: int, basis: int, now_s: float) -> int:
        """Count the young pairs of a link in a basis."""
        return sum(pool.passed + pool.failed for pool in self._young(link, basis, now_s))

    def age_s(self, link: int, basis: int, now_s: float) -> float:
        """Return the age of the youngest pairs; infinite where there are none."""
        pools = self._young(link, basis, now_s)
        return now_s - pools[-1].since_s if pools else float("inf")

    def take(
        self, link: int, basis: int, need: int, now_s: float, rng: np.random.Generator
    ) -> tuple[int, int]:
        """Draw up to ``need`` young pairs; return how many, and how many of them passed."""
        taken = passed = 0
        pools = self._young(link, basis, now_s)
        while pools and taken < need:
            pool = pools[0]
            size = pool.passed + pool.failed
            some = min(need - taken, size)
            good = int(rng.hypergeometric(pool.passed, pool.failed, some))
            taken, passed = taken + some, passed + good
            if some == size:
                pools.popleft()
            else:
                left = pool.failed - (some - good)
                pools[0] = replace(pool, passed=pool.passed - good, failed=left)
        return taken, passed

    def _young(self, link: int, basis: int, now_s: float) -> deque[_Pool]:
        pools = self._pools[link, basis]
        while pools and now_s - pools[0].since_s > self.max_age_s:
            pools.popleft()
        return pools

"""Outcomes of tests by what was tested, over the whole run or a window of it."""

from collections import deque
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from quantum.estimate import estimate_passes

__all__ = ["Fidelity", "Outcomes", "fidelity"]

Key = TypeVar("Key")


class Fidelity(NamedTuple):
    """A measured fidelity with its 95 % interval and the number of tests behind it."""

    low: float
    best: float
    high: float
    shots: int


@lru_cache(maxsize=65536)
def fidelity(passed: int, failed: int) -> Fidelity:
    """Return the estimate of :func:`quantum.estimate.estimate_passes`, rounded to be sent.

    >>> fidelity(0, 0)
    Fidelity(low=0.0, best=0.5, high=1.0, shots=0)
    """
    found = estimate_passes(passed, passed + failed)
    return Fidelity(round(found.low, 4), round(found.best, 4), round(found.high, 4), found.shots)


class Outcomes(Generic[Key]):
    """Passes and fails; with a window those of the last ``window`` slots only.

    >>> tests = Outcomes(10)
    >>> tests.add(1, "a link", 1)
    >>> tests.of("a link").shots, tests.forget(12), tests.of("a link").shots
    (1, None, 0)
    """

    def __init__(self, window: int | None = None) -> None:
        self._window = window
        self._counts: dict[Key, tuple[int, int]] = {}
        self._recent: deque[tuple[int, Key, int]] = deque()

    def add(self, slot: int, what: Key, passed: int) -> None:
        """Add an outcome, 1 passed or 0 failed."""
        self._change(what, passed, 1)
        if self._window is not None:
            self._recent.append((slot, what, passed))

    def forget(self, slot: int) -> None:
        """Drop what is older than the window."""
        while self._window is not None and self._recent:
            if self._recent[0][0] >= slot - self._window:
                return
            _, what, passed = self._recent.popleft()
            self._change(what, passed, -1)

    def _change(self, what: Key, passed: int, by: int) -> None:
        good, bad = self._counts.get(what, (0, 0))
        self._counts[what] = (good + by, bad) if passed else (good, bad + by)

    def of(self, what: Key) -> Fidelity:
        """Return the estimate; without any test everything is possible."""
        return fidelity(*self._counts.get(what, (0, 0)))

    def copy(self) -> "Outcomes[Key]":
        """Return tests that do not change with these."""
        other: Outcomes[Key] = Outcomes(self._window)
        other._counts, other._recent = dict(self._counts), self._recent.copy()
        return other

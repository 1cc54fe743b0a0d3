"""Tasks in chunks that take a second or more, so that handing them out costs next to nothing."""

from collections import deque
from collections.abc import Iterable
from typing import Any

__all__ = ["Chunks"]

#: What a chunk should take; a Ray task costs a millisecond.
_CHUNK_S = 1.5


class Chunks:
    """Hands tasks out in their order, first one by one, then in chunks as long as is worth it.

    >>> chunks = Chunks(range(10))
    >>> chunks.take(workers=2), chunks.take(workers=2)
    ([0], [1])
    >>> chunks.took(2, 0.2)
    >>> chunks.take(workers=2), chunks.take(workers=4), chunks.left
    ([2, 3, 4, 5], [6], 3)
    """

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._waiting = deque(tasks)
        self._tasks_done, self._seconds = 0, 0.0

    @property
    def left(self) -> int:
        """Tasks that were not handed out yet."""
        return len(self._waiting)

    def take(self, *, workers: int) -> list[Any]:
        """Return the next tasks, not so many that one of the ``workers`` would get none."""
        size = 1
        if self._tasks_done:
            size = int(_CHUNK_S * self._tasks_done / max(self._seconds, 1e-6))
        size = max(1, min(size, len(self._waiting) // workers))
        return [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]

    def took(self, tasks: int, seconds: float) -> None:
        """Learn how long tasks take."""
        self._tasks_done += tasks
        self._seconds += seconds

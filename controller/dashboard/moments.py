"""Earlier states of a run, so that going back needs a few events and not all of them."""

from bisect import bisect_right

from controller.dashboard.story import Story
from controller.dashboard.tail import Place

__all__ = ["Moments"]


class Moments:
    """Keeps a bounded number of states with their places in the record, evenly spread.

    When there are too many, every second one is forgotten and the distance doubles.
    """

    def __init__(self, *, every: int = 50, most: int = 128) -> None:
        self._every, self._most = every, most
        self._slots: list[int] = []
        self._kept: list[tuple[Place, Story]] = []

    def offer(self, at: Place, story: Story) -> None:
        """Keep a copy of a state, if it is far enough from the last one that was kept."""
        if self._slots and story.slot < self._slots[-1] + self._every:
            return
        self._slots.append(story.slot)
        self._kept.append((at, story.copy()))
        if len(self._kept) > self._most:
            del self._slots[1::2], self._kept[1::2]
            self._every *= 2

    def before(self, slot: int) -> tuple[Place, Story]:
        """Return the place and a copy of the last state that was kept at or before a slot."""
        number = max(0, bisect_right(self._slots, slot) - 1)
        at, story = self._kept[number]
        return at, story.copy()

    def __len__(self) -> int:
        return len(self._kept)

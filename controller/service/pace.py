"""How fast a service's network goes on: by the clock, or as requests come. No clock of its own."""

import math

from controller.service.stock import Stock
from controller.service.terms import Terms

__all__ = ["STRETCH", "Pace"]

#: Slots that are played at a stretch before the sockets are looked at again.
STRETCH = 64
#: Nothing happens by itself for so long where time goes on as requests come.
_QUIET_S = 1.0


class Pace:
    """Says how many slots are to be played by now; began at ``now_s``."""

    def __init__(self, stock: Stock, terms: Terms, now_s: float) -> None:
        self._stock, self._terms = stock, terms
        self._began_s, self._due = now_s, 0.0
        self._wall = terms.pace == "wall"

    def asked(self, pairs: int) -> None:
        """Note that pairs were asked for: virtual time goes on as if they came at the load."""
        self._due += pairs / (self._terms.load_hz * self._stock.slot_s)

    def played(self, slots: int) -> None:
        """Note that slots were played."""
        self._due = max(0.0, self._due - slots)

    def last_slot(self, clock: int, deadline_s: float, now_s: float) -> int:
        """Return the last slot in which a deadline has not passed; ``clock`` comes next."""
        slot_s = self._stock.slot_s
        if self._wall:
            return max(clock, math.floor((deadline_s - self._began_s) / slot_s) - 1)
        return clock + math.floor((deadline_s - now_s) / slot_s)

    def due(self, now_s: float, *, waiting: bool) -> int:
        """Return how many slots are to be played now; as many as can be while somebody waits."""
        if self._wall:
            due = math.floor((now_s - self._began_s) / self._stock.slot_s) - self._stock.clock
            return min(due, STRETCH)
        return STRETCH if waiting else min(int(self._due), STRETCH)

    def next_slot_s(self, now_s: float) -> float:
        """Return how long nothing happens by itself."""
        if not self._wall:
            return _QUIET_S
        slot_s = self._stock.slot_s
        return max(0.0, self._began_s + (self._stock.clock + 1) * slot_s - now_s)

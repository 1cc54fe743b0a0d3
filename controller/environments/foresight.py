"""What nodes expect to be asked for, in an environment: heard and said as their minds do it."""

import numpy as np

from controller.arrivals import Arrivals, Periodic
from quantum.ledger import Rule, World
from quantum.ledger.state import Floats

__all__ = ["Foresight"]


class Foresight:
    """Hears of requests slot by slot; ``expected`` and ``batch`` (C,) are for the slot after.

    Classes of the same two nodes ask for batches of the same size.
    """

    def __init__(self, world: World, rule: Rule, arrivals: Arrivals | None = None) -> None:
        self._arrivals = arrivals or Periodic(world.cls, world.slot_s)
        self._ahead = round(rule.horizon_s / world.slot_s)
        request = world.request
        order = np.argsort(request.told, kind="stable")
        columns = (request[name][order].tolist() for name in ("told", "arrival", "cls", "pairs"))
        self._coming = list(zip(*columns, strict=True))[::-1]
        ends = list(zip(world.cls.a.tolist(), world.cls.b.tolist(), strict=True))
        alike: dict[tuple[int, int], list[int]] = {}
        for row, pair in enumerate(ends):
            alike.setdefault(pair, []).append(row)
        self._alike = [alike[pair] for pair in ends]
        self.expected: Floats = np.zeros(len(world.cls))
        self.batch: Floats = np.ones(len(world.cls))

    def hear(self, slot: int) -> None:
        """Take the requests that become known in ``slot``, and look ahead from there."""
        if self._ahead < 1:
            return
        while self._coming and self._coming[-1][0] <= slot:
            told, arrival, row, pairs = self._coming.pop()
            self.batch[self._alike[row]] = pairs
            if told == arrival:
                # Who announces is known already, and will announce again.
                self._arrivals.record(slot, row, pairs)
        self.expected = self._arrivals.expected(slot, self._ahead)

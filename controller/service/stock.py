"""The network that a service keeps pairs in: requests go in, delivered pairs come out. No sockets.

A thin cover over :mod:`quantum.ledger.intake`. Tests of pairs go to the pools, which tell what the
fidelity of a kind of path has been measured to be.
"""

from typing import NamedTuple

import numpy as np

from controller.pools import Pools
from quantum.ledger import Rule, World
from quantum.ledger.intake import HOPELESS, play_slots, take_in
from quantum.ledger.places import is_sound
from quantum.ledger.state import DELIVERED, LINK_TESTED, LOST
from quantum.live_world import for_requests, fresh_ledger, intake_of
from quantum.network import Network
from quantum.requests import Measured

__all__ = ["Delivered", "Stock", "Wish"]

#: Assembled pairs and link tests of one step that can be remembered.
EVENTS = 4096
#: A measured fidelity is counted anew after so many slots.
_FRESH_SLOTS = 25


class Wish(NamedTuple):
    """A request as the kernels take it; ``deadline`` is the last slot in which it may be served."""

    row: int
    a: int
    b: int
    fidelity: float
    pairs: int
    deadline: int


class Delivered(NamedTuple):
    """A pair for the request of a row."""

    row: int
    hops: int
    predicted: float


class Stock:
    """Plays the network of a service; at most ``rows`` requests wait at a time.

    ``world`` gives the network's side of things, its requests are not used.
    """

    def __init__(
        self,
        network: Network,
        world: World,
        rule: Rule,
        *,
        rows: int,
        batch: int,
        seed: int,
        window_s: float = 30.0,
    ) -> None:
        self.network, self.rule = network, rule
        self.world = for_requests(world, rows, seed)
        self.ledger = fresh_ledger(self.world, events=EVENTS)
        self.intake = intake_of(self.world, network, events=EVENTS, batch=batch)
        self.batch, self.slot_s = batch, world.slot_s
        self._free = list(range(rows - 1, -1, -1))
        event = self.ledger.event
        # Views that are made once: a field of a record array costs a microsecond each time.
        self._kind, self._request = event["kind"], event["request"]
        self._hops, self._believed = event["hops"], event["believed"]
        self._clock, self._events = self.ledger.now["clock"], self.ledger.now["events"]
        self._left = self.ledger.request["left"]
        self.pools = Pools(
            world.m, np.zeros(0), window_slots=max(1, round(window_s / world.slot_s))
        )
        self._told: dict[int, tuple[int, Measured]] = {}
        self.tested = self.lost = self.delivered = 0
        # Kernels that are not compiled yet would keep the first application waiting.
        self.play(0)
        self.take_in([])

    @property
    def clock(self) -> int:
        """The slot that comes next."""
        return int(self._clock[0])

    @property
    def room(self) -> int:
        """How many more requests may wait."""
        return len(self._free)

    def take_row(self) -> int:
        """Return a free row; there must be :attr:`room`."""
        return self._free.pop()

    def give_row(self, row: int) -> None:
        """Give the row of a request back that was answered, or that has ended."""
        self._free.append(row)

    def take_in(self, wishes: list[Wish]) -> list[Delivered]:
        """Serve new requests, at most ``batch`` at a time, from what is in stock."""
        self._events[0] = 0
        self.intake.ask[: len(wishes)] = wishes
        take_in(self.world, self.ledger, self.rule, self.intake, len(wishes))
        return self._take()

    def hopeless(self, row: int) -> bool:
        """Tell whether no chain of pairs could ever meet the request that was just taken in."""
        return bool(self._left[row] == HOPELESS)

    def play(self, slots: int) -> tuple[list[Delivered], list[int], int]:
        """Play up to ``slots`` slots; stop after one in which something happened to a request.

        Returns the pairs that were delivered, the rows whose deadline passed, and how many slots
        were played.
        """
        self._events[0] = 0
        play_slots(self.world, self.ledger, self.rule, self.intake, slots)
        ended, played = self.intake.played.tolist()
        made = self._take()
        self.pools.forget(self.clock)
        return made, self.intake.ended[:ended].tolist(), played

    def _take(self) -> list[Delivered]:
        count = int(self._events[0])
        if not count:
            return []
        out = []
        kinds, rows = self._kind[:count].tolist(), self._request[:count].tolist()
        hops, believed = self._hops[:count].tolist(), self._believed[:count].tolist()
        for number, kind in enumerate(kinds):
            if kind == DELIVERED:
                out.append(Delivered(rows[number], hops[number], believed[number]))
            elif kind == LOST:
                self.lost += 1
            else:
                self._test(number, kind, hops[number])
        self.delivered += len(out)
        return out

    def _test(self, number: int, kind: int, hops: int) -> None:
        event = self.ledger.event[number]
        self.tested += 1
        self.pools.add(
            int(event["slot"]),
            kind=hops,
            link=int(event["links"][0]) if kind == LINK_TESTED else -1,
            basis=int(self.intake.basis[number]),
            passed=bool(self.intake.passed[number] == 1),
            predicted=float(event["true"]),
        )

    def measured(self, hops: int) -> Measured:
        """Return the measured fidelity of paths of so many links, counted anew now and then."""
        slot = self.clock
        told = self._told.get(hops)
        if told is None or slot - told[0] >= _FRESH_SLOTS:
            e = self.pools.path(hops)
            told = slot, Measured(e.low, e.best, e.high, e.shots, 0.0)
            self._told[hops] = told
        at, known = told
        if at == slot:
            return known
        age_s = round((slot - at) * self.slot_s, 9)
        return Measured(known.low, known.best, known.high, known.shots, age_s)

    def is_sound(self) -> bool:
        """Check that no pair, qubit or swap token was made or lost unaccounted; for tests."""
        return bool(is_sound(self.world, self.ledger))

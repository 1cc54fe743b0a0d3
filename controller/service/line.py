"""Pairs that wait for a worker: those of each client in their order, clients in turn.

Round robin, a pair a turn (Nagle, RFC 970, 1987): who has many in line waits for his own, and who
has few for one round at most. Tests stand in line like the pairs of one more client.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.service.answers import Party
from quantum.egp import Task

__all__ = ["Line", "Orders", "Piece"]


class Orders:
    """The pairs of one granted request; ``session`` is where it was asked."""

    __slots__ = ("noted", "party", "rid", "session", "void")

    def __init__(self, party: Party, rid: bytes, session: bytes) -> None:
        self.party, self.rid, self.session = party, rid, session
        self.noted, self.void = True, False
        """Whether the journal knows that they were granted; whether they never were."""


class Piece(NamedTuple):
    """A pair to execute; ``sequence`` 0 and no orders: a test."""

    task: Task
    hops: int
    sequence: int
    orders: Orders | None
    since_s: float


class Line:
    """The line, of ``most`` pairs; whoever has less than his share of it may make it longer."""

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        # Whose turn is next stands first.
        self._of: dict[Party | None, deque[Piece]] = {}
        self._oldest_s = 0.0
        """No pair has been in line for longer."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Piece]:
        return (piece for queue in self._of.values() for piece in queue)

    def of(self, party: Party | None) -> int:
        """Count the pairs of a client; None: tests."""
        return len(self._of.get(party, ()))

    def has_room(self, mine: int) -> bool:
        """Tell whether more may come for somebody who has ``mine`` pairs in line."""
        return self._count < self._most or mine < self._most // (len(self._of) + (mine == 0))

    def add(self, piece: Piece) -> None:
        """Put a pair behind those of its client."""
        self._queue(piece).append(piece)

    def put_back(self, pieces: list[Piece]) -> None:
        """Put pairs that were taken in front of those of their clients again."""
        for piece in reversed(pieces):
            self._queue(piece).appendleft(piece)

    def _queue(self, piece: Piece) -> deque[Piece]:
        if self._count == 0:
            self._oldest_s = piece.since_s
        self._oldest_s = min(self._oldest_s, piece.since_s)
        self._count += 1
        return self._of.setdefault(None if piece.orders is None else piece.orders.party, deque())

    def take(self, size: int) -> list[Piece]:
        """Take up to ``size`` pairs, one of each client in turn; what is void goes."""
        out: list[Piece] = []
        while self._count and len(out) < size:
            party = next(iter(self._of))
            queue = self._of.pop(party)
            out += _kept([queue.popleft()])
            self._count -= 1
            if queue:
                self._of[party] = queue
        return out

    def expire(self, before_s: float) -> Iterable[Piece]:
        """Take out what came into the line before a time."""
        if self._oldest_s >= before_s or not self._count:
            return ()
        old: list[Piece] = []
        for party, queue in list(self._of.items()):
            while queue and queue[0].since_s < before_s:
                old.append(queue.popleft())
            if not queue:
                del self._of[party]
        self._count -= len(old)
        self._oldest_s = min((queue[0].since_s for queue in self._of.values()), default=0.0)
        return _kept(old)


def _kept(pieces: list[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.orders is None or not piece.orders.void]

"""What was answered to whom, so that a request sent again gets the same answer. No sockets.

A request is known by its client's key and its ``rid``: from the moment it is taken in until its
deadline and a grace have passed. Memory is bounded for each client; who has filled his is told when
there is room again.
"""

from collections import defaultdict

from controller.security.limits import RateLimit
from quantum.requests import Ask

__all__ = ["Answers", "Party", "Waiting"]


class Waiting:
    """A request that has no answer yet; ``peers`` are the connections that wait for it."""

    __slots__ = ("ask", "frame", "pairs", "party", "peers", "row", "waits")

    def __init__(self, party: "Party", ask: Ask, frame: bytes, peer: bytes) -> None:
        self.party, self.ask, self.frame = party, ask, frame
        self.peers = [peer]
        self.pairs: list[tuple[int, int, float]] = []
        """Sequence, number of links and predicted fidelity of the pairs that it has got."""
        self.row = -1
        self.waits = False
        """Whether it could not be answered at once."""


class Party:
    """The owner of a key: his number in the journal, and his requests by ``rid``."""

    __slots__ = (
        "expired",
        "known",
        "limit",
        "name",
        "noted",
        "number",
        "place",
        "public",
        "waiting",
    )

    def __init__(self, number: int, public: str, name: str, limit: RateLimit) -> None:
        self.number, self.public, self.name, self.limit = number, public, name, limit
        self.known: dict[bytes, bytes | Waiting] = {}
        self.expired: dict[bytes, list[bytes]] = {}
        """What was said of pairs that had been granted, by ``rid``: as long as the answer."""
        self.waiting = 0
        self.place = -1
        """What the kernels know him by, -1 while they do not."""
        self.noted = False
        """Whether the journal knows the number."""


class Answers:
    """Forgets answers when their time has come."""

    def __init__(self) -> None:
        # What is to be forgotten in a second stands together, so that nothing has to be sorted.
        self._due: dict[int, list[tuple[Party, bytes, bytes]]] = defaultdict(list)
        self._next = 0

    def keep(self, party: Party, rid: bytes, answer: bytes, until_s: float) -> None:
        """Remember the answer of a request until a time."""
        party.known[rid] = answer
        self._due[max(self._next, int(until_s) + 1)].append((party, rid, answer))

    def forget(self, now_s: float) -> None:
        """Forget what is over."""
        second = int(now_s)
        if second < self._next:
            return
        for due in [due for due in self._due if due <= second]:
            for party, rid, answer in self._due.pop(due):
                # A request may be asked anew after its answer could not be kept: then it waits, or
                # has another answer, whose time has not come.
                if party.known.get(rid) is answer:
                    del party.known[rid]
                    if party.expired:
                        party.expired.pop(rid, None)
        self._next = second + 1

    def __len__(self) -> int:
        return sum(len(due) for due in self._due.values())

"""How clients share the queue of those who wait, and by which number the kernels know each.

Anybody may fill the queue while nobody else comes. Once it is full, whoever has fewer requests in
it than another finds room: the longest of all gives up his newest (longest queue drop, as in Suter,
Lakshman, Stiliadis and Choudhury, INFOCOM 1998). So nobody is kept out by who has more, and all
have the same where all want more.
"""

from collections.abc import Iterable

from controller.service.answers import Party, Waiting
from controller.service.stock import Stock
from controller.service.turn import Reply
from controller.service.wishes import Refusal
from controller.service.work import Work
from quantum.errors import Code
from quantum.requests import Denied, encode_request

__all__ = ["RETRY_S", "TOO_MANY", "Shares"]

#: How soon somebody is asked to come back who found no room, and what he is told.
RETRY_S = 0.05
TOO_MANY = Refusal(Code.BUSY, "too many requests wait", RETRY_S)


class Shares:
    """Counts the requests of each client that wait, ``most`` of all of them.

    No step takes longer because more clients or more requests wait, but for finding the request
    that has to go.
    """

    def __init__(self, stock: Stock, most: int) -> None:
        self._stock, self._most = stock, most
        self.waiting = 0
        """Requests that wait."""
        # Clients by how many of their requests wait, and how many the longest has.
        self._by: list[dict[Party, None]] = [{}]
        self._longest = 0
        self._known: list[Party] = []

    def waits(self, party: Party) -> None:
        """Count one more request of a client."""
        before = party.waiting
        party.waiting = after = before + 1
        self.waiting += 1
        self._by[before].pop(party, None)
        if after == len(self._by):
            self._by.append({})
        self._by[after][party] = None
        self._longest = max(self._longest, after)

    def leaves(self, party: Party) -> None:
        """Count one request less."""
        before = party.waiting
        party.waiting = before - 1
        self.waiting -= 1
        del self._by[before][party]
        if before > 1:
            self._by[before - 1][party] = None
        if not self._by[self._longest]:
            self._longest -= 1

    def admit(self, party: Party) -> bool:
        """Tell whether one more request of a client may wait, be it in the place of another's."""
        return self.waiting < self._most or self._longest > party.waiting + 1

    @property
    def too_many(self) -> bool:
        """Whether one of those who wait has to go."""
        return self.waiting > self._most

    def send_away(self, rows: dict[int, Waiting], work: Work | None, now_s: float) -> list[Reply]:
        """Let the newest request of a client who has most come again later.

        Rather one that has no pairs yet: pairs that it has are lost. Returns what is said of it.
        """
        longest = next(iter(self._by[self._longest]))
        his = (w for w in reversed(rows.values()) if w.waits and w.party is longest)
        newest = next(his)
        waiting = next((w for w in his if not w.pairs), newest) if newest.pairs else newest
        rid, row = waiting.ask.rid, waiting.row
        busy = Denied(rid, *TOO_MANY[:2], retry_s=TOO_MANY.retry_s)
        if work is not None:
            work.end(waiting, busy, now_s)
        self._stock.drop(row)
        self._stock.give_row(row)
        self.leaves(longest)
        del rows[row], longest.known[rid]
        return [(peer, encode_request(busy)) for peer in waiting.peers]

    def number(self, party: Party) -> int:
        """Give a client a number that tells the kernels whose requests are his; returns it.

        As many have one of their own as the kernels tell apart. Then one who has nothing under way
        loses his, and what he has had is forgotten; where there is none, two share one.
        """
        if len(self._known) < self._stock.clients:
            party.place = len(self._known)
            self._known.append(party)
            return party.place
        place = party.number % self._stock.clients
        for offset in range(len(self._known)):
            old = self._known[place - offset]
            if not old.known:
                old.place, party.place = -1, old.place
                self._known[party.place] = party
                self._stock.forget(party.place)
                return party.place
        party.place = place
        return place

    def look_around(self, parties: Iterable[Party]) -> None:
        """Go by the numbers that the kernels know of now: in a larger network they are fewer."""
        clients = self._stock.clients
        del self._known[clients:]
        for party in parties:
            if party.place >= clients:
                party.place %= clients

"""Changes of a service's network, and what is said of them. No sockets.

A change is checked as a whole, its tables are made, and the journal has it; only then it takes
effect. Of one that is refused, or that the journal cannot take, nothing happens.
"""

from collections.abc import Collection
from typing import Protocol

from controller.service.answers import Answers, Party, Waiting
from controller.service.carrying import world_for
from controller.service.entries import Changed, Entry, Known
from controller.service.keeping import TRY_S, Keeping
from controller.service.planning import Order, order_for
from controller.service.sessions import Sessions
from controller.service.standing import Standing, told
from controller.service.stock import Stock, Wish
from controller.service.turn import Turn
from controller.setting import Setting
from quantum.alterations import Alter, Altered, Line, Place, Survey, Surveyed
from quantum.errors import Code, InputError
from quantum.ledger import World
from quantum.ledger.state import Floats
from quantum.logs import note
from quantum.network import Network
from quantum.requests import Again, Closed, Denied, encode_request
from quantum.roles import Role

__all__ = ["Altering"]

#: Entries of one answer to :class:`Survey`; the longest names still fit into a frame.
_MOST_ENTRIES = 1000
#: A message costs a client as much of his rate as each node and link that is changed, or so many
#: that are told.
_LIGHT = 10


class Serving(Protocol):
    """What serves requests: :class:`controller.service.desk.Desk`."""

    draining: bool
    rows: dict[int, Waiting]

    def deny(self, turn: Turn, waiting: Waiting, code: Code, why: str, now_s: float) -> None: ...

    def look_around(self) -> None: ...

    def serve(self, turn: Turn, wishes: list[Wish], now_s: float) -> list[Waiting]: ...


class Altering:
    """Holds what stands; ``planned`` tells whether the stock is planned for it."""

    def __init__(
        self,
        stock: Stock,
        sessions: Sessions,
        answers: Answers,
        keeping: Keeping,
        standing: Standing,
    ) -> None:
        self.standing, self.planned = standing, True
        self.load_hz = 0.0
        """The demand that the stock is planned for."""
        self._stock, self._sessions, self._answers = stock, sessions, answers
        self._keeping = keeping

    def hear(
        self,
        desk: Serving,
        turn: Turn,
        peer: bytes,
        frame: bytes,
        message: Alter | Survey,
        now_s: float,
    ) -> None:
        """Say what stands, or change it for a desk; what is said of it is added to a turn.

        What earlier turns decided is to be in the journal.
        """
        if isinstance(message, Survey):
            self._survey(turn, peer, message, now_s)
            return
        waiting = desk.rows.values()
        fresh = self._checked(turn, peer, frame, message, waiting, now_s, draining=desk.draining)
        if fresh is None:
            return
        standing, network, world = fresh
        names = self.standing.stay(standing)
        for one in list(waiting):
            left = [end for end in (one.ask.source, one.ask.destination) if end not in names]
            if left:
                why = f"node {left[0]} has left the network"
                desk.deny(turn, one, Code.NORES, why, now_s)
        before, up = standing.before(self.standing), standing.up(network)
        self.standing, self.planned = standing, False
        again = self._stock.change(network, world, before=before, up=up)
        desk.look_around()
        size = self._stock.batch
        for first in range(0, len(again), size):
            desk.serve(turn, again[first : first + size], now_s)

    def _checked(
        self,
        turn: Turn,
        peer: bytes,
        frame: bytes,
        message: Alter,
        waiting: Collection[Waiting],
        now_s: float,
        *,
        draining: bool,
    ) -> tuple[Standing, Network, World] | None:
        """Return what is to be from now on, which the journal knows of; or say why not.

        ``waiting`` are the requests that wait.
        """
        party = self._let_in(turn, peer, message, "operate", "changing the network", now_s)
        if party is None:
            return None
        rid, keeping = message.rid, self._keeping
        before = party.known.get(rid)
        if isinstance(before, bytes):
            turn.held.append((peer, before))
            return None
        busy = keeping.broken and f"the journal cannot take it: {keeping.broken}"
        if draining:
            busy = "the service is about to end"
        if len(party.known) >= self._sessions.terms.remembered:
            busy = f"{len(party.known)} answers are remembered already"
        if busy:
            _say(turn, peer, Denied(rid, Code.BUSY, busy, retry_s=TRY_S))
            return None
        if before is not None:
            _say(turn, peer, Denied(rid, Code.CREATE, "rid is that of a request that waits"))
            return None
        try:
            fresh = self.standing.after(message.steps)
            network = fresh.network()
        except InputError as wrong:
            _say(turn, peer, Denied(rid, Code.CREATE, str(wrong)))
            return None
        world = world_for(network, self._stock.world)
        names = self.standing.stay(fresh)
        denied = sum(not {w.ask.source, w.ask.destination} <= names for w in waiting)
        sizes = len(network.nodes), len(network.links), len(fresh.now.down)
        answer = encode_request(Altered(rid, fresh.changes, *sizes, denied))
        if not self._kept(party, frame, answer, now_s):
            why = f"the change is not in the journal: {keeping.trouble}"
            _say(turn, peer, Denied(rid, Code.BUSY, why, retry_s=TRY_S))
            return None
        terms = self._sessions.terms
        self._answers.keep(party, rid, answer, now_s + terms.most_s + terms.grace_s)
        turn.held.append((peer, answer))
        note(
            "network changed",
            client=party.name,
            change=fresh.changes,
            steps=[told(step) for step in message.steps],
            nodes=sizes[0],
            links=sizes[1],
            down=sizes[2],
            denied=denied,
        )
        return fresh, network, world

    def _kept(self, party: Party, frame: bytes, answer: bytes, now_s: float) -> bool:
        """Write a change into the journal; tell whether it is there."""
        terms = self._sessions.terms
        keep_s = terms.most_s + terms.grace_s
        entries: list[Entry] = [Changed(party.number, frame, answer, keep_s, now_s)]
        if not party.noted:
            entries.insert(0, Known(party.number, party.public, party.name))
        kept = self._keeping.write(entries, now_s)
        party.noted = party.noted or kept
        return kept

    def order(self, setting: Setting) -> Order:
        """Return what is to be planned where the stock is not."""
        network = self._stock.network
        up = self.standing.up(network)
        return order_for(self.standing.changes, setting, self.load_hz, network, up)

    def plan(self, change: int, targets: Floats) -> None:
        """Keep the stock that was planned after so many changes, unless there were more since."""
        if change == self.standing.changes and not self.planned:
            self._stock.plan(targets)
            self.planned = True
            note("stock planned", change=change, pairs=round(float(targets.sum()), 1))

    def has_left(self, name: str) -> bool:
        """Tell whether a node was there and has left."""
        return self.standing.has_left(name)

    # What stands.

    def _survey(self, turn: Turn, peer: bytes, message: Survey, now_s: float) -> None:
        """Say what stands."""
        party = self._let_in(turn, peer, message, "observe", "looking at the network", now_s)
        if party is None:
            return
        stock = self._stock
        net, names = stock.network, stock.network.nodes
        n, total = len(names), len(names) + len(net.links)
        first, stop = message.first, min(message.first + _MOST_ENTRIES, total)
        some = slice(min(first, n), min(stop, n))
        places = [
            Place(name, generation, swap, qubits, x_km, y_km, used)
            for name, generation, swap, qubits, (x_km, y_km), used in zip(
                names[some],
                net.generation_hz[some].tolist(),
                net.swap_hz[some].tolist(),
                net.qubits[some].tolist(),
                net.position_km[some].tolist(),
                stock.ledger.node["used"][some].tolist(),
                strict=True,
            )
        ]
        some = slice(max(first, n) - n, max(stop, n) - n)
        lines = [
            Line(names[a], names[b], length, tuple(state), bool(up), stored)
            for (a, b), length, state, up, stored in zip(
                net.links[some].tolist(),
                net.length_km[some].tolist(),
                net.populations[some].tolist(),
                stock.ledger.behind["up"][some].tolist(),
                stock.ledger.link["stock"][some].tolist(),
                strict=True,
            )
        ]
        entries = tuple(places), tuple(lines)
        change = self.standing.changes
        _say(turn, peer, Surveyed(message.rid, change, self.planned, first, total, *entries))

    def counts(self) -> dict[str, int]:
        """Say how the network stands, in numbers."""
        network = self._stock.network
        return {
            "changes": self.standing.changes,
            "nodes": len(network.nodes),
            "links": len(network.links),
            "links_down": len(self.standing.now.down),
            "planned": int(self.planned),
        }

    def _let_in(
        self,
        turn: Turn,
        peer: bytes,
        message: Alter | Survey,
        role: Role,
        what: str,
        now_s: float,
    ) -> Party | None:
        """Return who asks, where he may; else say why not."""
        party = self._sessions.owner(message.session)
        if not isinstance(party, Party):
            _say(turn, peer, party or Again())
            return None
        lacks = self._sessions.lacks(party, role, what)
        wait_s = party.limit.take(now_s, 1.0 if lacks else self._cost(party, message))
        if wait_s > 0.0:
            why = "too many messages a second"
            _say(turn, peer, Denied(message.rid, Code.BUSY, why, retry_s=wait_s))
        elif lacks:
            _say(turn, peer, Denied(message.rid, Code.REJECTED, lacks))
        else:
            return party
        return None

    def _cost(self, party: Party, message: Alter | Survey) -> float:
        """Return how many messages of others one of these stands for: it takes as long."""
        network = self._stock.network
        size = len(network.nodes) + len(network.links)
        if isinstance(message, Survey):
            size = min(size, _MOST_ENTRIES) // _LIGHT
        return min(party.limit.burst, 1.0 + size)


def _say(turn: Turn, peer: bytes, message: Again | Closed | Denied | Surveyed) -> None:
    turn.out.append((peer, encode_request(message)))

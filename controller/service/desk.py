"""The service's state machine: frames of applications go in, frames for them come out.

No sockets and no clock: times are seconds of a clock that only goes forward, given by the caller.
A turn of the loop hands over all that has come (:meth:`Desk.hear`); new requests are taken in by
one call of the allocator, what was answered is journalled in one transaction, and only then the
answers are returned. :meth:`Desk.turn` lets the network's time go on.
"""

from collections.abc import Iterable

from controller.security.keyring import Client, Keyring
from controller.service.altering import Altering
from controller.service.answers import Answers, Party, Waiting
from controller.service.entries import Answered, Entry, Known
from controller.service.journal import Journal
from controller.service.keeping import TRY_S, Keeping, not_kept, put_off, recall
from controller.service.pace import Pace
from controller.service.sessions import Sessions
from controller.service.standing import Standing
from controller.service.stock import Delivered, Stock, Wish
from controller.service.telling import tell_answered, tell_refused
from controller.service.terms import Counts, Terms
from controller.service.turn import Reply, Turn
from controller.service.wishes import Refusal, pairs_of, refusal
from controller.service.work import Work
from quantum.alterations import Alter, Survey
from quantum.egp import Done, Failed
from quantum.errors import Code, WireError
from quantum.requests import (
    Again,
    Ask,
    Closed,
    Denied,
    Granted,
    Leave,
    Open,
    decode_ask,
    encode_request,
)

__all__ = ["Desk", "Reply"]

#: How soon somebody is asked to come back who found no room.
_RETRY_S = 0.05
#: What is over is forgotten so often.
_TIDY_S = 1.0
#: Connections that wait for one request; the oldest are left out.
_PEERS = 8

_AGAIN = encode_request(Again())


class Desk:
    """Answers applications from a stock; ``sessions.ring`` says who may ask.

    ``standing`` is the network of the stock with the changes that were made to that of the file.
    """

    def __init__(
        self,
        stock: Stock,
        journal: Journal,
        terms: Terms,
        ring: Keyring,
        *,
        epoch: int = 1,
        now_s: float = 0.0,
        work: Work | None = None,
        standing: Standing | None = None,
    ) -> None:
        self.stock, self.terms, self.work = stock, terms, work
        self._keeping = Keeping(journal, terms)
        self._number = {name: k for k, name in enumerate(stock.network.nodes)}
        name, expires = stock.network.name, work is not None
        self.sessions = Sessions(
            terms, ring, network=name, epoch=epoch, expires=expires, changes=True
        )
        self.answers = Answers()
        self.altering = Altering(
            stock, self.sessions, self.answers, self._keeping, standing or Standing(stock.network)
        )
        self._rows: dict[int, Waiting] = {}
        self._sequence = 0
        self.pace = Pace(stock, terms, now_s)
        self._tidied_s = now_s
        # Whether the log is told of every answer.
        self.draining = self.tells = False
        self.strangers = False
        """Whether somebody was asked to open a session."""
        self._count = dict.fromkeys(
            ("granted", "pairs", "denied", "busy", "timed_out", "repeated"), 0
        )

    # What is known from before, and who is there.

    def recall(self, entries: Iterable[Entry], now_s: float) -> None:
        """Take over what the journal remembers of a service that has ended, however it ended."""
        recall(entries, self.sessions, self.answers, now_s)

    def count_from(self, sequence: int) -> None:
        """Go on numbering pairs after the last one of an earlier service."""
        self._sequence = max(self._sequence, sequence)

    def open(self, client: Client, message: Open, now_s: float) -> bytes:
        """Open a session for the owner of a key, or say why not."""
        if self.draining:
            return encode_request(Closed(Code.BUSY, "the service is about to end"))
        return encode_request(self.sessions.open(client, message, now_s))

    # Requests.

    def hear(self, messages: list[Reply], now_s: float) -> list[Reply]:
        """Handle frames of connections, all together; returns the frames to send."""
        turn, before = Turn(), list[Reply]()
        wishes: list[Wish] = []
        clock = self.stock.clock
        for peer, frame in messages:
            try:
                message = decode_ask(frame)
            except WireError as wrong:
                turn.out.append((peer, encode_request(Closed(Code.CREATE, str(wrong)))))
                continue
            if isinstance(message, Ask):
                wish = self._ask(turn, peer, frame, message, clock, now_s)
                if wish is not None:
                    wishes.append(wish)
                    if len(wishes) >= self.stock.batch:
                        self._take_in(turn, wishes, now_s)
                        wishes = []
            elif isinstance(message, Leave):
                self.sessions.close(message.session)
            elif isinstance(message, Survey):
                self.strangers = self.strangers or message.session not in self.sessions
                self.altering.survey(turn, peer, message, now_s)
            elif isinstance(message, Alter):
                # What came before it is answered, and in the journal, before it.
                if wishes:
                    self._take_in(turn, wishes, now_s)
                before += self._commit(turn, now_s)
                turn, wishes = self._alter(peer, frame, message, now_s), []
            else:
                # Who opens a session has to be looked at by the loop, with care.
                turn.out.append((peer, _AGAIN))
                self.strangers = True
        if wishes:
            self._take_in(turn, wishes, now_s)
        return before + self._commit(turn, now_s) if before else self._commit(turn, now_s)

    def _ask(
        self, turn: Turn, peer: bytes, frame: bytes, ask: Ask, clock: int, now_s: float
    ) -> Wish | None:
        party = self.sessions.find(ask.session)
        if not isinstance(party, Party):
            self.strangers = self.strangers or party is None
            turn.out.append((peer, _AGAIN if party is None else encode_request(party)))
            return None
        if self.work is not None:
            self.work.places[ask.session] = peer
        wait_s = party.limit.take(now_s)
        if wait_s > 0.0:
            self._refuse(turn, peer, ask, Code.BUSY, "too many messages a second", wait_s)
            return None
        before = party.known.get(ask.rid)
        if before is not None:
            self._repeat(turn, peer, party, ask.rid, before)
            return None
        why = self._why_not(party, ask, now_s)
        if why is not None:
            self._refuse(turn, peer, ask, *why)
            return None
        waiting = Waiting(party, ask, frame, peer)
        party.known[ask.rid] = waiting
        waiting.row = row = self.stock.take_row()
        self._rows[row] = waiting
        self.pace.asked(ask.pairs)
        return (
            row,
            self._number[ask.source],
            self._number[ask.destination],
            ask.minimum_fidelity,
            ask.pairs,
            self.pace.last_slot(clock, ask.deadline_s, now_s),
        )

    def _why_not(self, party: Party, ask: Ask, now_s: float) -> Refusal | None:
        """Say why a request is not taken in; it is said again when the request comes again."""
        network = self.stock.network.name
        why = refusal(ask, self.terms, now_s, network, self._number, self.altering.has_left)
        if why is not None:
            return why
        if self.broken:
            return Refusal(Code.BUSY, f"nothing is handed out: {self.broken}", TRY_S)
        if self.draining:
            return Refusal(Code.BUSY, "the service is about to end", TRY_S)
        if len(party.known) >= self.terms.remembered:
            many = self.terms.remembered
            return Refusal(Code.BUSY, f"{many} answers are remembered already", _TIDY_S)
        if party.waiting >= self.terms.credits or not self.stock.room:
            return Refusal(Code.BUSY, "too many requests wait", _RETRY_S)
        if self.work is not None and (idle := self.work.why_not()):
            return Refusal(Code.BUSY, idle, _RETRY_S)
        return None

    def _repeat(
        self, turn: Turn, peer: bytes, party: Party, rid: bytes, before: bytes | Waiting
    ) -> None:
        self._count["repeated"] += 1
        if isinstance(before, bytes):
            # It may have been said in this very turn, and wait for the journal.
            turn.held.append((peer, before))
            turn.held += [(peer, said) for said in party.expired.get(rid, ())]
        elif peer not in before.peers:
            before.peers.append(peer)
            del before.peers[:-_PEERS]

    def _refuse(
        self, turn: Turn, peer: bytes, ask: Ask, code: Code, why: str, retry_s: float = 0.0
    ) -> None:
        self._count["busy" if code is Code.BUSY else "denied"] += 1
        if self.tells:
            tell_refused(ask, code, why)
        turn.out.append((peer, encode_request(Denied(ask.rid, code, why, retry_s=retry_s))))

    def _take_in(self, turn: Turn, wishes: list[Wish], now_s: float) -> None:
        stock, done = self.stock, len(turn.done)
        self._hand_out(turn, stock.take_in(wishes), now_s)
        if len(turn.done) - done == len(wishes):
            return
        for wish in wishes:
            waiting = self._rows.get(wish[0])
            if waiting is None:
                continue
            if not self._deny_hopeless(turn, wish[0], now_s):
                waiting.waits = True
                waiting.party.waiting += 1

    # The network is changed.

    def _alter(self, peer: bytes, frame: bytes, message: Alter, now_s: float) -> Turn:
        """Change the network, or say why not; returns what is to be said."""
        turn = Turn()
        self.strangers = self.strangers or message.session not in self.sessions
        fresh = self.altering.hear(
            turn, peer, frame, message, self._rows.values(), now_s, draining=self.draining
        )
        if fresh is None:
            return turn
        names = set(fresh.nodes)
        for waiting in list(self._rows.values()):
            for end in (waiting.ask.source, waiting.ask.destination):
                if end not in names and waiting.row in self._rows:
                    self._deny(turn, waiting, Code.NORES, f"node {end} has left the network", now_s)
        again = self.altering.go_on()
        self._number = {name: k for k, name in enumerate(fresh.nodes)}
        if self.work is not None:
            self.work.look_at(self.stock)
        size = self.stock.batch
        for first in range(0, len(again), size):
            some = again[first : first + size]
            self._hand_out(turn, self.stock.take_in(some), now_s)
            for wish in some:
                self._deny_hopeless(turn, wish[0], now_s)
        return turn

    def _deny_hopeless(self, turn: Turn, row: int, now_s: float) -> bool:
        """Deny a request that was just taken in where nothing could ever meet it; tell whether."""
        waiting = self._rows.get(row)
        if waiting is None or not self.stock.hopeless(row):
            return False
        why = "no chain of links in this network can meet minimum_fidelity"
        self._deny(turn, waiting, Code.NORES, why, now_s)
        return True

    # What becomes of requests.

    def turn(self, now_s: float) -> list[Reply]:
        """Let the network's time go on as far as it should by now; returns the frames to send."""
        turn, stock = Turn(), self.stock
        slots = self.pace.due(now_s, waiting=bool(self._rows))
        while slots > 0:
            made, ended, played = stock.play(slots)
            slots -= played
            self.pace.played(played)
            self._hand_out(turn, made, now_s)
            for row in ended:
                self._deny(turn, self._rows[row], Code.TIMEOUT, "the deadline has passed", now_s)
            slots = min(slots, self.pace.due(now_s, waiting=bool(self._rows)))
        self._look_after(now_s)
        return self._commit(turn, now_s)

    def behind(self, now_s: float) -> bool:
        """Tell whether the network's time has to go on before more frames are waited for."""
        return self.pace.due(now_s, waiting=bool(self._rows)) > 0

    def _hand_out(self, turn: Turn, made: list[Delivered], now_s: float) -> None:
        rows = self._rows
        if self.work is not None:
            self.work.take(self.stock.events(), self._sequence, now_s)
        for row, hops, predicted in made:
            waiting = rows[row]
            self._sequence += 1
            waiting.pairs.append((self._sequence, hops, predicted))
            wanted = waiting.ask.pairs
            if len(waiting.pairs) == wanted:
                self._count["granted"] += 1
                self._count["pairs"] += wanted
                pairs, kinds = pairs_of(waiting, self.stock)
                self._finish(turn, waiting, Granted(waiting.ask.rid, pairs, kinds), now_s)

    def _deny(self, turn: Turn, waiting: Waiting, code: Code, why: str, now_s: float) -> None:
        self._count["timed_out" if code is Code.TIMEOUT else "denied"] += 1
        pairs, kinds = pairs_of(waiting, self.stock)
        self._finish(turn, waiting, Denied(waiting.ask.rid, code, why, pairs, kinds), now_s)

    def _finish(self, turn: Turn, waiting: Waiting, answer: Granted | Denied, now_s: float) -> None:
        """Answer a request, as soon as the journal has it."""
        frame, party, ask = encode_request(answer), waiting.party, waiting.ask
        if self.work is not None:
            self.work.end(waiting, answer, now_s)
        if self.tells:
            tell_answered(party.name, ask, answer)
        until_s = ask.deadline_s + self.terms.grace_s
        if not party.noted:
            party.noted = True
            turn.entries.append(Known(party.number, party.public, party.name))
        turn.entries.append(Answered(party.number, waiting.frame, frame, until_s - now_s, now_s))
        turn.done.append(waiting)
        for peer in waiting.peers:
            turn.held.append((peer, frame))
        del self._rows[waiting.row]
        self.stock.give_row(waiting.row)
        if waiting.waits:
            party.waiting -= 1
        self.answers.keep(party, ask.rid, frame, until_s)

    def settle(self, answers: Iterable[Done | Failed], now_s: float) -> list[Reply]:
        """Take the answers of workers to their jobs; returns what applications are told of them."""
        assert self.work is not None
        for answer in answers:
            self.work.settle(answer)
        return self._commit(Turn(), now_s)

    # The journal.

    def _commit(self, turn: Turn, now_s: float) -> list[Reply]:
        """Write what was decided, and only then let it leave."""
        work = self.work
        if work is not None and not self.broken:
            work.fill(turn, now_s)
        if not turn.entries or self._keeping.write(turn.entries, now_s):
            if work is not None:
                work.kept()
            return turn.out + turn.held
        if work is not None:
            work.failed(goes_on=self.terms.on_full == "continue")
        not_kept(turn)
        if self.terms.on_full == "continue":
            return turn.out + turn.held
        put_off(turn, f"nothing is handed out: {self.broken}")
        return turn.out

    def _look_after(self, now_s: float) -> None:
        """Forget what is over, and try a broken journal again."""
        self._keeping.try_again(now_s)
        self._keeping.trim()
        if now_s - self._tidied_s >= _TIDY_S:
            self._tidied_s = now_s
            self.answers.forget(now_s)
            job = 0 if self.work is None else self.work.tidy(self.sessions)
            parties, standing = self.sessions.parties.values(), self.altering.standing
            self._keeping.tidy(now_s, parties, self._sequence, job, standing)

    @property
    def broken(self) -> str:
        """Why nothing is handed out: the journal cannot be written."""
        return self._keeping.broken

    @property
    def trouble(self) -> str:
        """Why the last turn is not in the journal, in a service that goes on without it."""
        return self._keeping.trouble

    # How things stand.

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self._rows)

    def counts(self) -> Counts:
        """Say what was done since the service started."""
        return Counts(
            **self._count,
            unjournalled=self._keeping.missing,
            waiting=len(self._rows),
            sessions=len(self.sessions),
            remembered=len(self.answers),
            slot=self.stock.clock,
            tested=self.stock.tested,
            stored=int(self.stock.ledger.link["stock"].sum()),
            **self.altering.counts(),
        )

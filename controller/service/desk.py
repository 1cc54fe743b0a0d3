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
from controller.service.keeping import TRY_S, Keeping, recall
from controller.service.pace import Pace
from controller.service.sessions import Sessions
from controller.service.shares import RETRY_S, TOO_MANY, Shares
from controller.service.standing import Standing
from controller.service.stock import Delivered, Stock, Wish
from controller.service.telling import tell_answered, tell_refused
from controller.service.terms import Counts, Terms
from controller.service.turn import Reply, Turn, repeat
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

#: What is over is forgotten so often.
_TIDY_S = 1.0

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
        self.keeping = Keeping(journal, terms)
        name, expires = stock.network.name, work is not None
        self.sessions = Sessions(
            terms, ring, network=name, epoch=epoch, expires=expires, changes=True
        )
        self.answers = Answers()
        self.altering = Altering(
            stock, self.sessions, self.answers, self.keeping, standing or Standing(stock.network)
        )
        self.rows: dict[int, Waiting] = {}
        """Requests that have no answer yet."""
        self._shares = Shares(stock, min(terms.waiting, stock.room - stock.batch))
        self.look_around()
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

    def look_around(self) -> None:
        """Go by the nodes and links that the stock has now."""
        self._number = {name: k for k, name in enumerate(self.stock.network.nodes)}
        self._shares.look_around(self.sessions.parties.values())
        if self.work is not None:
            self.work.look_at(self.stock)

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
            elif isinstance(message, Alter | Survey):
                self.strangers = self.strangers or message.session not in self.sessions
                # What came before it is answered, and in the journal, before it.
                if wishes:
                    self._take_in(turn, wishes, now_s)
                before += self._commit(turn, now_s)
                turn, wishes = Turn(), []
                self.altering.hear(self, turn, peer, frame, message, now_s)
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
            self._count["repeated"] += 1
            repeat(turn, peer, party, ask.rid, before)
            return None
        why = self._why_not(party, ask, now_s)
        if why is not None:
            self._refuse(turn, peer, ask, *why)
            return None
        waiting = Waiting(party, ask, frame, peer)
        party.known[ask.rid] = waiting
        waiting.row = row = self.stock.take_row()
        self.rows[row] = waiting
        self.pace.asked(ask.pairs)
        return (
            row,
            self._number[ask.source],
            self._number[ask.destination],
            ask.minimum_fidelity,
            ask.pairs,
            self.pace.last_slot(clock, ask.deadline_s, now_s),
            self._shares.number(party) if party.place < 0 else party.place,
        )

    def _why_not(self, party: Party, ask: Ask, now_s: float) -> Refusal | None:
        """Say why a request is not taken in; it is said again when the request comes again."""
        network = self.stock.network.name
        why = refusal(ask, self.terms, now_s, network, self._number, self.altering.has_left)
        if why is not None:
            return why
        if self.keeping.broken:
            return Refusal(Code.BUSY, f"nothing is handed out: {self.keeping.broken}", TRY_S)
        if self.draining:
            return Refusal(Code.BUSY, "the service is about to end", TRY_S)
        if len(party.known) >= self.terms.remembered:
            many = self.terms.remembered
            return Refusal(Code.BUSY, f"{many} answers are remembered already", _TIDY_S)
        if party.waiting >= self.terms.credits or not self._shares.admit(party):
            return TOO_MANY
        if self.work is not None and (idle := self.work.why_not(party)):
            return Refusal(Code.BUSY, idle, RETRY_S)
        return None

    def _refuse(
        self, turn: Turn, peer: bytes, ask: Ask, code: Code, why: str, retry_s: float = 0.0
    ) -> None:
        self._count["busy" if code is Code.BUSY else "denied"] += 1
        if self.tells:
            tell_refused(ask, code, why)
        turn.out.append((peer, encode_request(Denied(ask.rid, code, why, retry_s=retry_s))))

    def _take_in(self, turn: Turn, wishes: list[Wish], now_s: float) -> None:
        for waiting in self.serve(turn, wishes, now_s):
            waiting.waits = True
            self._shares.waits(waiting.party)
            if self._shares.too_many:
                self._count["busy"] += 1
                turn.out += self._shares.send_away(self.rows, self.work, now_s)

    def serve(self, turn: Turn, wishes: list[Wish], now_s: float) -> list[Waiting]:
        """Serve requests from stock as they are taken in; returns those that are to wait."""
        stock, done = self.stock, len(turn.done)
        self._hand_out(turn, stock.take_in(wishes), now_s)
        left: list[Waiting] = []
        if len(turn.done) - done == len(wishes):
            return left
        for wish in wishes:
            waiting = self.rows.get(wish[0])
            if waiting is not None and stock.hopeless(wish[0]):
                why = "no chain of links in this network can meet minimum_fidelity"
                self.deny(turn, waiting, Code.NORES, why, now_s)
            elif waiting is not None:
                left.append(waiting)
        return left

    # What becomes of requests.

    def turn(self, now_s: float) -> list[Reply]:
        """Let the network's time go on as far as it should by now; returns the frames to send."""
        turn, stock = Turn(), self.stock
        slots = self.pace.due(now_s, waiting=bool(self.rows))
        while slots > 0:
            made, ended, played = stock.play(slots)
            slots -= played
            self.pace.played(played)
            self._hand_out(turn, made, now_s)
            for row in ended:
                self.deny(turn, self.rows[row], Code.TIMEOUT, "the deadline has passed", now_s)
            slots = min(slots, self.pace.due(now_s, waiting=bool(self.rows)))
        self._look_after(now_s)
        return self._commit(turn, now_s)

    def behind(self, now_s: float) -> bool:
        """Tell whether the network's time has to go on before more frames are waited for."""
        return self.pace.due(now_s, waiting=bool(self.rows)) > 0

    def _hand_out(self, turn: Turn, made: list[Delivered], now_s: float) -> None:
        rows = self.rows
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

    def deny(self, turn: Turn, waiting: Waiting, code: Code, why: str, now_s: float) -> None:
        """Answer a request that it gets no more pairs; those that it has are spent."""
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
        del self.rows[waiting.row]
        self.stock.give_row(waiting.row)
        if waiting.waits:
            self._shares.leaves(party)
        self.answers.keep(party, ask.rid, frame, until_s)

    def settle(self, answers: Iterable[Done | Failed], now_s: float) -> list[Reply]:
        """Take the answers of workers to their jobs; returns what applications are told of them."""
        assert self.work is not None
        for answer in answers:
            self.work.settle(answer)
        return self._commit(Turn(), now_s)

    # The journal.

    def _commit(self, turn: Turn, now_s: float) -> list[Reply]:
        return self.keeping.commit(turn, self.work, now_s)

    def _look_after(self, now_s: float) -> None:
        """Forget what is over, and try a broken journal again."""
        self.keeping.try_again(now_s)
        self.keeping.trim()
        if now_s - self._tidied_s >= _TIDY_S:
            self._tidied_s = now_s
            self.answers.forget(now_s)
            job = 0 if self.work is None else self.work.tidy(self.sessions)
            parties, standing = self.sessions.parties.values(), self.altering.standing
            self.keeping.tidy(now_s, parties, self._sequence, job, standing)

    # How things stand.

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self.rows)

    def counts(self) -> Counts:
        """Say what was done since the service started."""
        return Counts(
            **self._count,
            unjournalled=self.keeping.missing,
            waiting=len(self.rows),
            sessions=len(self.sessions),
            remembered=len(self.answers),
            slot=self.stock.clock,
            tested=self.stock.tested,
            stored=int(self.stock.ledger.link["stock"].sum()),
            **self.altering.counts(),
        )

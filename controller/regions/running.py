"""The crossing requests of a region that have no answer yet: what they decide, as entries.

No sockets. Questions to owners gather in ``out``, entries of the journal in ``entries``, answers to
applications in ``answered``; the broker takes them away after every step.
"""

from collections.abc import Iterable

from controller.regions.crossing import Crossing, Losses, Outcome, leg_name
from controller.regions.records import Answered, Crossed, Deciding, Entry, Known
from controller.regions.records import Crossing as Pair
from controller.regions.territory import Territory
from controller.regions.wire import FromAsker, FromOwner, Gone, Used
from controller.service.answers import Answers, Party, Waiting
from controller.service.sessions import Sessions
from controller.service.terms import Terms
from quantum.errors import Code
from quantum.requests import Ask, Denied, Granted, Measured, decode_ask, encode_request
from quantum.requests import Pair as Told

__all__ = ["Running"]

#: Nothing was measured of pairs between regions.
_UNTESTED = Measured(0.0, 0.5, 1.0, 0, 0.0)


class _One:
    __slots__ = ("crossing", "legs", "waiting")

    def __init__(self, crossing: Crossing, waiting: Waiting) -> None:
        self.crossing, self.waiting = crossing, waiting
        self.legs: set[bytes] = set()


class Running:
    """The crossing requests of region ``name``."""

    def __init__(
        self, name: str, territory: Territory, losses: Losses, terms: Terms, answers: Answers
    ) -> None:
        self._name, self._territory, self._losses = name, territory, losses
        self._terms, self._answers = terms, answers
        self.epoch = 1
        self._open: dict[tuple[int, bytes], _One] = {}
        self._by_leg: dict[bytes, tuple[int, bytes]] = {}
        self._sequence = 0
        self.out: list[tuple[str, FromAsker]] = []
        self.entries: list[Entry] = []
        self.answered: list[tuple[bytes, bytes]] = []
        self.granted = self.denied = 0

    def __len__(self) -> int:
        return len(self._open)

    # What is known from before.

    def recall(self, entries: Iterable[Entry], sessions: Sessions, now_s: float) -> None:
        """Take over answers, and go on with what was decided and not answered."""
        parties: dict[int, Party] = {}
        open_: dict[tuple[int, bytes], tuple[bytes, Deciding | None, list[Pair]]] = {}
        for entry in entries:
            match entry:
                case Known(number, public, name):
                    parties[number] = sessions.recall(number, public, name, now_s)
                case Deciding(client=number, ask=frame):
                    key = number, _asked(frame).rid
                    open_[key] = (frame, entry, open_[key][2] if key in open_ else [])
                case Crossed(client=number, rid=rid, pairs=new):
                    frame, _, pairs = open_[number, rid]
                    open_[number, rid] = (frame, None, [*pairs, *new])
                    self._sequence = max([self._sequence, *(pair.sequence for pair in new)])
                case Answered(number, frame, answer, keep_s):
                    rid = _asked(frame).rid
                    open_.pop((number, rid), None)
                    self._answers.keep(parties[number], rid, answer, now_s + keep_s)
        for (number, _), (frame, decided, pairs) in open_.items():
            ask = _asked(frame)
            waiting = Waiting(parties[number], ask, frame, b"")
            waiting.peers.clear()
            # A clock that began anew with the machine says nothing of how long there is.
            until_s = min(ask.deadline_s, now_s + self._terms.most_s)
            one = self._begun(waiting, until_s, now_s)
            one.crossing.pairs = pairs
            if decided is not None:
                one.crossing.resume(decided, now_s)
                self._index(one)

    # On with them.

    def begin(self, waiting: Waiting, now_s: float) -> None:
        """Take in a request that crosses."""
        self._begun(waiting, waiting.ask.deadline_s, now_s)

    def _begun(self, waiting: Waiting, deadline_s: float, now_s: float) -> _One:
        party, asked = waiting.party, waiting.ask
        a, b, pairs, fidelity = asked.source, asked.destination, asked.pairs, asked.minimum_fidelity
        ask = Ask(asked.rid, b"", a, b, deadline_s, pairs, fidelity)

        def name_of(attempt: int, index: int) -> bytes:
            return leg_name(self._name, self.epoch, party.public, asked.rid, attempt, index)

        crossing = Crossing(ask, self._territory, self._losses, name_of, now_s)
        party.known[asked.rid] = waiting
        party.waiting += 1
        one = self._open[party.number, asked.rid] = _One(crossing, waiting)
        return one

    def hear(self, region: str, message: FromOwner, now_s: float) -> None:
        """Take the answer of an owner; one about a request that is over is of no use."""
        one = self._open.get(self._by_leg.get(message.leg, (0, b"")))
        if one is None:
            return
        self._go_on(one, one.crossing.hear(region, message, now_s), now_s)
        current = {name for _, name in one.crossing.names()}
        if isinstance(message, Gone | Used) and message.leg in one.legs - current:
            one.legs.discard(message.leg)
            self._by_leg.pop(message.leg, None)

    def turn(self, now_s: float) -> None:
        """Let time go on."""
        for one in list(self._open.values()):
            self._go_on(one, one.crossing.turn(now_s), now_s)

    def _go_on(self, one: _One, outcome: Outcome, now_s: float) -> None:
        crossing, waiting = one.crossing, one.waiting
        self._index(one)
        decided, crossing.deciding = crossing.deciding, None
        if decided is not None:
            self._know(waiting.party)
            attempt, legs = decided.attempt, decided.legs
            self.entries.append(
                Deciding(waiting.party.number, waiting.frame, attempt, legs, decided.now_s)
            )
        if crossing.made:
            self._put_together(one)
        self.out += crossing.out
        crossing.out = []
        if outcome is not None:
            self._answer(one, *outcome, now_s)

    def _index(self, one: _One) -> None:
        key = one.waiting.party.number, one.waiting.ask.rid
        for _, name in one.crossing.names():
            one.legs.add(name)
            self._by_leg[name] = key

    def _put_together(self, one: _One) -> None:
        crossing, new = one.crossing, list[Pair]()
        for index, fidelity in crossing.made:
            self._sequence += 1
            new.append(Pair(self._sequence, index, crossing.used, fidelity))
        crossing.made = []
        crossing.pairs += new
        waiting = one.waiting
        self.entries.append(
            Crossed(waiting.party.number, waiting.ask.rid, crossing.attempt, tuple(new))
        )

    def _answer(self, one: _One, code: Code | None, why: str, now_s: float) -> None:
        waiting, crossing = one.waiting, one.crossing
        party, ask = waiting.party, waiting.ask
        pairs = tuple(
            Told(ask.source, ask.destination, pair.sequence, pair.predicted, 0)
            for pair in crossing.pairs[: ask.pairs]
        )
        kinds = (_UNTESTED,) if pairs else ()
        if code is None:
            self.granted += 1
            frame = encode_request(Granted(ask.rid, pairs, kinds))
        else:
            self.denied += 1
            frame = encode_request(Denied(ask.rid, code, why, pairs, kinds))
        until_s = max(now_s, crossing.ask.deadline_s) + self._terms.grace_s
        self._know(party)
        self.entries.append(Answered(party.number, waiting.frame, frame, until_s - now_s, now_s))
        self.answered += [(peer, frame) for peer in waiting.peers]
        party.waiting -= 1
        self._answers.keep(party, ask.rid, frame, until_s)
        del self._open[party.number, ask.rid]
        for name in one.legs:
            del self._by_leg[name]

    def _know(self, party: Party) -> None:
        if not party.noted:
            party.noted = True
            self.entries.append(Known(party.number, party.public, party.name))


def _asked(frame: bytes) -> Ask:
    ask = decode_ask(frame)
    assert isinstance(ask, Ask)
    return ask

"""The state machine of a region's broker: frames in, frames out. No sockets and no clock.

Applications of the region speak with it as with a service. What lies inside the region goes to the
region's own service; what crosses goes to :mod:`controller.regions.running`. Other regions' legs
go to :mod:`controller.regions.holding`. All that a turn decides is one row of the journal, written
before anything of it is said.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from controller.regions.crossing import Losses
from controller.regions.holding import Holder
from controller.regions.records import Entry
from controller.regions.running import Running
from controller.regions.territory import Territory
from controller.regions.upstream import Upstream
from controller.regions.wire import FromAsker, decode_from_asker, decode_from_owner, encode
from controller.security.keyring import Client, Keyring
from controller.security.limits import RateLimit
from controller.service.answers import Answers, Party, Waiting
from controller.service.sessions import Sessions
from controller.service.terms import Terms
from controller.service.wishes import Refusal, refusal
from quantum.alterations import Alter, Survey
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

__all__ = ["Broker", "Counts", "Out"]

_RETRY_S, _TIDY_S = 0.05, 1.0
_PEERS = 8
_AGAIN = encode_request(Again())


class Out(NamedTuple):
    """A frame that leaves: to a connection, to the broker of a region, or to the own service."""

    peer: bytes | None
    region: str | None
    frame: bytes


class Counts(NamedTuple):
    """What a broker has done since it started; ``holding`` and ``waiting`` are now.

    ``granted`` and ``denied`` are requests that crossed, ``passed_on`` those for the own service;
    ``held``, ``used`` and ``let_go`` are legs.
    """

    granted: int
    denied: int
    refused: int
    passed_on: int
    held: int
    used: int
    let_go: int
    holding: int
    waiting: int


class Broker:
    """The broker of region ``name``; ``losses`` are those of the network."""

    def __init__(
        self,
        name: str,
        territory: Territory,
        losses: Losses,
        terms: Terms,
        ring: Keyring,
        *,
        epoch: int = 1,
        now_s: float = 0.0,
    ) -> None:
        self.name, self.territory, self.terms = name, territory, terms
        network = territory.network
        self._number = {node: k for k, node in enumerate(network.nodes)}
        self.sessions = Sessions(terms, ring, network=network.name, epoch=epoch)
        self.answers = Answers()
        self.upstream = Upstream(grace_s=terms.grace_s)
        self.holder = Holder(
            territory.parts[name], network.gates.success, grace_s=terms.grace_s, now_s=now_s
        )
        self.running = Running(name, territory, losses, terms, self.answers)
        self.running.epoch = epoch
        self.draining = False
        self._local: dict[bytes, Waiting] = {}
        self._limits: dict[str, RateLimit] = {}
        self._tidied_s = now_s
        self._out: list[Out] = []
        self._entries: list[Entry] = []
        self._refused = self._passed_on = 0

    def recall(self, entries: Iterable[Entry], now_s: float) -> None:
        """Take over what the journal knows: answers, legs, and what was decided and not ended."""
        entries = list(entries)
        self.running.recall(entries, self.sessions, now_s)
        self.holder.recall(entries, now_s, self.terms.most_s + self.terms.grace_s)

    # Applications.

    def open(self, client: Client, message: Open, now_s: float) -> bytes:
        """Open a session for the owner of a key, or say why not."""
        if self.draining:
            return encode_request(Closed(Code.BUSY, "the broker is about to end"))
        return encode_request(self.sessions.open(client, message, now_s))

    def hear_client(self, peer: bytes, frame: bytes, now_s: float) -> None:
        """Take a frame of an application that is no Open."""
        try:
            message = decode_ask(frame)
        except WireError as wrong:
            self._say(peer, encode_request(Closed(Code.CREATE, str(wrong))))
            return
        if isinstance(message, Leave):
            self.sessions.close(message.session)
        elif isinstance(message, Ask):
            self._ask(peer, frame, message, now_s)
        elif isinstance(message, Alter | Survey):
            why = "the network of regions does not change while their brokers run"
            self._say(peer, encode_request(Denied(message.rid, Code.UNSUPP, why)))
        else:
            self._say(peer, _AGAIN)

    def _ask(self, peer: bytes, frame: bytes, ask: Ask, now_s: float) -> None:
        party = self.sessions.find(ask.session)
        if not isinstance(party, Party):
            self._say(peer, _AGAIN if party is None else encode_request(party))
            return
        wait_s = party.limit.take(now_s)
        if wait_s > 0.0:
            self._refuse(peer, ask, Refusal(Code.BUSY, "too many messages a second", wait_s))
            return
        before = party.known.get(ask.rid)
        if isinstance(before, bytes):
            self._say(peer, before)
            return
        if before is not None:
            if peer not in before.peers:
                before.peers.append(peer)
                del before.peers[:-_PEERS]
            return
        why = self._why_not(party, ask, now_s)
        if why is not None:
            self._refuse(peer, ask, why)
            return
        waiting = Waiting(party, ask, frame, peer)
        if self._is_local(ask):
            self._pass_on(waiting, now_s)
        else:
            self.running.begin(waiting, now_s)

    def _is_local(self, ask: Ask) -> bool:
        return self.territory.inside(self.name, ask.source, ask.destination)

    def _why_not(self, party: Party, ask: Ask, now_s: float) -> Refusal | None:
        network = self.territory.network.name
        why = refusal(ask, self.terms, now_s, network, self._number)
        if why is not None and not (why.code is Code.NOTIME and self._is_local(ask)):
            # The own service may know an answer from before the deadline.
            return why
        home = self.territory.region_of[ask.source]
        if home != self.name:
            return Refusal(Code.CREATE, f"source {ask.source} is in region {home}: ask its broker")
        if self.draining:
            return Refusal(Code.BUSY, "the broker is about to end", _TIDY_S)
        if len(party.known) >= self.terms.remembered:
            many = self.terms.remembered
            return Refusal(Code.BUSY, f"{many} answers are remembered already", _TIDY_S)
        if party.waiting >= self.terms.credits or self.waiting >= self.terms.waiting:
            return Refusal(Code.BUSY, "too many requests wait", _RETRY_S)
        return None

    def _refuse(self, peer: bytes, ask: Ask, why: Refusal) -> None:
        self._refused += 1
        denied = Denied(ask.rid, why.code, why.why, retry_s=why.retry_s)
        self._say(peer, encode_request(denied))

    def _pass_on(self, waiting: Waiting, now_s: float) -> None:
        """Ask the own service, under a name of which everybody's requests have their own."""
        ask, party = waiting.ask, waiting.party
        party.known[ask.rid] = waiting
        party.waiting += 1
        rid = hashlib.sha256(f"{party.public} ".encode() + ask.rid).digest()[:16]
        self._local[rid] = waiting
        self._passed_on += 1
        inner = Ask(
            rid, b"", ask.source, ask.destination, ask.deadline_s, ask.pairs, ask.minimum_fidelity
        )
        self.upstream.ask(inner, now_s, patient=False)

    # Other regions, and the own service.

    def hear_asker(self, peer: bytes, region: str, frame: bytes, now_s: float) -> None:
        """Take a question of another region's broker, whose key says which it is."""
        limit = self._limits.get(region)
        if limit is None:
            limit = RateLimit(self.terms.rate_hz, float(self.terms.burst), now_s=now_s)
            self._limits[region] = limit
        # Whoever speaks too much is not heard; he asks again.
        if region not in self.territory.parts or limit.take(now_s) > 0.0:
            return
        try:
            message = decode_from_asker(frame)
        except WireError:
            return
        self.holder.hear(message, region, peer, now_s)

    def hear_owner(self, region: str, frame: bytes, now_s: float) -> None:
        """Take an answer of another region's broker about a leg of ours."""
        try:
            message = decode_from_owner(frame)
        except WireError:
            return
        self.running.hear(region, message, now_s)

    def hear_service(self, frame: bytes, now_s: float) -> None:
        """Take a frame of the own service."""
        answer = self.upstream.hear(frame, now_s)
        if answer is None:
            return
        waiting = self._local.pop(answer.rid, None)
        if waiting is not None:
            self._passed_back(waiting, answer)
        elif isinstance(answer, Granted):
            pairs = tuple((pair.sequence, pair.predicted) for pair in answer.pairs)
            self.holder.granted(answer.rid, pairs, now_s)
        else:
            self.holder.refused(answer.rid, answer.code, answer.detail)

    def _passed_back(self, waiting: Waiting, answer: Granted | Denied) -> None:
        """Say what the own service said; it is asked again where the application asks again."""
        party, rid = waiting.party, waiting.ask.rid
        del party.known[rid]
        party.waiting -= 1
        frame = encode_request(
            Granted(rid, answer.pairs, answer.kinds, answer.source_of_truth)
            if isinstance(answer, Granted)
            else Denied(rid, answer.code, answer.detail, answer.pairs, answer.kinds, answer.retry_s)
        )
        for peer in waiting.peers:
            self._say(peer, frame)

    # Time, and what comes of it all.

    def turn(self, now_s: float) -> tuple[list[Entry], list[Out]]:
        """Let time go on; returns what is to be journalled and then, not before, what is to leave.

        To be called after frames were heard, and now and then.
        """
        self.running.turn(now_s)
        self.holder.turn(now_s)
        while self._carry(now_s):
            pass
        self.upstream.turn(now_s)
        self._out += [Out(None, None, frame) for frame in self.upstream.out]
        self.upstream.out.clear()
        if now_s - self._tidied_s >= _TIDY_S:
            self._tidied_s = now_s
            self.answers.forget(now_s)
            self._forget_local()
        entries, out = self._entries, self._out
        self._entries, self._out = [], []
        return entries, out

    def _carry(self, now_s: float) -> bool:
        """Carry what was said to where it belongs; tell whether anything was.

        Our own legs are held by ourselves, without a message.
        """
        running, holder = self.running, self.holder
        for rid, wish, until_s in holder.asks:
            ask = Ask(rid, b"", wish.a, wish.b, until_s, wish.pairs, wish.fidelity)
            self.upstream.ask(ask, now_s, patient=True)
        # In the order in which they were decided: a leg is held before its use is decided.
        self._entries += holder.entries + running.entries
        self._out += [Out(peer, None, frame) for peer, frame in running.answered]
        questions, answers = running.out, holder.out
        holder.asks, holder.entries, holder.out = [], [], []
        running.entries, running.answered, running.out = [], [], []
        for peer, answer in answers:
            if peer:
                self._out.append(Out(peer, None, encode(answer)))
            else:
                running.hear(self.name, answer, now_s)
        for region, question in questions:
            self._ask_owner(region, question, now_s)
        return bool(questions or answers)

    def _ask_owner(self, region: str, question: FromAsker, now_s: float) -> None:
        if region == self.name:
            self.holder.hear(question, self.name, b"", now_s)
        else:
            self._out.append(Out(None, region, encode(question)))

    def _forget_local(self) -> None:
        """Forget requests that the own service never answered; their clients have given up."""
        for rid, waiting in list(self._local.items()):
            if not self.upstream.waits_for(rid):
                del self._local[rid]
                del waiting.party.known[waiting.ask.rid]
                waiting.party.waiting -= 1

    def _say(self, peer: bytes, frame: bytes) -> None:
        self._out.append(Out(peer, None, frame))

    # How things stand.

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self.running) + len(self._local)

    def counts(self) -> Counts:
        """Say what was done since the start."""
        holder, running = self.holder, self.running
        return Counts(
            granted=running.granted,
            denied=running.denied,
            refused=self._refused,
            passed_on=self._passed_on,
            held=holder.held,
            used=holder.used,
            let_go=holder.let_go,
            holding=holder.holding(),
            waiting=self.waiting,
        )

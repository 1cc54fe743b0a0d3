"""What a service's journal tells: who asked for what, what was granted, and what was measured.

A fold of journal entries into counts; no files, no sockets, no clock.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.dashboard.bins import Bins
from controller.service.entries import Answered, Changed, Entry, Kept, Known, Started
from controller.service.standing import told
from quantum.alterations import Alter, Altered
from quantum.errors import Code, RecordError, WireError
from quantum.requests import Ask, Granted, Measured, decode_answer, decode_ask

__all__ = ["ClientSums", "Latest", "NetworkChange", "PairSums", "ServiceStory"]

_LATEST = 60
#: Node pairs that are told apart; of more only the sums are known.
_MOST_PAIRS = 10_000
#: Seconds of a bin at first; they grow longer when there are many.
_BIN_S = 1


@dataclass
class ClientSums:
    """What the owner of a key asked for; ``blocked`` are requests that were denied."""

    name: str
    public: str
    requests: int = 0
    granted: int = 0
    pairs: int = 0
    blocked: int = 0


@dataclass
class PairSums:
    """What was asked between two nodes; ``measured`` is the newest that was told of such paths."""

    requests: int = 0
    granted: int = 0
    pairs: int = 0
    blocked: int = 0
    fidelity: float = 0.0
    measured: Measured | None = None


class Latest(NamedTuple):
    """A request that was answered, ``time_s`` after the service had started."""

    time_s: float
    client: str
    source: str
    destination: str
    asked: int
    got: int
    fidelity: float
    answer: str


class NetworkChange(NamedTuple):
    """A change of the network, ``time_s`` after the service had started."""

    number: int
    time_s: float
    client: str
    steps: str
    nodes: int
    links: int
    down: int


@dataclass
class ServiceStory:
    """Sums over the journal; bins over the time since the latest start."""

    started: Started | None = None
    answered: int = 0
    granted: int = 0
    pairs: int = 0
    blocked: dict[str, int] = field(default_factory=dict)
    clients: dict[int, ClientSums] = field(default_factory=dict)
    by_pair: dict[tuple[str, str], PairSums] = field(default_factory=dict)
    latest: deque[Latest] = field(default_factory=lambda: deque(maxlen=_LATEST))
    series: Bins = field(default_factory=lambda: _bins())
    changes: deque[NetworkChange] = field(default_factory=lambda: deque(maxlen=_LATEST))
    measured: Measured | None = None
    time_s: float = 0.0
    """Of the newest answer, since the latest start."""

    def take(self, entries: Iterable[Entry]) -> None:
        """Fold entries in their order; :class:`RecordError` where one makes no sense.

        Entries of other kinds are none of these figures.
        """
        for entry in entries:
            match entry:
                case Started():
                    self._start(entry)
                case Kept():
                    self._start(entry.started)
                    for known in entry.clients:
                        self._know(known)
                case Known():
                    self._know(entry)
                case Answered():
                    self._answer(entry)
                case Changed():
                    self._change(entry)

    def _start(self, started: Started) -> None:
        self.started, self.series, self.time_s = started, _bins(), 0.0

    def _know(self, known: Known) -> None:
        sums = self.clients.setdefault(known.client, ClientSums(known.name, known.public))
        sums.name, sums.public = known.name, known.public

    def _change(self, entry: Changed) -> None:
        try:
            ask, answer = decode_ask(entry.ask), decode_answer(entry.answer)
        except WireError as wrong:
            raise RecordError(f"a change of the network in the journal: {wrong}") from wrong
        if not isinstance(ask, Alter) or not isinstance(answer, Altered):
            raise RecordError("a change of the network in the journal is none")
        client = self.clients.setdefault(entry.client, ClientSums(f"client {entry.client}", ""))
        self.changes.append(
            NetworkChange(
                answer.change,
                max(0.0, entry.now_s - (self.started.now_s if self.started else entry.now_s)),
                client.name,
                ", ".join(map(told, ask.steps)),
                answer.nodes,
                answer.links,
                answer.down,
            )
        )

    def _answer(self, entry: Answered) -> None:
        try:
            ask, answer = decode_ask(entry.ask), decode_answer(entry.answer)
        except WireError as wrong:
            raise RecordError(f"answer {self.answered + 1} of the journal: {wrong}") from wrong
        if not isinstance(ask, Ask):
            raise RecordError(f"answer {self.answered + 1} of the journal: it answers no request")
        self.answered += 1
        begun_s = self.started.now_s if self.started is not None else entry.now_s
        self.time_s = max(0.0, entry.now_s - begun_s)
        slot = int(self.time_s / _BIN_S)
        client = self.clients.setdefault(entry.client, ClientSums(f"client {entry.client}", ""))
        sums = self._pair(ask)
        for each in (client, sums):
            each.requests += 1
        sums.fidelity = ask.minimum_fidelity
        pairs = getattr(answer, "pairs", ())
        if isinstance(answer, Granted):
            self.granted += 1
            self.pairs += len(pairs)
            for each in (client, sums):
                each.granted += 1
                each.pairs += len(pairs)
            word = "granted"
            self.series.add(slot, "granted", 1.0)
            self.series.add(slot, "pairs", float(len(pairs)))
        else:
            code = getattr(answer, "code", Code.OTHER)
            word = code.name
            self.blocked[word] = self.blocked.get(word, 0) + 1
            for each in (client, sums):
                each.blocked += 1
            self.series.add(slot, "blocked", 1.0)
        # Kinds without tests say nothing yet.
        tested = [kind for kind in getattr(answer, "kinds", ()) if kind.shots]
        if tested:
            sums.measured = self.measured = tested[-1]
        self.latest.append(
            Latest(
                self.time_s,
                client.name,
                ask.source,
                ask.destination,
                ask.pairs,
                len(pairs),
                ask.minimum_fidelity,
                word,
            )
        )

    def _pair(self, ask: Ask) -> PairSums:
        ends = (ask.source, ask.destination)
        if ends not in self.by_pair and len(self.by_pair) >= _MOST_PAIRS:
            ends = ("others", "")
        return self.by_pair.setdefault(ends, PairSums())


def _bins() -> Bins:
    return Bins(("granted", "blocked", "pairs"), width=1, most=300)

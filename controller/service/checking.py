"""Proves from a journal that no allocation was made twice and that answers are what was asked.

Pure but for reading the file. What is checked, row by row of the hash chain:

- every start of the service follows the one before it;
- no two pairs have the same number, over all answers and all starts;
- a request has one answer: while it is remembered, also by a service that was started again, no
  other one is given to the same ``rid`` of the same client;
- jobs leave once, in the order of their numbers, with pairs that were granted and are in no other;
- a pair expires once at most, was granted to the client that is told, and was not executed;
- pairs that were neither executed nor expired when a service ended expire when the next one starts;
- changes of the network follow each other, a service that starts stands where the last one ended,
  and no pair of a node that had left is handed out;
- an answer belongs to its request: same ``rid``, same two nodes, as many pairs as were asked, each
  predicted to be good enough.

With the answers that clients received (``heard``): each of them is in the journal, byte for byte.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from controller.service.chain import read
from controller.service.checking_network import Nodes
from controller.service.checking_work import Shop
from controller.service.entries import (
    Answered,
    Changed,
    Entry,
    Expiry,
    Kept,
    Known,
    Sent,
    Settled,
    Started,
)
from quantum.alterations import Alter, Altered
from quantum.errors import RecordError, WireError
from quantum.requests import Ask, Denied, Expired, Granted, decode_answer, decode_ask

__all__ = ["Proof", "check", "last_sequence"]


class Proof(NamedTuple):
    """What a journal holds, every rule kept."""

    rows: int
    starts: int
    clients: int
    answers: int
    granted: int
    pairs: int
    heard: int
    """Answers that clients received and that were looked up."""
    jobs: int = 0
    executed: int = 0
    """Pairs that workers have executed after they were granted."""
    expired: int = 0
    open: int = 0
    """Pairs that workers are yet to execute."""
    changes: int = 0
    """Changes of the network."""


class _Books:
    """What has been seen so far; ``trimmed`` where the journal begins later than the service."""

    def __init__(self, *, trimmed: bool) -> None:
        self.trimmed, self.started = trimmed, False
        self.epoch = self.answers = 0
        self.clients: dict[int, str] = {}
        self.now_s = 0.0
        self.until: dict[tuple[int, bytes], float] = {}
        """Until when a request is remembered, on the clock of the service."""
        self.frames: dict[bytes, set[bytes]] = {}
        self.pairs: dict[int, bytes] = {}
        """Number of a pair -> the request that got it."""
        self.granted: set[tuple[int, bytes]] = set()
        self.work, self.network = Shop(), Nodes()

    def remember(self, entry: Answered | Changed, rid: bytes, what: str) -> str:
        """Note who was answered, and until when it is remembered."""
        key = entry.client, rid
        if entry.client not in self.clients:
            return f"client {entry.client} is nobody"
        if entry.now_s < self.now_s:
            return f"the clock went back from {self.now_s} to {entry.now_s} s"
        if entry.now_s < self.until.get(key, 0.0):
            return f"{what} {rid.hex()} is answered twice"
        self.now_s, self.until[key] = entry.now_s, entry.now_s + entry.keep_s
        self.frames.setdefault(rid, set()).add(entry.answer)
        return ""


def check(path: Path, heard: Iterable[bytes] = ()) -> Proof:
    """Check a journal; :class:`RecordError` names the first row and the rule that it breaks.

    ``heard`` are the frames of answers that clients received.
    """
    books, row = None, 0
    for row, entries in read(path):
        books = books or _Books(trimmed=row > 1)
        for entry in entries:
            why = _broken(books, entry)
            if why:
                raise RecordError(f"{path}: row {row}: {why}")
        why = books.work.left_behind()
        if why:
            raise RecordError(f"{path}: row {row}: {why}")
    books = books or _Books(trimmed=False)
    count = 0
    for frame in heard:
        answer = decode_answer(frame)
        if isinstance(answer, Denied) and answer.retry_s > 0.0:
            continue
        count += 1
        if isinstance(answer, Granted | Denied | Expired | Altered) and (
            frame not in books.frames.get(answer.rid, set())
        ):
            name = answer.rid.hex()
            raise RecordError(f"{path}: an answer to {name} that a client received is not in it")
    return Proof(
        rows=row,
        starts=books.epoch,
        clients=len(books.clients),
        answers=books.answers,
        granted=len(books.granted),
        pairs=len(books.pairs),
        heard=count,
        jobs=books.work.jobs,
        executed=books.work.executed,
        expired=len(books.work.expired),
        open=len(books.work.open),
        changes=books.network.changes,
    )


def last_sequence(entry: Entry) -> int:
    """Return the highest number of a pair in an entry, 0 where there is none."""
    if isinstance(entry, Kept):
        return entry.sequence
    if isinstance(entry, Answered):
        answer = decode_answer(entry.answer)
        if isinstance(answer, Granted | Denied):
            return max((pair.sequence for pair in answer.pairs), default=0)
    return 0


def _broken(books: _Books, entry: Entry) -> str:
    """Return the rule that an entry breaks, nothing where it keeps all; the books go on."""
    match entry:
        case Started(epoch, now_s=now_s, workers=workers, changes=changes):
            books.work.start(workers=workers)
            # What was kept of rows that are gone knows of the last start, which may be yet to come.
            first = books.trimmed and not books.started
            books.started = True
            if epoch != books.epoch + 1 and not (first and epoch <= books.epoch):
                return f"start {epoch} follows start {books.epoch}"
            books.epoch = epoch
            _set_clock(books, now_s)
            return books.network.start(changes)
        case Kept(started, clients=clients, changes=changes, network=now):
            books.network.go_on(changes, now)
            books.epoch = started.epoch
            books.work.go_on(workers=started.workers)
            books.clients.update({known.client: known.public for known in clients})
        case Known(client, public):
            if books.clients.setdefault(client, public) != public:
                return f"client {client} is somebody else"
        case Answered():
            return _answered(books, entry)
        case Changed():
            return _changed(books, entry)
        case Sent(job, pairs):
            return books.work.sent(job, pairs)
        case Settled(job):
            return books.work.settled(job)
        case Expiry(client, said):
            return _expired(books, client, said)
    return ""


def _expired(books: _Books, client: int, said: bytes) -> str:
    try:
        expired = decode_answer(said)
    except WireError as wrong:
        return str(wrong)
    if not isinstance(expired, Expired):
        return "what is said of pairs that expired says something else"
    books.frames.setdefault(expired.rid, set()).add(said)
    return books.work.expire(client, expired)


def _set_clock(books: _Books, now_s: float) -> None:
    """Go on by the clock of a service that starts; after a boot it shows less than before."""
    if now_s < books.now_s:
        less_s = books.now_s - now_s
        books.until = {key: until_s - less_s for key, until_s in books.until.items()}
    books.now_s = now_s


def _changed(books: _Books, entry: Changed) -> str:
    try:
        ask, answer = decode_ask(entry.ask), decode_answer(entry.answer)
    except WireError as wrong:
        return str(wrong)
    if not isinstance(ask, Alter) or not isinstance(answer, Altered) or ask.rid != answer.rid:
        return "an answer is no answer to a change of the network"
    why = books.remember(entry, ask.rid, "change")
    return why or books.network.change(answer.change, ask.steps)


def _answered(books: _Books, entry: Answered) -> str:
    try:
        ask, answer = decode_ask(entry.ask), decode_answer(entry.answer)
    except WireError as wrong:
        return str(wrong)
    if not isinstance(ask, Ask) or not isinstance(answer, Granted | Denied):
        return "an answer is no answer to a request"
    name, key = ask.rid.hex(), (entry.client, ask.rid)
    if ask.rid != answer.rid:
        return f"request {name} has the answer of another one"
    why = books.remember(entry, ask.rid, "request")
    if why:
        return why
    books.answers += 1
    wrong_number = len(answer.pairs) != ask.pairs
    if isinstance(answer, Granted):
        if wrong_number:
            return f"request {name} wanted {ask.pairs} pairs and got {len(answer.pairs)}"
        books.granted.add(key)
    for pair in answer.pairs:
        if (pair.source, pair.destination) != (ask.source, ask.destination):
            return f"pair {pair.sequence} joins other nodes than request {name} named"
        if pair.predicted < ask.minimum_fidelity - 1e-9:
            return f"pair {pair.sequence} is not good enough for request {name}"
        if pair.sequence in books.pairs:
            return f"pair {pair.sequence} is handed out twice"
        if isinstance(answer, Granted) and (
            why := books.network.pair(pair.source, pair.destination)
        ):
            return f"pair {pair.sequence}: {why}"
        books.pairs[pair.sequence] = ask.rid
        if isinstance(answer, Granted):
            books.work.grant(pair.sequence, entry.client, ask.rid)
    return ""

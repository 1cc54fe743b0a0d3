"""Proves from the journals of all regions that no pair was lost between them or used twice.

What is checked besides each service's own journal (:mod:`controller.service.checking`):

- a leg is held once and then used or let go of, never both; its pairs are those that its region's
  service granted under its name, and no other leg has them;
- a pair between regions was put together of legs that join its two ends, whose owners have noted
  that they were used for this region, and whose swaps succeeded; no other pair has a part of them;
- it was decided before it was put together, and put together before it was handed out;
- a request has one answer while it is remembered, with as many pairs as were asked, none of them
  handed out before, each good enough and no better than its legs.

Legs that were used and of which no pair came are counted: an owner was started again in between,
the deadline passed, or swaps failed.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from controller.regions.records import (
    Answered,
    Crossed,
    Crossing,
    DecidedLeg,
    Deciding,
    Entry,
    Holding,
    Known,
    Over,
    Started,
    decoder,
)
from controller.service.chain import read
from controller.service.checking import check
from controller.service.entries import Answered as ServiceAnswered
from quantum.errors import InputError, RecordError
from quantum.requests import Ask, Denied, Granted, decode_answer, decode_ask

__all__ = ["Proof", "check_regions", "journals_in"]


class Proof(NamedTuple):
    """What the journals hold, every rule kept."""

    regions: int
    starts: int
    answers: int
    granted: int
    pairs: int
    legs: int
    used: int
    let_go: int
    held: int
    """Legs that are neither used nor let go of yet."""
    spent: int
    """Legs that were used and of which nothing came."""
    local: int
    """Answers of the regions' own services."""


class _Books:
    """What the journal of one broker says, its own rules kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch = self.answers = self.granted = 0
        self.clients: dict[int, str] = {}
        self.holding: dict[bytes, Holding] = {}
        self.over: dict[bytes, Over] = {}
        self.decided: dict[tuple[int, bytes, int], tuple[Ask, tuple[DecidedLeg, ...]]] = {}
        self.crossed: list[tuple[tuple[DecidedLeg, ...], Ask, Crossing]] = []
        self._pairs: dict[tuple[int, bytes], dict[int, float]] = {}
        self._sequences: set[int] = set()
        self._given: set[int] = set()
        self._owned: set[int] = set()
        self._until: dict[tuple[int, bytes], float] = {}
        self._now_s = 0.0
        for row, entries in read(path, decoder):
            for entry in entries:
                why = self._broken(entry)
                if why:
                    raise RecordError(f"{path}: row {row}: {why}")

    def _broken(self, entry: Entry) -> str:
        match entry:
            case Started(epoch, now_s=now_s):
                if epoch != self.epoch + 1:
                    return f"start {epoch} follows start {self.epoch}"
                if now_s < self._now_s:
                    # After a boot the clock begins anew.
                    less_s = self._now_s - now_s
                    self._until = {key: until_s - less_s for key, until_s in self._until.items()}
                self.epoch, self._now_s = epoch, now_s
            case Known(client, public):
                if self.clients.setdefault(client, public) != public:
                    return f"client {client} is somebody else"
            case Holding(leg, pairs=pairs):
                numbers = [number for number, _ in pairs]
                if leg in self.holding:
                    return f"leg {leg.hex()} is held twice"
                if len(set(numbers)) < len(numbers) or self._owned & set(numbers):
                    return f"leg {leg.hex()} holds a pair that another one has"
                self._owned.update(numbers)
                self.holding[leg] = entry
            case Over(leg, used=used, joined=joined):
                if leg not in self.holding:
                    return f"leg {leg.hex()} ends and was never held"
                if leg in self.over:
                    return f"leg {leg.hex()} ends twice"
                if used and len(joined) != len(self.holding[leg].pairs):
                    return f"leg {leg.hex()} has other pairs than were held"
                self.over[leg] = entry
            case Deciding():
                return self._deciding(entry)
            case Crossed():
                return self._put_together(entry)
            case Answered():
                return self._answered(entry)
        return ""

    def _deciding(self, entry: Deciding) -> str:
        ask = decode_ask(entry.ask)
        if entry.client not in self.clients or not isinstance(ask, Ask):
            return "a decision is about no request of a client"
        key = (entry.client, ask.rid, entry.attempt)
        ends = [(leg.a, leg.b) for leg in entry.legs]
        joined = all(one[1] == other[0] for one, other in pairwise(ends))
        if not ends or not joined or (ends[0][0], ends[-1][1]) != (ask.source, ask.destination):
            return f"the legs of request {ask.rid.hex()} do not join its ends"
        self.decided[key] = (ask, entry.legs)
        return ""

    def _put_together(self, entry: Crossed) -> str:
        name = entry.rid.hex()
        decided = self.decided.get((entry.client, entry.rid, entry.attempt))
        if decided is None:
            return f"pairs of request {name} were never decided"
        ask, legs = decided
        for pair in entry.pairs:
            if pair.legs != tuple((leg.region, leg.leg) for leg in legs):
                return f"pair {pair.sequence} has other legs than were decided"
            if pair.sequence in self._sequences:
                return f"pair {pair.sequence} is put together twice"
            self._sequences.add(pair.sequence)
            self._pairs.setdefault((entry.client, entry.rid), {})[pair.sequence] = pair.predicted
            self.crossed.append((legs, ask, pair))
        return ""

    def _answered(self, entry: Answered) -> str:
        ask, answer = decode_ask(entry.ask), decode_answer(entry.answer)
        if entry.client not in self.clients or not isinstance(ask, Ask):
            return "an answer is to no request of a client"
        if not isinstance(answer, Granted | Denied) or answer.rid != ask.rid:
            return f"request {ask.rid.hex()} has an answer that is none, or another one's"
        name, key = ask.rid.hex(), (entry.client, ask.rid)
        if entry.now_s < self._now_s or entry.now_s < self._until.get(key, 0.0):
            return f"request {name} is answered twice, or the clock went back"
        self._now_s, self._until[key] = entry.now_s, entry.now_s + entry.keep_s
        self.answers += 1
        if isinstance(answer, Granted):
            self.granted += 1
            if len(answer.pairs) != ask.pairs:
                return f"request {name} wanted {ask.pairs} pairs and got {len(answer.pairs)}"
        mine = self._pairs.get(key, {})
        for pair in answer.pairs:
            if mine.get(pair.sequence) != pair.predicted:
                return f"pair {pair.sequence} was not put together for request {name}"
            if pair.predicted < ask.minimum_fidelity:
                return f"pair {pair.sequence} is not good enough for request {name}"
            if pair.sequence in self._given:
                return f"pair {pair.sequence} is handed out twice"
            if (pair.source, pair.destination) != (ask.source, ask.destination):
                return f"pair {pair.sequence} joins other nodes than request {name} named"
            self._given.add(pair.sequence)
        return ""


def journals_in(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Find the journals of all regions in a folder: broker's and service's, by region."""
    found = {
        path.name.removesuffix("-links.db"): (
            path.with_name(path.name.replace("-links.db", ".db")),
            path,
        )
        for path in sorted(folder.glob("*-links.db"))
    }
    if not found:
        raise InputError(f"{folder} holds no journals of regions")
    return found


def check_regions(journals: Mapping[str, tuple[Path, Path]]) -> Proof:
    """Check the journals of all regions; :class:`RecordError` names the first broken rule.

    They may be in use: what an owner noted is read after what was decided on it.
    """
    first = {name: _Books(paths[0]) for name, paths in journals.items()}
    owners = {name: _Books(paths[0]) for name, paths in journals.items()}
    parts: set[tuple[str, bytes, int]] = set()
    fruitful: set[tuple[str, bytes]] = set()
    for name, books in first.items():
        for legs, _, pair in books.crossed:
            why = _wrong_part(name, legs, pair, owners, parts)
            if why:
                raise RecordError(f"{books.path}: pair {pair.sequence}: {why}")
            fruitful.update(pair.legs)
    services = {name: check(paths[1]) for name, paths in journals.items()}
    for name, books in owners.items():
        _check_granted(books, journals[name][1])
    ended = [(name, over) for name, books in owners.items() for over in books.over.values()]
    used = [(name, over.leg) for name, over in ended if over.used]
    legs_held = sum(len(books.holding) for books in owners.values())
    return Proof(
        regions=len(first),
        starts=sum(books.epoch for books in first.values()),
        answers=sum(books.answers for books in first.values()),
        granted=sum(books.granted for books in first.values()),
        pairs=sum(len(books.crossed) for books in first.values()),
        legs=legs_held,
        used=len(used),
        let_go=len(ended) - len(used),
        held=legs_held - len(ended),
        spent=sum(one not in fruitful for one in used),
        local=sum(proof.answers for proof in services.values()) - legs_held,
    )


def _wrong_part(
    name: str,
    legs: Iterable[DecidedLeg],
    pair: Crossing,
    owners: Mapping[str, _Books],
    parts: set[tuple[str, bytes, int]],
) -> str:
    """Say what is wrong with what a pair was put together of."""
    legs, best = tuple(legs), 1.0
    for place, leg in enumerate(legs):
        owner = owners.get(leg.region)
        if owner is None:
            return f"the journal of region {leg.region} is missing"
        held, over = owner.holding.get(leg.leg), owner.over.get(leg.leg)
        where = f"leg {leg.leg.hex()} of region {leg.region}"
        if held is None or over is None or not over.used:
            return f"{where} was not used"
        if (held.asker, held.a, held.b, held.pairs) != (name, leg.a, leg.b, leg.pairs):
            return f"{where} is not what was decided on"
        if not 0 <= pair.index < len(held.pairs):
            return f"{where} has no pair {pair.index}"
        if place < len(legs) - 1 and not over.joined[pair.index]:
            return f"{where} was not joined with the next"
        if (leg.region, leg.leg, pair.index) in parts:
            return f"{where} is a part of two pairs"
        parts.add((leg.region, leg.leg, pair.index))
        best *= held.pairs[pair.index][1]
    return "it is better than its legs" if pair.predicted > best + 1e-9 else ""


def _check_granted(books: _Books, service: Path) -> None:
    """See that what was held was granted by the region's own service, under the leg's name."""
    granted: dict[bytes, tuple[tuple[int, float], ...]] = {}
    ends: dict[bytes, tuple[str, str]] = {}
    for _, entries in read(service):
        for entry in entries:
            if not isinstance(entry, ServiceAnswered):
                continue
            answer = decode_answer(entry.answer)
            if isinstance(answer, Granted) and answer.rid in books.holding:
                granted[answer.rid] = tuple((p.sequence, p.predicted) for p in answer.pairs)
                ends[answer.rid] = (answer.pairs[0].source, answer.pairs[0].destination)
    for leg, held in books.holding.items():
        if granted.get(leg) != held.pairs or ends[leg] != (held.a, held.b):
            raise RecordError(f"{service}: leg {leg.hex()} holds what was not granted for it")

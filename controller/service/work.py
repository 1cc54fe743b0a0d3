"""Pairs that workers have to execute: jobs go out, what came of them comes back. No sockets.

A pair of a request waits here until the request is answered, and leaves with a job that the journal
knows of (``Sent``), tests leave as they come. What comes back is counted by the number of links, or
makes a pair expire: its job failed, or nobody has taken or answered it within the patience. What is
said of that leaves once the journal has it.
"""

from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import numpy as np

from controller.results import fits
from controller.service.answers import Party, Waiting
from controller.service.entries import Entry, Expiry, Sent, Settled
from controller.service.line import Line, Orders, Piece
from controller.service.sessions import Sessions
from controller.service.stock import Stock
from controller.service.terms import WorkCounts, WorkTerms
from controller.service.turn import Reply, Turn
from quantum.egp import Done, Failed, Job, Task
from quantum.errors import Code
from quantum.kernels import Table
from quantum.ledger.events import draw_tests, making_of, programs_of
from quantum.ledger.state import DELIVERED, LOST, Ints
from quantum.requests import Denied, Expired, Granted, encode_request

__all__ = ["Work"]

#: Pairs of one job: few enough that workers share them, many enough to be simulated at once.
_FEWEST, _MOST = 16, 256


class _News(NamedTuple):
    """What the journal has to know before ``replies`` leave."""

    entry: Entry | None
    replies: list[Reply]
    orders: Orders | None = None
    said: bytes = b""


class Work:
    """The work of a service; ``room`` jobs may leave, ``workers`` are there to do them."""

    def __init__(self, stock: Stock, terms: WorkTerms, *, job: int = 0) -> None:
        self.terms, self.room, self.workers, self.job = terms, 0, 0, job
        self.ready: deque[Job] = deque()
        """Jobs that the journal knows of, to be given to workers."""
        self.places: dict[bytes, bytes] = {}
        """Session -> the connection on which it spoke last."""
        self.tally: Ints = np.zeros_like(stock.intake.tally)
        stock.follow(self.tally)
        net = stock.network
        self._seed, self._slot_s = stock.world.seed, stock.world.slot_s
        self.look_at(stock)
        self._memory, self._gates = net.memory, net.gates
        self._held: dict[int, tuple[Task, int]] = {}
        """Pairs of requests that have no answer yet."""
        self._line = Line(terms.waiting)
        self._out: dict[int, list[Piece]] = {}
        self._formed: list[int] = []
        self._fresh: list[Orders] = []
        self._news: list[_News] = []
        self._told = 0
        self._unnoted: set[int] = set()
        """Jobs that left without the journal."""
        self._count = dict.fromkeys(("executed", "expired", "untested", "jobs"), 0)
        # Compiled now, or the first application would wait for it.
        draw_tests(self._seed, stock.ledger.event[:0].copy(), False)

    # Pairs come.

    def look_at(self, stock: Stock) -> None:
        """Execute pairs of the network that the stock has now."""
        self._making = making_of(stock.world, stock.network.populations)

    def take(self, events: Table, last: int, now_s: float) -> None:
        """Take what was assembled; pairs for requests are numbered on from ``last``."""
        events = events[events["kind"] != LOST]
        if len(events) == 0:
            return
        basis, draw = draw_tests(self._seed, events, False)
        programs = programs_of(events, self._making, self._slot_s, self._memory, self._gates)
        for task, kind, hops in zip(
            map(Task, programs, basis.tolist(), draw.tolist()),
            events["kind"].tolist(),
            events["hops"].tolist(),
            strict=True,
        ):
            if kind == DELIVERED:
                last += 1
                self._held[last] = task, hops
            elif self._line.has_room(self._line.of(None)):
                self._line.add(Piece(task, hops, 0, None, now_s))
            else:
                self._count["untested"] += 1

    def end(self, waiting: Waiting, answer: Granted | Denied, now_s: float) -> None:
        """Have the pairs of a request executed that is granted in this turn.

        Those of one that is denied are spent, and nobody has them.
        """
        held = [(pair[0], *self._held.pop(pair[0])) for pair in waiting.pairs]
        if isinstance(answer, Denied):
            return
        orders = Orders(waiting.party, waiting.ask.rid, waiting.ask.session)
        self._fresh.append(orders)
        for sequence, task, hops in held:
            self._line.add(Piece(task, hops, sequence, orders, now_s))

    def tidy(self, sessions: Sessions) -> int:
        """Forget where sessions spoke that are over; return the last job."""
        if len(self.places) > 2 * len(sessions):
            self.places = {name: at for name, at in self.places.items() if name in sessions}
        return self.job

    def why_not(self, party: Party | None = None) -> str:
        """Say why no request of a client, or of a new one, is taken in, where none is."""
        if not self.workers:
            return "no worker is there to execute pairs"
        if not self._line.has_room(0 if party is None else self._line.of(party)):
            return f"{len(self._line)} pairs wait for a worker"
        return ""

    # Jobs leave.

    def fill(self, turn: Turn, now_s: float) -> None:
        """Add to a turn what has to be noted: pairs that expired, and jobs that leave."""
        self._expire_old(now_s)
        self._told = len(self._news)
        for news in self._news:
            if news.entry is not None:
                turn.entries.append(news.entry)
            turn.held += news.replies
        while self.room > 0 and self._line:
            size = min(_MOST, max(_FEWEST, -(-len(self._line) // self.room)))
            pieces = self._line.take(size)
            if not pieces:
                break
            self.job += 1
            self.room -= 1
            self._out[self.job] = pieces
            self._formed.append(self.job)
            pairs = [p.sequence for p in pieces if p.orders is not None and p.orders.noted]
            turn.entries.append(Sent(self.job, tuple(pairs)))

    def kept(self) -> None:
        """Go on: the journal has what :meth:`fill` added."""
        for job in self._formed:
            self._count["jobs"] += 1
            self.ready.append(Job(job, tuple(piece.task for piece in self._out[job])))
        for news in self._news[: self._told]:
            # Who asks again hears of it as long as the answer is remembered.
            if news.orders is not None and news.orders.rid in news.orders.party.known:
                news.orders.party.expired.setdefault(news.orders.rid, []).append(news.said)
        del self._news[: self._told]
        self._told = 0
        self._formed.clear()
        self._fresh.clear()

    def failed(self, *, goes_on: bool) -> None:
        """The journal has nothing of this turn: take it back, or go on without the journal."""
        for orders in self._fresh:
            orders.noted, orders.void = False, not goes_on
        if goes_on:
            self._unnoted.update(self._formed)
            self.kept()
            return
        for job in reversed(self._formed):
            # Its number is not used again; the row may be there after all.
            self._line.put_back(self._out.pop(job))
            self.room += 1
        self._told = 0
        self._formed.clear()
        self._fresh.clear()

    # What comes back.

    def settle(self, answer: Done | Failed) -> None:
        """Take the answer to a job; one that does not fit its tasks is a failure of all of them."""
        pieces = self._out.pop(answer.job)
        if isinstance(answer, Done):
            basis = np.array([piece.task.basis for piece in pieces])
            if not fits(answer, basis) or answer.source_of_truth != "sim":
                answer = Failed(answer.job, Code.OTHER, "the worker's answer does not fit the job")
        if isinstance(answer, Failed):
            self._expire(pieces, answer.code, answer.detail)
        else:
            faults = {fault.task: fault for fault in answer.faults}
            for number, (piece, passed) in enumerate(zip(pieces, answer.passed, strict=True)):
                fault = faults.get(number)
                if fault is not None:
                    self._expire([piece], fault.code, fault.detail)
                elif passed >= 0:
                    self.tally[piece.hops, 1 - passed] += 1
                else:
                    self._count["executed"] += 1
        if answer.job in self._unnoted:
            self._unnoted.remove(answer.job)
        else:
            self._news.append(_News(Settled(answer.job), []))

    def _expire_old(self, now_s: float) -> None:
        """Give up what no worker has taken in time."""
        patience_s = self.terms.patience_s
        old = self._line.expire(now_s - patience_s)
        self._expire(old, Code.EXPIRE, f"no worker took it within {patience_s:g} s")

    def _expire(self, pieces: Iterable[Piece], code: Code, detail: str) -> None:
        of: dict[Orders, list[int]] = {}
        for piece in pieces:
            if piece.orders is None:
                self._count["untested"] += 1
            else:
                of.setdefault(piece.orders, []).append(piece.sequence)
        for orders, sequences in of.items():
            self._count["expired"] += len(sequences)
            party, rid = orders.party, orders.rid
            said = encode_request(Expired(rid, tuple(sequences), code, detail[:500]))
            place = self.places.get(orders.session)
            replies = [] if place is None else [(place, said)]
            entry = Expiry(party.number, said) if orders.noted else None
            self._news.append(_News(entry, replies, orders, said))

    @property
    def unfinished(self) -> bool:
        """Whether pairs that were granted are neither executed nor expired."""
        return any(piece.orders is not None for piece in chain(self._line, *self._out.values()))

    def counts(self) -> WorkCounts:
        """Say what was done since the service started."""
        return WorkCounts(
            **self._count,
            jobs_out=len(self._out),
            pairs_queued=len(self._line),
            workers=self.workers,
        )

"""What is known of a run after so many events: a fold without clock, files or randomness.

The same events give the same state, live or years later; going back in time is folding again from
an earlier state. Its size does not grow with the length of the run: requests are forgotten once
they are over and shown, and series halve their resolution when they are full.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.dashboard import events as e
from controller.dashboard.bins import Bins
from controller.dashboard.layout import Layout
from controller.dashboard.tested import Outcomes
from quantum.errors import RecordError

__all__ = ["Request", "Round", "Story", "Sums"]

#: Requests that are over and still shown; and remembered until their tests are counted.
_SHOWN, _REMEMBERED = 60, 4096
#: How long a path that was served, or a request that was blocked, stays visible.
GLOW_S, BLOCKED_S = 0.3, 2.0
#: Bins of series begin at one second; fidelity is pooled over so many bins.
_BIN_S = 1.0
#: How long tests of a laboratory's links count unless the run says otherwise.
_LAB_WINDOW_S = 3.0
_MOST_ROUNDS = 400
_MOST_WAITING = 4096
_COLUMNS = (
    *("asked", "delivered", "blocked", "reward", "forecast", "forecasts", "passed", "failed"),
    # Sums of the pairs that count, which leave out the warm-up.
    *("counted", "good"),
)


class Request(NamedTuple):
    """A request and how far it is: ``good`` is None until its deadline has passed."""

    ask: e.Ask
    received: int = 0
    good: int | None = None


class Round(NamedTuple):
    """A federated round; ``epsilon`` after it, None where it is not known (yet).

    How many nodes took part is not in the record: it is secret, ``missing`` ones are not.
    """

    time_s: float
    number: int
    missing: int
    epsilon: float | None


@dataclass
class Sums:
    """What became of the requests between two nodes, in pairs; and the fidelity they ask for."""

    asked: int = 0
    delivered: int = 0
    blocked: int = 0
    fidelity: float = 0.0


@dataclass
class Story:
    """The state; :meth:`take` changes it, :meth:`copy` keeps it."""

    layout: Layout
    header: e.Header
    begun: e.Begun | None = None
    slot: int = 0
    seen: e.Seen | None = None
    requests: dict[int, Request] = field(default_factory=dict)
    over: deque[Request] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    by_pair: dict[tuple[int, int], Sums] = field(default_factory=dict)
    asked_by: list[int] = field(default_factory=list)
    blocked_at: list[int] = field(default_factory=list)
    forecast: tuple[float, ...] = ()
    rounds: list[Round] = field(default_factory=list)
    glow: deque[tuple[int, tuple[int, ...]]] = field(default_factory=deque)
    executed: int = 0
    failed: int = 0
    source: str = ""
    last_fault: str = ""
    calibration: dict[int, str] = field(default_factory=dict)
    end: str = ""
    _ended: deque[int] = field(default_factory=deque)
    _waiting: dict[int, list[e.Served]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        links, nodes = len(self.layout.links), len(self.layout.nodes)
        self.asked_by = self.asked_by or [0] * nodes
        self.blocked_at = self.blocked_at or [0] * nodes
        self.series = Bins(_COLUMNS, width=max(1, round(_BIN_S / self.slot_s)))
        window = None
        if self.measured:
            window = round((self.header.setting.window_s or _LAB_WINDOW_S) / self.slot_s)
        self.link_tests: Outcomes[int] = Outcomes(window)
        self.pair_tests: Outcomes[tuple[int, int]] = Outcomes(window)
        self._links = links

    @property
    def slot_s(self) -> float:
        """Seconds of a slot."""
        return 0.02 if self.begun is None else self.begun.slot_s

    @property
    def measured(self) -> bool:
        """Whether the run is on instruments: every pair is measured."""
        return self.header.setting.rack is not None

    def copy(self) -> "Story":
        """Return a state that does not change with this one."""
        other = Story(self.layout, self.header, self.begun, self.slot, self.seen)
        other.requests = dict(self.requests)
        other.over = self.over.copy()
        other.by_pair = {pair: Sums(**vars(sums)) for pair, sums in self.by_pair.items()}
        other.asked_by, other.blocked_at = list(self.asked_by), list(self.blocked_at)
        other.forecast, other.rounds = self.forecast, list(self.rounds)
        other.glow = self.glow.copy()
        other.executed, other.failed = self.executed, self.failed
        other.source, other.last_fault, other.end = self.source, self.last_fault, self.end
        other.calibration = dict(self.calibration)
        other._ended, other._waiting = self._ended.copy(), dict(self._waiting)
        other.series = self.series.copy()
        other.link_tests, other.pair_tests = self.link_tests.copy(), self.pair_tests.copy()
        return other

    def take(self, event: e.Event) -> None:
        """Go on by one event; :class:`RecordError` where it does not fit the network."""
        match event:
            case e.Slot():
                self._slot(event)
            case e.Results():
                self._results(event)
            case e.Seen():
                self._seen(event)
            case e.Failed():
                self.failed += len(self._waiting.pop(event.slot, ()))
                self.last_fault = f"{event.code}: {event.detail}"
            case e.Round():
                self._round(event)
            case e.Begun():
                self.begun = event
                self.series = Bins(_COLUMNS, width=max(1, round(_BIN_S / event.slot_s)))
            case e.Lost():
                self.end = f"Given up: {event.detail}"
            case e.Stopped():
                self.end = f"Stopped by {event.by}: {event.reason}"
            case e.Header() | e.Other():
                pass

    def _slot(self, event: e.Slot) -> None:
        self.slot = event.slot + 1
        pairs = event.pairs(self._links)
        if pairs:
            self._waiting[event.slot] = pairs
            if len(self._waiting) > _MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
        for pair in pairs:
            if pair.kind != 0:
                continue
            self.series.add(event.slot, "delivered", 1.0)
            self.glow.append((event.slot, pair.links))
            known = self.requests.get(pair.request)
            if known is not None:
                self.requests[pair.request] = known._replace(received=known.received + 1)
        old = event.slot - round(GLOW_S / self.slot_s)
        while self.glow and self.glow[0][0] < old:
            self.glow.popleft()
        self.link_tests.forget(event.slot)
        self.pair_tests.forget(event.slot)

    def _results(self, event: e.Results) -> None:
        pairs = self._waiting.pop(event.slot, [])
        if len(event.passed) != len(pairs):
            raise RecordError(f"slot {event.slot}: results do not fit the pairs of the slot")
        self.source = event.source
        faulty = {place for place, _, _ in event.faults}
        for _, code, detail in event.faults:
            self.last_fault = f"{code}: {detail}"
        self.failed += len(faulty)
        self.executed += len(pairs) - len(faulty)
        self.series.add(event.slot, "reward", event.reward)
        for place, (pair, passed) in enumerate(zip(pairs, event.passed, strict=True)):
            if passed not in (0, 1):
                continue
            if pair.kind == 3 or (self.measured and len(pair.links) == 1):
                link = pair.links[0]
                self.link_tests.add(event.slot, link, passed)
                if place < len(event.calibration) and event.calibration[place]:
                    self.calibration[link] = event.calibration[place]
            if pair.kind != 3:
                self.series.add(event.slot, "passed" if passed else "failed", 1.0)
                known = self.requests.get(pair.request)
                if known is not None:
                    ends = (known.ask.source, known.ask.destination)
                    self.pair_tests.add(event.slot, ends, passed)

    def _seen(self, event: e.Seen) -> None:
        nodes = len(self.layout.nodes)
        early: dict[int, int] = {}
        for pairs in self._waiting.values():
            for pair in pairs:
                if pair.kind == 0:
                    early[pair.request] = early.get(pair.request, 0) + 1
        for ask in event.asked:
            if ask.source >= nodes or ask.destination >= nodes:
                raise RecordError(f"request {ask.number} is of nodes that do not exist")
            # Pairs of its first slots came before it was told of.
            self.requests[ask.number] = Request(ask, early.get(ask.number, 0))
            self.series.add(ask.arrival, "asked", ask.pairs)
            self.asked_by[ask.source] += ask.pairs
            sums = self._sums(ask)
            sums.asked += ask.pairs
            sums.fidelity = max(sums.fidelity, ask.fidelity)
        for end in event.ended:
            known = self.requests.get(end.number)
            if known is None:
                continue
            ask = known.ask
            missed = max(0, ask.pairs - end.good)
            self.requests[end.number] = known = known._replace(good=end.good)
            self.over.append(known)
            self.series.add(ask.deadline, "blocked", missed)
            self.blocked_at[ask.source] += missed
            sums = self._sums(ask)
            sums.delivered += end.good
            sums.blocked += missed
            self._ended.append(end.number)
            if len(self._ended) > _REMEMBERED:
                self.requests.pop(self._ended.popleft(), None)
        if event.forecast is not None:
            if len(event.forecast) != nodes:
                raise RecordError(f"slot {event.slot}: a forecast of {len(event.forecast)} nodes")
            self.forecast = event.forecast
            ahead_s = self.begun.forecast_s if self.begun else 0.0
            if ahead_s > 0.0:
                middle = event.slot + round(ahead_s / 2 / self.slot_s)
                self.series.add(middle, "forecast", sum(event.forecast) / ahead_s)
                self.series.add(middle, "forecasts", 1.0)
        if event.epsilon is not None:
            number, spent = event.epsilon
            self.rounds = [
                each._replace(epsilon=spent) if each.number == number else each
                for each in self.rounds
            ]
        before = self.seen
        self.series.add(
            event.slot, "counted", event.requested - (before.requested if before else 0)
        )
        self.series.add(event.slot, "good", event.delivered - (before.delivered if before else 0))
        self.seen = event
        self.slot = max(self.slot, event.slot)

    def _sums(self, ask: e.Ask) -> Sums:
        return self.by_pair.setdefault((ask.source, ask.destination), Sums())

    def _round(self, event: e.Round) -> None:
        time_s = event.slot * self.slot_s
        self.rounds.append(Round(time_s, event.round, event.missing, None))
        if len(self.rounds) > _MOST_ROUNDS:
            # The newest stay whole, the older ones become every second one.
            half = _MOST_ROUNDS // 2
            self.rounds = self.rounds[:half:2] + self.rounds[half:]

    def live(self) -> list[Request]:
        """Requests that wait for pairs now, the newest first."""
        return [
            each
            for each in reversed(self.requests.values())
            if each.good is None and each.received < each.ask.pairs
        ]

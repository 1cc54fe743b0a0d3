"""Playing a recorded run once more, to see whether it could have happened as the record says.

Hashes show that nobody changed a record; this shows that it was true. The scenario is rebuilt from
the header, a fresh ledger is given the decisions slot by slot, and everything that follows from
them has to come out again: the pairs, their tests, their fidelities, and the sums.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from controller.entries import note, rows_of
from controller.game import world_of
from controller.hearing import as_heard
from controller.plan import delay_slots, plan_of
from controller.pools import Pools, own_links
from controller.recorded import (
    Event,
    Failed,
    Note,
    Results,
    Round,
    Seen,
    Slot,
    differs,
    first_difference,
    read_event,
    same,
    scenario_of_record,
)
from controller.rivals.allocator import find
from controller.rules import played_rule
from quantum.errors import RecordError
from quantum.kernels import Table
from quantum.ledger import (
    Ledger,
    Rule,
    World,
    close_slot,
    generate,
    new_ledger,
    open_slot,
    serve,
    swaps_ahead,
)
from quantum.ledger.events import draw_tests, kinds_of, link_pairs, take_events
from quantum.ledger.expected import note_sure
from quantum.ledger.places import drop_expired, is_sound
from quantum.ledger.state import DELIVERED, LINK_TESTED
from quantum.record import Digest, Record
from quantum.twin import score

__all__ = ["Replayed", "replay"]

#: Two ways of computing the same fidelity may differ by so much.
TOLERANCE = 1e-9
#: Room for the pairs of one slot, as in the live run.
_EVENTS = 8192


@dataclass(frozen=True)
class Replayed:
    """What was played again and agreed with the record.

    ``pairs`` were assembled or measured on a link, ``executed`` counts the link pairs in them, as
    in the summary. ``recomputed_tests`` of the ``tests`` came from a simulator, so that their
    outcomes were computed again; the others are taken as the instruments gave them.
    """

    slots: int
    decisions: int
    pairs: int
    executed: int
    failed: int
    tests: int
    recomputed_tests: int
    rounds: int
    complete: bool
    decision_digest: str


def replay(record: Record, progress: Callable[[int], None] = lambda _: None) -> Replayed:
    """Play a verified record again; :class:`RecordError` names the first slot that differs.

    A record that was broken off is played up to where it ends. ``progress`` hears the number of
    every line.
    """
    again = _Again(record)
    for number, raw in enumerate(record.events, 2):
        progress(number)
        again.take(read_event(number, raw))
    return again.finish(record.summary)


class _Again:
    """The state of a replay; plays what :class:`controller.dispatch.Dispatch` played."""

    def __init__(self, record: Record) -> None:
        self._setting, scenario = scenario_of_record(record)
        lab = self._setting.rack is not None
        allocator, physics = find(self._setting.allocator), self._setting.physics
        plan = plan_of(scenario, max_rounds=physics.get("max_rounds", 0))
        self._rule: Rule = played_rule(allocator.rule(scenario, plan), measured=lab)
        world = world_of(scenario, **physics)
        self._world: World = as_heard(world, scenario, central=allocator.central)
        if self._world.horizon != record.header.get("horizon"):
            raise RecordError(
                f"the record is of {record.header.get('horizon')} slots, its setting makes "
                f"{self._world.horizon}: another version of dpem, or a demand file that has changed"
            )
        self._ledger: Ledger = new_ledger(
            self._world,
            delay_slots=delay_slots(scenario, central=allocator.central),
            events=_EVENTS,
            composites=swaps_ahead(self._world, self._rule),
        )
        self._ledger.request.asked = 0
        self._measured = lab
        self._complete = record.seal.complete
        self._pools = Pools(
            self._world.m,
            self._world.cls.fidelity.copy(),
            window_slots=round(self._setting.trust_window_s / self._world.slot_s),
            own=own_links(scenario.network.links, self._world.cls) if lab else None,
        )
        self._digest = Digest()
        self._open: dict[int, Table] = {}
        self._decisions = self._pairs = self._executed = self._failed = 0
        self._tests = self._recomputed = self._rounds = 0

    @property
    def _slot(self) -> int:
        return int(self._ledger.now[0].clock)

    def take(self, event: Event) -> None:
        """Play one event of the record."""
        match event:
            case Slot():
                self._play(event)
            case Results():
                self._count(event)
            case Failed():
                events = self._job(event.slot)
                self._failed += len(events)
                self._take_back(events)
            case Round():
                self._rounds += 1
            case Seen():
                self._told(event)
            case Note():
                pass

    def _play(self, event: Slot) -> None:
        world, ledger, rule, slot = self._world, self._ledger, self._rule, self._slot
        if event.slot != slot or slot >= world.horizon:
            raise RecordError(f"slot {event.slot} of the record: slot {slot} was to come")
        self._pools.forget(slot)
        open_slot(world, ledger, rule)
        ledger.choice[:] = -1
        ledger.node.yields = -1
        for request in event.asked:
            if request >= len(world.request):
                raise differs(slot, f"there is no request {request}")
            ledger.request[request].asked = 1
        for node, number, position, urgency in event.acts:
            if node >= world.n or position >= world.node[node].degree:
                raise differs(slot, f"node {node} has no link {position}")
            if number >= ledger.node[node].tokens:
                drawn = int(ledger.node[node].tokens)
                raise differs(slot, f"node {node} used token {number}, it had {drawn}")
            ledger.choice[node, number], ledger.urgency[node, number] = position, urgency
        for node, position, surplus in event.yields:
            if node >= world.n:
                raise differs(slot, f"there is no node {node}")
            ledger.node[node].yields, ledger.node[node].surplus = position, surplus
        ahead = np.array(event.ahead, dtype=np.int64).reshape(-1, 2)
        if np.any(ahead[:, 0] >= len(world.cls)) or len(ahead) > len(ledger.ready):
            raise differs(slot, "pairs were to wait for a class that there is not")
        note_sure(ledger, ahead[:, 0].copy(), ahead[:, 1].copy())
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        events = take_events(ledger)
        close_slot(world, ledger)
        if self._measured:
            drop_expired(world._replace(cutoff=0), ledger)
        rows = rows_of(events)
        served = [list(row) for row in rows]
        if served != event.served:
            raise differs(slot, first_difference(served, event.served))
        note(self._digest, slot, list(event.acts), rows)
        self._decisions += len(event.acts)
        self._pairs += len(events)
        if len(events):
            self._open[slot] = events

    def _job(self, slot: int) -> Table:
        events = self._open.pop(slot, None)
        if events is None:
            raise RecordError(f"slot {slot}: the record has results, but no pairs wait for any")
        return events

    def _count(self, event: Results) -> None:
        """Compare results with the closed form, where that is what made them, and pool them."""
        events = self._job(event.slot)
        basis, draw = draw_tests(self._world.seed, events, self._measured)
        if list(event.basis) != basis.tolist() or len(event.passed) != len(events):
            raise differs(event.slot, "the tests that were drawn are others")
        faulty = {place for place, _, _ in event.faults}
        if not all(place < len(events) for place in faulty):
            raise differs(event.slot, "a pair failed that was never made")
        done = np.array([place not in faulty for place in range(len(events))], dtype=bool)
        known = len(event.fidelity) > 0
        if known and len(event.fidelity) != len(events):
            raise differs(event.slot, "a fidelity is missing")
        for index, (kind, each) in enumerate(zip(kinds_of(events).tolist(), events, strict=True)):
            where = f"pair {index}"
            if index in faulty:
                continue
            if known and abs(event.fidelity[index] - each.true) > TOLERANCE:
                said, found = event.fidelity[index], float(each.true)
                raise differs(event.slot, f"{where} has fidelity {found!r}, not {said!r}")
            passed = event.passed[index]
            if basis[index] < 0:
                if passed != -1:
                    raise differs(event.slot, f"{where} was kept and has an outcome")
                continue
            chance = (1.0 + each.corr[basis[index]]) / 2.0
            sure = abs(draw[index] - chance) > TOLERANCE
            simulated = event.source == "sim"
            if passed not in (0, 1) or (simulated and sure and passed != (draw[index] < chance)):
                raise differs(event.slot, f"the test of {where} came out otherwise")
            self._tests += 1
            self._recomputed += simulated
            self._pools.add(
                event.slot,
                kind=kind,
                link=int(each.links[0]) if each.kind == LINK_TESTED and not self._measured else -1,
                of=int(each.links[0]) if self._measured and kind == 1 else -1,
                basis=int(basis[index]),
                passed=passed == 1,
                predicted=float(each.true),
            )
        self._executed += link_pairs(events[done])
        self._failed += len(faulty)
        self._take_back(events[~done])
        if event.source != "sim":
            self._take_back(events[done], self._pools.trust())

    def _told(self, event: Seen) -> None:
        """Compare what onlookers were told of requests with the requests themselves."""
        world, ledger = self._world, self._ledger
        for number, *said in event.asked:
            if number >= len(world.request):
                raise differs(event.slot, f"there is no request {number}")
            each = world.request[number]
            cls = world.cls[each.cls]
            found = [cls.a, cls.b, each.pairs, cls.fidelity, each.arrival, each.deadline]
            if said != found:
                raise differs(event.slot, f"request {number} is {found}, not {said}")
        for number, good in event.ended:
            if number >= len(world.request) or good != ledger.request.good[number]:
                raise differs(event.slot, f"request {number} did not end with {good} good pairs")

    def _take_back(self, events: Table, trust: Any = None) -> None:
        """Uncount deliveries: those that failed, and real ones that tests do not vouch for."""
        delivered = events[events.kind == DELIVERED]
        for kind, each in zip(kinds_of(delivered).tolist(), delivered, strict=True):
            row = int(self._world.request[each.request].cls)
            if each.true >= self._world.cls[row].fidelity and (
                trust is None or trust[row, kind] < 0.5
            ):
                self._ledger.request[each.request].good -= 1

    def finish(self, summary: Mapping[str, Any] | None) -> Replayed:
        """Compare the sums, where the record has a summary."""
        if not is_sound(self._world, self._ledger):
            raise differs(self._slot, "the books do not balance")
        if self._complete:
            if self._slot != self._world.horizon:
                raise RecordError(f"the record ends before slot {self._slot} and says it is whole")
            if self._open:
                raise RecordError(f"slot {min(self._open)}: its pairs have no results")
        # An interrupt may have come in the middle of a slot, after which sums say a little more.
        if summary is not None and self._complete:
            self._compare(summary)
        return Replayed(
            slots=self._slot,
            decisions=self._decisions,
            pairs=self._pairs,
            executed=self._executed,
            failed=self._failed,
            tests=self._tests,
            recomputed_tests=self._recomputed,
            rounds=self._rounds,
            complete=self._complete,
            decision_digest=self._digest.hexdigest(),
        )

    def _compare(self, summary: Mapping[str, Any]) -> None:
        done, tests = score(self._world, self._ledger), self._pools.overall()
        found: dict[str, Any] = {
            "decision_digest": self._digest.hexdigest(),
            "requests": done.requests,
            "pairs_requested": done.pairs_requested,
            "pairs_delivered": done.pairs_delivered,
            "delivery_rate": done.delivery_rate,
            "contention": done.contention,
            "latency_ms": {"p50": done.latency_p50_ms, "p99": done.latency_p99_ms},
            "pairs_executed": self._executed,
            "pairs_tested": self._tests,
            "pairs_failed": self._failed,
            "fidelity": msgspec.to_builtins(tests),
            "fidelity_links": msgspec.to_builtins(self._pools.overall_links()),
            "federated_rounds": self._rounds,
        }
        for key, value in found.items():
            if not same(summary.get(key), value):
                raise RecordError(
                    f"the summary says {key} = {summary.get(key)!r}, the replay gives {value!r}"
                )

"""The broker's state machine: from what agents say to what backends do and back. No sockets.

A slot is :meth:`Dispatch.open` (what every agent process sees), :meth:`Dispatch.hear` once for each
of them, and :meth:`Dispatch.close` (pairs are made, swapped and handed out as a job). Results of a
job count a fixed number of slots later, whenever they arrive, so that a run does not depend on the
speed of its processes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from controller.decide import FEATURES
from controller.learning_round import Rounds
from controller.policy import initial_actor, parameters
from controller.pools import Pools
from quantum.egp import Create, Done, Err, Failed, Job, Look, Ok, Speak, Task
from quantum.errors import Code, DeviceError, WireError
from quantum.kernels import Table
from quantum.ledger import (
    Ledger,
    Rule,
    World,
    act_by_rule,
    close_slot,
    generate,
    new_ledger,
    open_slot,
    serve,
)
from quantum.ledger.events import (
    charge,
    closed_form_passes,
    draw_tests,
    pay,
    program_of,
    take_events,
)
from quantum.ledger.generate import NEVER
from quantum.ledger.observe import gather
from quantum.ledger.places import drop_expired
from quantum.ledger.state import DELIVERED, Floats, Ints
from quantum.network import Network
from quantum.record import Digest

__all__ = ["Dispatch", "Rules"]

Journal = Callable[[Mapping[str, Any]], None]

#: Pairs that a node may expect to be asked for soon; more is no forecast.
_MOST_EXPECTED = 1e6
_SOURCES = ("sim", "stub", "real")


@dataclass(frozen=True, eq=False)
class Rules:
    """What does not change in a run.

    ``footprint`` (n, m): pairs of each link used per pair that a node asks for. ``measured``: the
    links only measure pairs, they cannot hold them. ``central``: the broker decides by the rule.
    ``lag_slots``: when results count. Federated rounds of ``round_slots`` with
    ``noise_multiplier`` and participation ``rate``. Tests count for ``window_s``; a backend that
    has failed for ``patience_s`` ends the run.
    """

    world: World
    rule: Rule
    network: Network
    footprint: Floats
    delay_slots: Ints
    groups: tuple[tuple[int, ...], ...]
    learn: bool
    central: bool = False
    measured: bool = False
    lag_slots: int = 5
    round_slots: int = 250
    clip_norm: float = 0.2
    noise_multiplier: float = 0.0
    rate: float = 1.0
    contention_weight: float = 0.002
    window_s: float = 30.0
    patience_s: float = math.inf


class _Hold(NamedTuple):
    """A create that was admitted: token ``number`` of ``node`` goes to the link at ``position``."""

    group: int
    create: Create
    node: int
    number: int
    position: int


@dataclass(eq=False)
class _Result:
    """A job and what came of it."""

    slot: int
    events: Table
    basis: Ints
    draw: Floats
    answer: Done | Failed | None = None


class Dispatch:
    """Plays one run; ``journal`` is given every decision and every outcome."""

    def __init__(self, rules: Rules, journal: Journal, ledger: Ledger | None = None) -> None:
        world = rules.world
        self.rules = rules
        self.ledger: Ledger = (
            new_ledger(world, delay_slots=rules.delay_slots, events=8192)
            if ledger is None
            else ledger
        )
        self.ledger.request.asked = 0
        self.pools = Pools(
            world.m, world.cls.fidelity.copy(), window_slots=round(rules.window_s / world.slot_s)
        )
        self.digest = Digest()
        self.executed = self.tested = self.failed = 0
        self.reward = 0.0
        self._failing_since: int | None = None
        self._journal = journal
        self._spoken: dict[int, Speak] = {}
        self._is_open = False
        self._results: dict[int, _Result] = {}
        self._credit = np.zeros(world.n)
        self._weights: list[tuple[float, float, float, float]] = [
            (a, b, c, d) for a, b, c, d in rules.network.populations.tolist()
        ]
        self._answers: list[list[Ok | Err]] = [[] for _ in rules.groups]
        self._group = [0] * world.n
        for number, nodes in enumerate(rules.groups):
            for node in nodes:
                self._group[node] = number
        # Plain values: reading one field of one row of a table costs microseconds.
        self._position: list[dict[int, int]] = [
            {peer: k for k, peer in enumerate(row) if peer >= 0} for row in world.inc_node.tolist()
        ]
        self._dues: dict[int, list[int]] = {}
        for number, deadline in enumerate(world.request.deadline.tolist()):
            self._dues.setdefault(deadline, []).append(number)
        start = parameters(initial_actor(1, len(FEATURES), seed=world.seed))[0]
        self.rounds = Rounds(rules, start)

    @property
    def slot(self) -> int:
        """The slot that is being played."""
        return int(self.ledger.now[0].clock)

    @property
    def finished(self) -> bool:
        """Whether every slot has been played."""
        return self.slot >= self.rules.world.horizon

    @property
    def all_spoken(self) -> bool:
        """Whether every agent process has spoken in the slot that is open."""
        return len(self._spoken) == len(self.rules.groups)

    def waiting(self, *, all_jobs: bool = False) -> bool:
        """Tell whether results that count now are still missing."""
        due = self.slot if all_jobs else self.slot - self.rules.lag_slots
        return any(r.answer is None and r.slot <= due for r in self._results.values())

    def settle(self, answer: Done | Failed) -> None:
        """Take the answer to a job; an unknown or repeated one is refused."""
        result = self._results.get(answer.job)
        if result is None or result.answer is not None:
            raise WireError(f"job {answer.job} is not open")
        if isinstance(answer, Done) and not _fits(answer, result.basis):
            raise WireError(f"job {answer.job}: outcomes do not fit its tasks")
        result.answer = answer

    def answer_by_closed_form(self, job: int) -> Done:
        """Answer a job of this run by the ledger's closed form: the twin's backend."""
        result = self._results[job]
        passed = closed_form_passes(result.events, result.basis, result.draw)
        return Done(job, tuple(passed.tolist()), tuple(result.events.true.tolist()))

    def open(self) -> list[Look]:
        """Begin a slot: count what is due, and show every agent process what its nodes see."""
        rules, ledger, slot = self.rules, self.ledger, self.slot
        self.count_results(slot - rules.lag_slots)
        self.pools.forget(slot)
        open_slot(rules.world, ledger, rules.rule)
        learning = rules.learn and slot > 0 and slot % rules.round_slots == 0
        averaged = self.rounds.take_parameters()
        looks = []
        for number, group in enumerate(rules.groups):
            members = np.array(group, dtype=np.int64)
            nodes, tokens, fill, views = gather(
                rules.world,
                ledger,
                members[:0] if rules.central else members,
                rules.rule.evict < NEVER,
            )
            credit = np.ascontiguousarray(self._credit[members], dtype="<f8").tobytes()
            looks.append(
                Look(
                    slot=slot,
                    nodes=tuple(nodes.tolist()),
                    tokens=tuple(tokens.tolist()),
                    fill=tuple(fill.tolist()),
                    views=np.ascontiguousarray(views, dtype="<f8").tobytes(),
                    answers=tuple(self._answers[number]),
                    credit=credit if rules.learn else b"",
                    learn=learning,
                    parameters=averaged,
                )
            )
            self._answers[number].clear()
        self._credit[:] = 0.0
        ledger.choice[:] = -1
        ledger.node.yields = -1
        self._is_open = True
        return looks

    def hear(self, group: int, speak: Speak) -> bool:
        """Take what an agent process says; True when all have spoken."""
        if not self._is_open or speak.slot != self.slot or group in self._spoken:
            raise WireError(f"slot {speak.slot} is not open for group {group}")
        if speak.update:
            self.rounds.check(group, speak.update)
        self._spoken[group] = speak
        return self.all_spoken

    def close(self) -> Job | None:
        """End the slot: do what was said, and return what has to be executed."""
        rules, ledger, slot = self.rules, self.ledger, self.slot
        self._is_open = False
        asked: list[int] = []
        holds: list[_Hold] = []
        tokens: list[int] = ledger.node["tokens"].tolist()
        for group in range(len(rules.groups)):
            speak = self._spoken[group]
            used: dict[int, int] = {}
            for create in speak.creates:
                if create.hold:
                    self._hold(group, create, tokens, used, holds)
                else:
                    self._ask(group, create, asked)
            for given in speak.yields:
                if (
                    given.node in rules.groups[group]
                    and 0 <= given.position < rules.world.node[given.node].degree
                    and np.isfinite(given.surplus)
                ):
                    ledger.node[given.node].yields = given.position
                    ledger.node[given.node].surplus = given.surplus
            self._foresee(group, speak.forecast)
            if speak.update:
                self.rounds.add(group, speak.update, speak.updates_done)
        self._spoken.clear()
        if rules.central:
            act_by_rule(rules.world, ledger, rules.rule)
        for hold in holds:
            ledger.choice[hold.node, hold.number] = hold.position
            ledger.urgency[hold.node, hold.number] = hold.create.urgency
        acts = _acts(ledger)
        crowded = np.flatnonzero(ledger.node["yields"] >= 0)
        yields = list(
            zip(
                crowded.tolist(),
                ledger.node["yields"][crowded].tolist(),
                ledger.node["surplus"][crowded].tolist(),
                strict=True,
            )
        )
        generate(rules.world, ledger, rules.rule)
        for hold in holds:
            create, made = hold.create, int(ledger.made[hold.node, hold.number])
            self._answers[hold.group].append(
                Ok(create.create_id, hold.node, create.destination, made)
                if made >= 0
                else Err(create.create_id, hold.node, Code.NORES)
            )
        serve(rules.world, ledger, rules.rule)
        events = take_events(ledger)
        charge(rules.world, ledger, rules.contention_weight, self._credit)
        close_slot(rules.world, ledger)
        if rules.measured:
            # Light cannot be kept: what nobody used in its slot is gone with it.
            drop_expired(rules.world._replace(cutoff=0), ledger)
        self._expire(slot)
        served = _rows(events)
        self.digest.update(slot)
        for act in acts:
            self.digest.update(*act[:3])
        for row in served:
            self.digest.update(*row[:4], *row[4], *row[5])
        self._journal(
            {
                "event": "slot",
                "slot": slot,
                "asked": asked,
                "acts": acts,
                "yields": yields,
                "served": served,
            }
        )
        self.rounds.end_of_slot(self._journal, slot)
        return self._job(slot, events)

    def _hold(
        self,
        group: int,
        create: Create,
        tokens: list[int],
        used: dict[int, int],
        holds: "list[_Hold]",
    ) -> None:
        """Take a create that holds a pair on a link of its source."""
        node = create.source
        number = used.get(node, 0)
        allowed = 0 <= node < len(tokens) and self._group[node] == group and number < tokens[node]
        position = self._position[node].get(create.destination) if allowed else None
        if position is None or not math.isfinite(create.urgency):
            self._answers[group].append(Err(create.create_id, node, Code.CREATE))
            return
        used[node] = number + 1
        holds.append(_Hold(group, create, node, number, position))

    def _ask(self, group: int, create: Create, asked: list[int]) -> None:
        """Admit an application's request, if it is the one that its node may make now."""
        world, number = self.rules.world, create.create_id
        if 0 <= number < len(world.request):
            request = world.request[number]
            cls = world.cls[request.cls]
            if (
                (create.source, create.destination) == (cls.a, cls.b)
                and self._group[cls.a] == group
                and create.pairs == request.pairs
                and create.minimum_fidelity == cls.fidelity
                and request.told <= self.slot <= request.deadline
            ):
                if self.ledger.request[number].asked == 0:
                    self.ledger.request[number].asked = 1
                    asked.append(number)
                return
        self._answers[group].append(Err(number, create.source, Code.CREATE, create.pairs))

    def _foresee(self, group: int, forecast: bytes) -> None:
        """Spread what nodes expect over the links that it will use."""
        members = list(self.rules.groups[group])
        if len(forecast) != 8 * len(members):
            return
        expected = np.frombuffer(forecast, dtype="<f8")
        if np.all((expected >= 0.0) & (expected <= _MOST_EXPECTED)):
            self.rounds.expected[members] = expected
            self.ledger.link.forecast = self.rounds.expected @ self.rules.footprint

    def _expire(self, slot: int) -> None:
        """Answer the requests whose deadline has passed."""
        world = self.rules.world
        for number in self._dues.pop(slot, []):
            left = int(self.ledger.request[number].left)
            if left > 0 and self.ledger.request[number].asked:
                source = int(world.cls[world.request[number].cls].a)
                self._answers[self._group[source]].append(Err(number, source, Code.TIMEOUT, left))

    def _job(self, slot: int, events: Table) -> Job | None:
        """Write the slot's pairs as programs; each is executed once."""
        if len(events) == 0:
            return None
        rules, net = self.rules, self.rules.network
        basis, draw = draw_tests(rules.world.seed, events, rules.measured)
        tasks = []
        for (_, _, _, _, links, ages), which, u in zip(
            _rows(events), basis.tolist(), draw.tolist(), strict=True
        ):
            waits = [age * rules.world.slot_s for age in ages]
            program = program_of(links, waits, self._weights, net.memory, net.gates)
            tasks.append(Task(program, which, u))
        self._results[slot] = _Result(slot, events, basis, draw)
        return Job(slot, tuple(tasks))

    def count_results(self, until: int) -> None:
        """Count the results of all jobs up to slot ``until``, in the order of the slots."""
        for slot in sorted(s for s in self._results if s <= until):
            result = self._results.pop(slot)
            assert result.answer is not None, "open() before its results"
            self._count(result, result.answer)

    def _count(self, result: _Result, answer: Done | Failed) -> None:
        world, events = self.rules.world, result.events
        if isinstance(answer, Failed):
            self.failed += len(events)
            self._journal(
                {
                    "event": "failed",
                    "slot": result.slot,
                    "code": str(answer.code),
                    "detail": answer.detail,
                }
            )
            self._hand_out(events, None)
            self._bear(result.slot, answer.detail)
            return
        self._failing_since = None
        self.executed += int(events.hops.sum())
        for index, passed in enumerate(answer.passed):
            if passed >= 0:
                self.tested += 1
                event = events[index]
                self.pools.add(
                    result.slot,
                    hops=int(event.hops),
                    link=int(event.links[0]) if event.hops == 1 else -1,
                    basis=int(result.basis[index]),
                    passed=passed == 1,
                    predicted=float(event.true),
                )
        reward = 0.0
        if self.rules.learn:
            before = self._credit.sum()
            valid = np.ones(len(events), dtype=np.int64)
            pay(world, events, valid, self.pools.trust(), self._credit)
            reward = float(self._credit.sum() - before)
            self.reward += reward
        self._journal(
            {
                "event": "results",
                "slot": result.slot,
                "basis": result.basis.tolist(),
                "passed": list(answer.passed),
                "fidelity": list(answer.fidelity),
                "source": answer.source_of_truth,
                "reward": reward,
            }
        )
        self._hand_out(events, answer.source_of_truth)

    def _bear(self, slot: int, detail: str) -> None:
        """End the run by :class:`DeviceError` when all jobs have failed for too long."""
        if self._failing_since is None:
            self._failing_since = slot
        failing_s = (slot - self._failing_since) * self.rules.world.slot_s
        if failing_s >= self.rules.patience_s:
            raise DeviceError(f"nothing could be executed for {failing_s:g} s: {detail}")

    def _hand_out(self, events: Table, source: str | None) -> None:
        """Tell the sources of requests about their pairs; ``source`` None: execution failed."""
        world, ledger = self.rules.world, self.ledger
        trust = self.pools.trust() if source not in (None, "sim") else None
        for event in events[events.kind == DELIVERED]:
            number, hops = int(event.request), int(event.hops)
            row = int(world.request[number].cls)
            cls = world.cls[row]
            meets = bool(event.true >= cls.fidelity)
            a, b = int(cls.a), int(cls.b)
            answers = self._answers[self._group[a]]
            if source is None:
                ledger.request[number].good -= meets
                answers.append(Err(number, a, Code.OTHER))
                continue
            if trust is not None and meets and trust[row, hops] < 0.5:
                # Nobody knows the true state of a real pair: it counts if tests say it is good.
                ledger.request[number].good -= 1
            goodness = self.pools.path(hops)
            answers.append(Ok(number, a, b, int(event.attempt), goodness, source))


def _fits(answer: Done, basis: Ints) -> bool:
    """Tell whether outcomes are what the tasks can give: 0 or 1 where tested, -1 where kept."""
    if len(answer.passed) != len(basis) or len(answer.fidelity) not in (0, len(basis)):
        return False
    if answer.source_of_truth not in _SOURCES:
        return False
    if not all(-1e-9 <= f <= 1.0 + 1e-9 for f in answer.fidelity):
        return False
    tested = (basis >= 0).tolist()
    return all(
        p in (0, 1) if test else p == -1 for p, test in zip(answer.passed, tested, strict=True)
    )


def _acts(ledger: Ledger) -> list[tuple[int, int, int, float]]:
    """Write the choices for the record: node, number of its token, link position, urgency."""
    nodes, numbers = np.nonzero(ledger.choice >= 0)
    real = numbers < ledger.node["tokens"][nodes]
    nodes, numbers = nodes[real], numbers[real]
    return list(
        zip(
            nodes.tolist(),
            numbers.tolist(),
            ledger.choice[nodes, numbers].tolist(),
            ledger.urgency[nodes, numbers].tolist(),
            strict=True,
        )
    )


def _rows(events: Table) -> list[tuple[int, int, int, int, list[int], list[int]]]:
    """Write events for the record: kind, request or node, attempt, hops, links, their ages."""
    columns = [events[name].tolist() for name in ("kind", "request", "attempt", "hops")]
    links, ages = events["links"].tolist(), events["ages"].tolist()
    return [
        (kind, request, attempt, hops, via[:hops], age[:hops])
        for kind, request, attempt, hops, via, age in zip(*columns, links, ages, strict=True)
    ]

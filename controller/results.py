"""What becomes of assembled pairs: executed once, counted in order, paid by measured trust."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import structs

from controller.pools import Pools, own_links
from controller.rules import Answer, Journal, Rules
from quantum.egp import Done, Err, Failed, Job, Ok, Task
from quantum.errors import Code, DeviceError, WireError
from quantum.kernels import Table
from quantum.ledger import Ledger, seed_at
from quantum.ledger.events import (
    closed_form_passes,
    draw_tests,
    kinds_of,
    link_pairs,
    making_of,
    pay,
    programs_of,
)
from quantum.ledger.histories import Histories
from quantum.ledger.state import DELIVERED, LINK_TESTED, Floats, Ints

__all__ = ["Results", "fits"]

_SOURCES = ("sim", "stub", "real")
#: A run whose every job is refused ends after so long: its agents have heard of it by then.
_REFUSED_S = 0.5


@dataclass(eq=False)
class _Result:
    """A job and what came of it."""

    slot: int
    events: Table
    basis: Ints
    draw: Floats
    order: Ints
    """Which event each program of the job in turn is."""
    answer: Done | Failed | None = None


class Results:
    """Jobs that are out, and everything that is measured."""

    def __init__(self, rules: Rules, ledger: Ledger, journal: Journal, answer: Answer) -> None:
        world = rules.world
        self._rules, self._ledger = rules, ledger
        self._journal, self._answer = journal, answer
        self._open: dict[int, _Result] = {}
        self._failing_since: int | None = None
        net = rules.network
        self._making = making_of(world, net.populations)
        self._histories = Histories(self._making, world.slot_s, net.memory, net.gates)
        self._classes: list[tuple[int, int, float]] = list(
            zip(
                world.cls["a"].tolist(),
                world.cls["b"].tolist(),
                world.cls["fidelity"].tolist(),
                strict=True,
            )
        )
        self._group = {n: group for group, nodes in enumerate(rules.groups) for n in nodes}
        self.pools = Pools(
            world.m,
            world.cls.fidelity.copy(),
            window_slots=round(rules.window_s / world.slot_s),
            own=own_links(rules.network.links, world.cls) if rules.measured else None,
        )
        self.credit = np.zeros(world.n)
        """Reward of every node since it was last taken."""
        self.executed = self.tested = self.failed = 0
        self.reward = 0.0

    def waiting(self, until: int) -> bool:
        """Tell whether a job of slot ``until`` or before has no answer."""
        return any(r.answer is None and r.slot <= until for r in self._open.values())

    def job(self, slot: int, events: Table) -> Job | None:
        """Write the slot's pairs as programs; each is executed once."""
        if len(events) == 0:
            return None
        rules = self._rules
        basis, draw = draw_tests(seed_at(rules.world, slot), events, rules.measured)
        if rules.measured:
            net = rules.network
            programs = programs_of(events, self._making, rules.world.slot_s, net.memory, net.gates)
            links = _measured_links(events)
            tasks = map(Task, programs, basis.tolist(), draw.tolist(), links.tolist())
            self._open[slot] = _Result(slot, events, basis, draw, np.arange(len(events)))
            return Job(slot, tuple(tasks))
        blocks, order = self._histories.blocks(events, basis, draw)
        self._open[slot] = _Result(slot, events, basis, draw, order)
        return Job(slot, (), blocks=tuple(blocks))

    def settle(self, answer: Done | Failed) -> None:
        """Take the answer to a job; an unknown or repeated one is refused."""
        result = self._open.get(answer.job)
        if result is None or result.answer is not None:
            raise WireError(f"job {answer.job} is not open")
        if isinstance(answer, Done):
            if not fits(answer, result.basis[result.order]):
                raise WireError(f"job {answer.job}: outcomes do not fit its tasks")
            answer = _in_order(answer, result.order.tolist())
        result.answer = answer

    def by_closed_form(self, job: int) -> Done:
        """Answer a job by the ledger's closed form: the twin's backend."""
        result = self._open[job]
        passed, order = closed_form_passes(result.events, result.basis, result.draw), result.order
        return Done(job, tuple(passed[order].tolist()), tuple(result.events.true[order].tolist()))

    def count(self, until: int) -> None:
        """Count the results of all jobs up to slot ``until``, in the order of the slots."""
        for slot in sorted(s for s in self._open if s <= until):
            result = self._open.pop(slot)
            assert result.answer is not None, "open() before its results"
            self._count(result, result.answer)

    def _count(self, result: _Result, answer: Done | Failed) -> None:
        world, events = self._rules.world, result.events
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
            self._hand_out(events, None, answer.code)
            self._bear(result.slot, answer)
            return
        self._failing_since = None
        done = np.ones(len(events), dtype=np.int64)
        done[[fault.task for fault in answer.faults]] = 0
        self.failed += len(events) - int(done.sum())
        self.executed += link_pairs(events[done == 1])
        for passed, basis, what, kind, link, true in zip(
            answer.passed,
            result.basis.tolist(),
            events["kind"].tolist(),
            kinds_of(events).tolist(),
            events["links"][:, 0].tolist(),
            events["true"].tolist(),
            strict=True,
        ):
            if passed >= 0:
                self.tested += 1
                self.pools.add(
                    result.slot,
                    kind=kind,
                    # Where pairs are only measured, a link test is a pair like any other.
                    link=link if what == LINK_TESTED and not self._rules.measured else -1,
                    of=link if self._rules.measured and kind == 1 else -1,
                    basis=basis,
                    passed=passed == 1,
                    predicted=true,
                )
        reward = 0.0
        if self._rules.learn:
            before = self.credit.sum()
            pay(world, events, done, self.pools.trust(), self.credit)
            reward = float(self.credit.sum() - before)
            self.reward += reward
        entry: dict[str, object] = {
            "event": "results",
            "slot": result.slot,
            "basis": result.basis.tolist(),
            "passed": list(answer.passed),
            "fidelity": list(answer.fidelity),
            "source": answer.source_of_truth,
            "reward": reward,
        }
        if answer.calibration:
            entry["calibration"] = list(answer.calibration)
        if answer.faults:
            entry["faults"] = [[f.task, str(f.code), f.detail] for f in answer.faults]
        self._journal(entry)
        self._hand_out(events[done == 1], answer.source_of_truth)
        self._hand_out(events[done == 0], None)

    def _bear(self, slot: int, answer: Failed) -> None:
        """End the run by :class:`DeviceError` when all jobs have failed for too long.

        What is refused by a supervisor is not asked for again and again: only a person can help.
        """
        if self._failing_since is None:
            self._failing_since = slot
        failing_s = (slot - self._failing_since) * self._rules.world.slot_s
        refused = answer.code is Code.REJECTED
        patience_s = min(_REFUSED_S, self._rules.patience_s) if refused else self._rules.patience_s
        if failing_s >= patience_s:
            word = "everything was refused" if refused else "nothing could be executed"
            raise DeviceError(f"{word} for {failing_s:g} s: {answer.detail}")

    def _hand_out(self, events: Table, source: str | None, code: Code = Code.OTHER) -> None:
        """Tell the sources of requests about their pairs; without ``source`` they failed."""
        world, ledger = self._rules.world, self._ledger
        trust = self.pools.trust() if source not in (None, "sim") else None
        delivered = events[events["kind"] == DELIVERED]
        good, classes = ledger.request["good"], world.request["cls"]
        kinds = kinds_of(delivered).tolist()
        goodness = {kind: self.pools.path(kind) for kind in set(kinds)}
        for number, kind, attempt, true in zip(
            delivered["request"].tolist(),
            kinds,
            delivered["attempt"].tolist(),
            delivered["true"].tolist(),
            strict=True,
        ):
            row = int(classes[number])
            a, b, asked = self._classes[row]
            meets, group = true >= asked, self._group[a]
            if source is None:
                good[number] -= meets
                self._answer(group, Err(number, a, code))
                continue
            if trust is not None and meets and trust[row, kind] < 0.5:
                # Nobody knows the true state of a real pair: it counts if tests say it is good.
                good[number] -= 1
            self._answer(group, Ok(number, a, b, attempt, goodness[kind], source))


def _in_order(answer: Done, order: list[int]) -> Done:
    """Return an answer whose outcomes are in the order of the events, not of the programs."""
    places = np.argsort(order).tolist()

    def sorted_out(column: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([column[place] for place in places]) if column else ()

    return structs.replace(
        answer,
        passed=sorted_out(answer.passed),
        fidelity=sorted_out(answer.fidelity),
        calibration=sorted_out(answer.calibration),
        faults=tuple(structs.replace(fault, task=order[fault.task]) for fault in answer.faults),
    )


def _measured_links(events: Table) -> Ints:
    """Return the link of every pair that is one link long, -1 for longer ones."""
    links: Ints = np.where(events["hops"] == 1, events["links"][:, 0], -1)
    return links


def fits(answer: Done, basis: Ints) -> bool:
    """Tell whether outcomes are what the tasks can give: 0 or 1 where tested, else -1."""
    if len(answer.passed) != len(basis) or len(answer.fidelity) not in (0, len(basis)):
        return False
    if answer.source_of_truth not in _SOURCES:
        return False
    if len(answer.calibration) not in (0, len(basis)):
        return False
    if not all(-1e-9 <= f <= 1.0 + 1e-9 for f in answer.fidelity):
        return False
    faulty = [fault.task for fault in answer.faults]
    if len(set(faulty)) < len(faulty) or not all(0 <= task < len(basis) for task in faulty):
        return False
    tested = basis >= 0
    tested[faulty] = False
    return all(
        p in (0, 1) if test else p == -1
        for p, test in zip(answer.passed, tested.tolist(), strict=True)
    )

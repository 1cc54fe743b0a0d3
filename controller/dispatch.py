"""The broker's state machine: from what agents say to what backends do and back. No sockets.

A slot is :meth:`Dispatch.open` (what every agent process sees), :meth:`Dispatch.hear` once for each
of them, and :meth:`Dispatch.close` (pairs are made, swapped and handed out as a job). Results of a
job count a fixed number of slots later, whenever they arrive, so that a run does not depend on the
speed of its processes.
"""

import numpy as np

from controller.admission import Admission
from controller.decide import FEATURES
from controller.entries import acts_of, ahead_of, note, rows_of, yields_of
from controller.gate import Verdict, judge
from controller.learning_round import Rounds
from controller.policy import from_parameters, initial_actor, parameters
from controller.results import Results
from controller.rules import Journal, Rules
from quantum.egp import Done, Err, Failed, Job, Look, Ok, Speak
from quantum.errors import WireError
from quantum.ledger import (
    Ledger,
    act_by_rule,
    close_slot,
    generate,
    new_ledger,
    open_slot,
    seed_at,
    serve,
    swaps_ahead,
)
from quantum.ledger.events import charge, take_events
from quantum.ledger.expected import expect
from quantum.ledger.generate import NEVER
from quantum.ledger.observe import gather
from quantum.ledger.places import drop_expired
from quantum.ledger.state import Floats
from quantum.record import Digest

__all__ = ["Dispatch", "Rules"]

#: Events that a slot can have; more are played but not executed.
EVENTS = 8192


class Dispatch:
    """Plays one run; ``journal`` is given every decision and every outcome."""

    def __init__(self, rules: Rules, journal: Journal, ledger: Ledger | None = None) -> None:
        self.rules = rules
        self.ledger: Ledger = ledger or new_ledger(
            rules.world,
            delay_slots=rules.delay_slots,
            events=EVENTS,
            composites=swaps_ahead(rules.world, rules.rule),
        )
        self.ledger.request.asked = 0
        self.digest = Digest()
        self.results = Results(rules, self.ledger, journal, self._reply)
        start = rules.start
        if start is None:
            start = parameters(initial_actor(1, len(FEATURES), seed=seed_at(rules.world, 0)))[0]
        self.rounds = Rounds(rules, start, self._judge if rules.gated else None)
        self._admission = Admission(rules, self.ledger, self._reply)
        self._journal = journal
        self._answers: list[list[Ok | Err]] = [[] for _ in rules.groups]
        self._spoken: dict[int, Speak] = {}
        self._is_open = False

    def _reply(self, group: int, answer: Ok | Err) -> None:
        self._answers[group].append(answer)

    def _judge(self, live: Floats, new: Floats, number: int) -> Verdict:
        size = len(FEATURES)
        live_actor, new_actor = (
            from_parameters(rows, size, rows.shape[1] // (size + 2)) for rows in (live, new)
        )
        return judge(self.rules, self.ledger, live_actor, new_actor, number=number)

    @property
    def slot(self) -> int:
        """The slot that is being played."""
        return int(self.ledger.now[0].clock)

    @property
    def expected(self) -> Floats:
        """Pairs that each node expects to be asked for soon, (n,); zeros where nobody forecasts."""
        soon, source = self._admission.expected, self.rules.world.cls.a
        return np.bincount(source, soon, minlength=self.rules.world.n).astype(np.float64)

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
        return self.results.waiting(self.slot if all_jobs else self.slot - self.rules.lag_slots)

    def settle(self, answer: Done | Failed) -> None:
        """Take the answer to a job; :class:`WireError` where it is unknown, repeated or unfit."""
        self.results.settle(answer)

    def open(self) -> list[Look]:
        """Begin a slot: count what is due, and show every agent process what its nodes see."""
        rules, ledger, slot = self.rules, self.ledger, self.slot
        self.results.count(slot - rules.lag_slots)
        self.results.pools.forget(slot)
        open_slot(rules.world, ledger, rules.rule)
        expect(rules.world, ledger, rules.rule, self._admission.expected, self._admission.batch)
        learning = rules.learn and slot > 0 and slot % rules.round_slots == 0
        looks = []
        for number, group in enumerate(rules.groups):
            members = np.array(group, dtype=np.int64)
            nodes, tokens, fill, views = gather(
                rules.world,
                ledger,
                members[:0] if rules.central else members,
                rules.rule.evict < NEVER,
            )
            credit = np.ascontiguousarray(self.results.credit[members], dtype="<f8").tobytes()
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
                    parameters=self.rounds.take_parameters(number),
                )
            )
            self._answers[number].clear()
        self.results.credit[:] = 0.0
        ledger.choice[:] = -1
        ledger.node.yields = -1
        self._is_open = True
        return looks

    def hear(self, group: int, speak: Speak) -> bool:
        """Take what an agent process says; True when all have spoken."""
        if not self._is_open or speak.slot != self.slot or group in self._spoken:
            raise WireError(f"slot {speak.slot} is not open for group {group}")
        if speak.update:
            self.rounds.check(group, speak.update, speak.slot)
        self._spoken[group] = speak
        return self.all_spoken

    def close(self) -> Job | None:
        """End the slot: do what was said, and return what has to be executed."""
        rules, ledger, slot = self.rules, self.ledger, self.slot
        self._is_open = False
        asked = self._admission.admit(self._spoken)
        for group, speak in sorted(self._spoken.items()):
            if speak.update:
                self.rounds.add(group, speak.update, speak.updates_done, slot)
        self._spoken.clear()
        if rules.central:
            act_by_rule(rules.world, ledger, rules.rule)
        acts, yields, ahead = acts_of(ledger), yields_of(ledger), ahead_of(ledger)
        generate(rules.world, ledger, rules.rule)
        self._admission.report()
        serve(rules.world, ledger, rules.rule)
        events = take_events(ledger)
        charge(rules.world, ledger, rules.contention_weight, self.results.credit)
        close_slot(rules.world, ledger)
        if rules.measured:
            # Light cannot be kept: what nobody used in its slot is gone with it.
            drop_expired(rules.world._replace(cutoff=0), ledger)
        self._admission.expire(slot)
        served = rows_of(events)
        note(self.digest, slot, acts, served)
        self._journal(
            {
                "event": "slot",
                "slot": slot,
                "asked": asked,
                "acts": acts,
                "yields": yields,
                "served": served,
                **({"ahead": ahead} if ahead else {}),
            }
        )
        self.rounds.end_of_slot(self._journal, slot, ledger.node.up == 1)
        return self.results.job(slot, events)

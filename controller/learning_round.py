"""Federated rounds in the broker: collect changes, close rounds in time, hand out the average.

Rounds close at fixed slots with whoever has answered by then. A node that is away cannot send: its
change waits with it, and is late. A late change is added to the node's next one with a weight of
(1 + age) ** -0.5 (polynomial staleness, Xie et al., arXiv:1903.03934), or dropped when it is older
than the federation allows; a node still has one message a round, as the accountant assumes. Nodes
that join or return act by the last average, as all do after a round.

Nothing goes live before the broker has sent it: nodes act with the weights that they last got. With
a judge, new weights are handed out only if it lets them pass; otherwise the old ones stay.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from controller.averaging import Average
from controller.federation import Scheme
from quantum.errors import WireError
from quantum.ledger.state import Floats, seed_at

if TYPE_CHECKING:
    from controller.gate import Verdict
    from controller.rules import Rules

__all__ = ["Rounds"]

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Answers:
    """Changes (n, P) that one barrier asked for; ``waiting`` (n,) those that no round has used."""

    asked: int
    rows: Floats
    waiting: Flags


#: Compares live weights with new ones in a round, each (n, P).
Judge = Callable[[Floats, Floats, int], "Verdict"]


class Rounds:
    """Collects the changes of a run's groups and averages them as its federation says."""

    def __init__(self, rules: "Rules", start: Floats, judge: Judge | None = None) -> None:
        self._rules, self._judge = rules, judge
        # Where there is no average, every node's own weights.
        self._own = np.tile(start, (rules.world.n, 1))
        self._judged = 0
        self._shape = (rules.world.n, len(start))
        self.scheme = Scheme(
            federation=rules.federation,
            clients=rules.world.n,
            clip_norm=rules.clip_norm,
            noise_multiplier=rules.noise_multiplier,
            secret=rules.secret,
        )
        self._average = Average(self.scheme, start, seed=seed_at(rules.world, 0))
        self._answers: list[_Answers] = []
        self._heard: set[int] = set()
        self._barrier = 0
        self._updates: dict[int, int] = {}
        self._parameters: dict[int, bytes] = {}
        self.dropped = 0
        """Changes that were not finite, too long or too old."""
        self.late = 0
        """Changes that were used after the round that asked for them."""
        self.missing = 0
        """Clients that rounds closed without, round by round."""
        self.kept_back = 0
        """Updates so far that the judge did not let go live."""

    @property
    def done(self) -> int:
        """Federated rounds so far."""
        return self._average.done

    @property
    def federated(self) -> bool:
        """Whether there is an average: it is asked for, and the network has nodes enough."""
        asked = self.scheme.federation
        return not asked.alone and self._rules.world.n >= asked.fewest_clients

    @property
    def updates(self) -> int:
        """Learning steps that the agent processes have taken, summed."""
        return sum(self._updates.values())

    @property
    def clip_norm(self) -> float:
        """The clipping norm of the next round."""
        return self._average.clip_norm

    def unbound(self) -> None:
        """Neither clip nor drop from now on, for comparisons; InputError unless privacy is none."""
        now = self._average
        self._average = Average(now.scheme, now.current, seed=0, bounded=False)

    def check(self, group: int, update: bytes, slot: int) -> None:
        """Refuse changes that nobody asked for, or of another size than (nodes, P): WireError."""
        shape = (len(self._rules.groups[group]), self._shape[1])
        if len(update) != 8 * shape[0] * shape[1]:
            raise WireError(f"update of group {group} must be {shape} float64")
        barrier = self._barrier_of(slot)
        if (
            not self._rules.learn
            or barrier == 0
            or (barrier == self._barrier and group in self._heard)
        ):
            raise WireError(f"no update of group {group} was asked for in slot {slot}")

    def add(self, group: int, update: bytes, updates_done: int, slot: int) -> None:
        """Take the changes of a group's nodes, which :meth:`check` has seen."""
        barrier = self._barrier_of(slot)
        if barrier != self._barrier:
            self._barrier = barrier
            self._heard.clear()
        if not self._answers or self._answers[-1].asked != barrier:
            rows, waiting = np.zeros(self._shape), np.zeros(self._shape[0], dtype=np.bool_)
            self._answers.append(_Answers(barrier, rows, waiting))
        members = np.array(self._rules.groups[group], dtype=np.int64)
        rows = np.frombuffer(update, dtype="<f8").reshape(len(members), -1)
        good = self._average.fit(rows)
        self.dropped += len(rows) - len(good)
        self._answers[-1].rows[members[good]] = rows[good]
        self._answers[-1].waiting[members[good]] = True
        self._heard.add(group)
        self._updates[group] = updates_done

    def end_of_slot(
        self,
        journal: Callable[[Mapping[str, Any]], None],
        slot: int,
        present: Flags | None = None,
    ) -> None:
        """Close a round where one is due, and hand out what may go live.

        ``present`` (n,) says which nodes can send, all if None. Late changes of nodes that are
        back wait for the next round.
        """
        rules = self._rules
        if not rules.learn or slot == 0 or slot % rules.round_slots:
            return
        here = np.ones(self._shape[0], dtype=np.bool_) if present is None else present
        if not self.federated:
            _, rows, _ = self._collect(slot, here)
            self._own = self._passed(self._own, self._own + rows, journal, slot)
            for number, group in enumerate(rules.groups):
                self._parameters[number] = _bytes(self._own[list(group)])
            return
        sent, rows, late = self._collect(slot, here)
        live = self._average.current
        closed = self._average.close(np.flatnonzero(sent), rows[sent], checked=True)
        missing = self._shape[0] - int(sent.sum())
        self.late += late
        self.missing += missing
        new = self._average.current
        self._average.current = self._passed(live[None], new[None], journal, slot)[0]
        self._parameters = dict.fromkeys(range(len(rules.groups)), _bytes(self.current))
        journal(
            {
                "event": "round",
                "slot": slot,
                "round": self.done,
                # How many of the others were drawn is secret: sampling protects only then.
                "missing": missing,
                "late": late,
                "clip_norm": closed.clip_norm,
                "norm": float(np.linalg.norm(self.current)),
            }
        )

    def _passed(
        self, live: Floats, new: Floats, journal: Callable[[Mapping[str, Any]], None], slot: int
    ) -> Floats:
        """Return the weights (1 or n, P) that go on: the new ones if the judge lets them pass."""
        if self._judge is None or np.array_equal(live, new):
            return new
        n, size = self._shape
        verdict = self._judge(
            np.broadcast_to(live, (n, size)), np.broadcast_to(new, (n, size)), self._judged
        )
        self._judged += 1
        self.kept_back += not verdict.passed
        journal(
            {
                "event": "gate",
                "slot": slot,
                "passed": verdict.passed,
                "difference": verdict.difference,
                "low": verdict.low,
            }
        )
        return new if verdict.passed else live

    def _collect(self, slot: int, present: Flags) -> tuple[Flags, Floats, int]:
        """Add up what each node has sent and no round has used; drop what is too old."""
        rules, late = self._rules, 0
        rows, sent = np.zeros(self._shape), np.zeros(self._shape[0], dtype=np.bool_)
        kept = []
        for answers in self._answers:
            age = (slot - answers.asked) // rules.round_slots
            if age > self.scheme.federation.stale_rounds:
                self.dropped += int(answers.waiting.sum())
                continue
            now = answers.waiting & present
            rows[now] += (1.0 + age) ** -0.5 * answers.rows[now]
            sent |= now
            late += int(now.sum()) if age > 0 else 0
            answers.waiting[now] = False
            if answers.waiting.any():
                kept.append(answers)
        self._answers = kept
        return sent, rows, late

    def _barrier_of(self, slot: int) -> int:
        return slot - slot % self._rules.round_slots

    def take_parameters(self, group: int) -> bytes:
        """Return the new weights of a group's nodes once; empty when there are none."""
        return self._parameters.pop(group, b"")

    @property
    def current(self) -> Floats:
        """The averaged weights, (P,)."""
        return self._average.current.copy()


def _bytes(weights: Floats) -> bytes:
    return np.ascontiguousarray(weights, dtype="<f8").tobytes()

"""Learning rounds in the broker: collect clipped changes, average them with noise, hand out.

Nothing goes live before the broker has sent it: nodes act with the weights that they last got. With
a judge, new weights are handed out only if it lets them pass; otherwise the old ones stay.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from controller.federated import aggregate, participants, randomness
from quantum.errors import WireError
from quantum.ledger.state import Floats, seed_at

if TYPE_CHECKING:
    from controller.gate import Verdict
    from controller.rules import Rules

__all__ = ["FEWEST_CLIENTS", "Rounds"]

#: With fewer nodes nobody can hide in an average; they learn each for itself.
FEWEST_CLIENTS = 10


#: Compares live weights with new ones in a round, each (n, P).
Judge = Callable[[Floats, Floats, int], "Verdict"]


class Rounds:
    """The aggregator: trusted with clipped changes, adds the noise, keeps the average."""

    def __init__(self, rules: "Rules", start: Floats, judge: Judge | None = None) -> None:
        self._rules, self._judge = rules, judge
        # Of networks too small for averages, every node's own weights.
        self._own = np.tile(start, (rules.world.n, 1))
        self._judged = 0
        self._current = start
        self._changes = np.zeros((rules.world.n, len(start)))
        self._heard: set[int] = set()
        self._updates: dict[int, int] = {}
        self._parameters: dict[int, bytes] = {}
        self.done = 0
        """Federated rounds so far."""
        self.kept_back = 0
        """Updates so far that the judge did not let go live."""

    @property
    def federated(self) -> bool:
        """Whether there are enough nodes for averaging to hide one of them."""
        return self._rules.world.n >= FEWEST_CLIENTS

    @property
    def updates(self) -> int:
        """Learning steps that the agent processes have taken, summed."""
        return sum(self._updates.values())

    def check(self, group: int, update: bytes) -> None:
        """Refuse changes of another size than the group's, (nodes, P), with a WireError."""
        shape = (len(self._rules.groups[group]), self._changes.shape[1])
        if len(update) != 8 * shape[0] * shape[1]:
            raise WireError(f"update of group {group} must be {shape} float64")

    def add(self, group: int, update: bytes, updates_done: int) -> None:
        """Take the changes of a group's nodes, which :meth:`check` has seen."""
        members = list(self._rules.groups[group])
        changes = np.frombuffer(update, dtype="<f8")
        self._changes[members] = changes.reshape(len(members), -1)
        self._heard.add(group)
        self._updates[group] = updates_done

    def end_of_slot(self, journal: Callable[[Mapping[str, Any]], None], slot: int) -> None:
        """Average when every group has sent its changes, and hand out what may go live."""
        rules = self._rules
        if len(self._heard) < len(rules.groups):
            return
        self._heard.clear()
        if not self.federated:
            self._own = self._passed(self._own, self._own + self._changes, journal, slot)
            for number, group in enumerate(rules.groups):
                self._parameters[number] = _bytes(self._own[list(group)])
            return
        chosen = participants(
            rules.world.n, rules.rate, seed=seed_at(rules.world, 0), round_index=self.done
        )
        averaged = aggregate(
            self._current,
            self._changes[chosen],
            clip_norm=rules.clip_norm,
            noise_multiplier=rules.noise_multiplier,
            expected_clients=rules.rate * rules.world.n,
            rng=randomness(seed_at(rules.world, 0), self.done),
        )
        self.done += 1
        self._current = self._passed(self._current[None], averaged[None], journal, slot)[0]
        self._parameters = dict.fromkeys(range(len(rules.groups)), _bytes(self._current))
        journal(
            {
                "event": "round",
                "slot": slot,
                "round": self.done,
                "participants": len(chosen),
                "norm": float(np.linalg.norm(self._current)),
            }
        )

    def _passed(
        self, live: Floats, new: Floats, journal: Callable[[Mapping[str, Any]], None], slot: int
    ) -> Floats:
        """Return the weights (1 or n, P) that go on: the new ones if the judge lets them pass."""
        if self._judge is None:
            return new
        n, size = self._rules.world.n, live.shape[1]
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

    def take_parameters(self, group: int) -> bytes:
        """Return the new weights of a group's nodes once; empty when there are none."""
        return self._parameters.pop(group, b"")

    @property
    def current(self) -> Floats:
        """The averaged weights, (P,)."""
        return self._current.copy()


def _bytes(weights: Floats) -> bytes:
    return np.ascontiguousarray(weights, dtype="<f8").tobytes()

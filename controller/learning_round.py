"""Federated rounds in the broker: collect clipped changes, average them with noise, hand out."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from controller.federated import aggregate, participants, randomness
from quantum.errors import WireError
from quantum.ledger.state import Floats, seed_at

if TYPE_CHECKING:
    from controller.rules import Rules

__all__ = ["FEWEST_CLIENTS", "Rounds"]

#: With fewer nodes nobody can hide in an average; they learn each for itself.
FEWEST_CLIENTS = 10


class Rounds:
    """The aggregator: trusted with clipped changes, adds the noise, keeps the average."""

    def __init__(self, rules: "Rules", start: Floats) -> None:
        self._rules = rules
        self._current = start
        self._changes = np.zeros((rules.world.n, len(start)))
        self._heard: set[int] = set()
        self._updates: dict[int, int] = {}
        self._parameters = b""
        self.done = 0
        """Federated rounds so far."""

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
        """Average when every group has sent its changes."""
        rules = self._rules
        if len(self._heard) < len(rules.groups):
            return
        self._heard.clear()
        if not self.federated:
            return
        chosen = participants(
            rules.world.n, rules.rate, seed=seed_at(rules.world, 0), round_index=self.done
        )
        self._current = aggregate(
            self._current,
            self._changes[chosen],
            clip_norm=rules.clip_norm,
            noise_multiplier=rules.noise_multiplier,
            expected_clients=rules.rate * rules.world.n,
            rng=randomness(seed_at(rules.world, 0), self.done),
        )
        self.done += 1
        self._parameters = np.ascontiguousarray(self._current, dtype="<f8").tobytes()
        journal(
            {
                "event": "round",
                "slot": slot,
                "round": self.done,
                "participants": len(chosen),
                "norm": float(np.linalg.norm(self._current)),
            }
        )

    def take_parameters(self) -> bytes:
        """Return the new average once, for all groups; empty when there is none."""
        parameters, self._parameters = self._parameters, b""
        return parameters

    @property
    def current(self) -> Floats:
        """The averaged weights, (P,)."""
        return self._current.copy()

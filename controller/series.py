"""Numbers over network time, for the figure and the report of a run."""

import math

from controller.dispatch import Dispatch
from quantum.egp import Telemetry

__all__ = ["Series"]

#: Slots between two points.
EVERY = 50


class Series:
    """Collects points from telemetry; columns as :mod:`controller.picture` reads them."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._last: Telemetry | None = None
        self._round_reward = 0.0
        self.columns: dict[str, list[float]] = {
            name: []
            for name in (
                "time_s",
                "requested",
                "delivered",
                "fidelity_low",
                "fidelity_best",
                "fidelity_high",
                "round",
                "reward",
                "epsilon",
                "levels",
            )
        }
        self.columns["levels"] = sorted(set(dispatch.rules.world.cls.fidelity.tolist()))

    def note(self, telemetry: Telemetry) -> None:
        """Take a point where one is due."""
        if self._last is None:
            self._last = telemetry
            return
        passed = telemetry.slot - self._last.slot
        if passed < EVERY:
            return
        slot_s = self._dispatch.rules.world.slot_s
        seconds, columns = passed * slot_s, self.columns
        columns["time_s"].append(telemetry.slot * slot_s)
        columns["requested"].append((telemetry.requested - self._last.requested) / seconds)
        columns["delivered"].append((telemetry.delivered - self._last.delivered) / seconds)
        for name in ("low", "best", "high"):
            columns[f"fidelity_{name}"].append(getattr(telemetry.fidelity, name))
        if telemetry.rounds > self._last.rounds:
            columns["round"].append(telemetry.rounds)
            columns["reward"].append(telemetry.reward - self._round_reward)
            columns["epsilon"].append(self._epsilon(telemetry.rounds))
            self._round_reward = telemetry.reward
        self._last = telemetry

    def _epsilon(self, rounds: int) -> float:
        found = self._dispatch.rounds.scheme.epsilon(rounds)
        return math.inf if found is None else found

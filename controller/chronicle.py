"""What an onlooker cannot work out from decisions alone, written into the record as it happens.

Decisions name requests by number only. These events say what was asked and what came of it, so
that the record can be watched and drawn without building its world again. Nothing is told before
it happened: a request is told of after the slot in which it arrived.
"""

from typing import Any

import numpy as np

from controller.dispatch import Dispatch
from controller.series import Series
from quantum.egp import Telemetry
from quantum.twin import counted

__all__ = ["Chronicle"]

#: Forecasts are told so often at most: a number for every node is much of a record.
_FORECAST_S = 0.5


class Chronicle:
    """Writes events of a run that is being played; ``bound`` is that of the whole run, pairs."""

    def __init__(self, dispatch: Dispatch, series: Series, bound: float) -> None:
        self._dispatch, self._series, self._bound = dispatch, series, bound
        world = dispatch.rules.world
        request = world.request
        self._first = int(np.searchsorted(request.arrival, world.warmup))
        self._counted = counted(world)
        self._by_deadline = np.argsort(request.deadline, kind="stable")
        self._due = request.deadline[self._by_deadline] + dispatch.rules.lag_slots
        self._asked = self._ended = self._rounds = 0
        self._expected = np.zeros(world.n)
        self._forecast_due = 0

    def begun(self) -> dict[str, Any]:
        """Return the event before the first slot: what the run's numbers are to be held against."""
        world = self._dispatch.rules.world
        return {
            "event": "begun",
            "bound": self._bound,
            "pairs_requested": int(world.request.pairs[self._counted].sum()),
            "slot_s": world.slot_s,
            "forecast_s": self._dispatch.rules.rule.horizon_s,
            "learn": self._dispatch.rules.learn,
            "lag_slots": self._dispatch.rules.lag_slots,
        }

    def seen(self, telemetry: Telemetry) -> dict[str, Any]:
        """Return the event after some slots: requests that came and went, and sums so far.

        ``asked`` are (number, source, destination, pairs, minimum fidelity, slot of arrival,
        deadline), the last slot that may serve it; ``ended`` are (number, pairs that were good
        enough and in time). ``forecast`` are the pairs that each node expects to be asked for soon,
        where that has changed, at most twice a second.
        """
        dispatch = self._dispatch
        world, ledger, slot = dispatch.rules.world, dispatch.ledger, dispatch.slot
        request, good = world.request, ledger.request.good
        arrived = int(np.searchsorted(request.arrival, slot))
        new = request[self._asked : arrived]
        numbers = range(self._asked, arrived)
        cls = world.cls[new.cls]
        ended = int(np.searchsorted(self._due, slot))
        if dispatch.finished and not dispatch.waiting(all_jobs=True):
            ended = int(np.searchsorted(request.deadline[self._by_deadline], slot))
        over = self._by_deadline[self._ended : max(ended, self._ended)]
        since = self._counted[self._counted < arrived]
        event: dict[str, Any] = {
            "event": "seen",
            "slot": slot,
            "asked": [
                [number, *row]
                for number, *row in zip(
                    numbers,
                    cls.a.tolist(),
                    cls.b.tolist(),
                    new.pairs.tolist(),
                    cls.fidelity.tolist(),
                    new.arrival.tolist(),
                    new.deadline.tolist(),
                    strict=True,
                )
            ],
            "ended": [[int(number), int(good[number])] for number in over],
            "requested": int(request.pairs[since].sum()),
            "delivered": int(good[since].sum()),
            "stored": telemetry.stored,
            "contention": telemetry.contention,
            "reward": telemetry.reward,
        }
        self._asked, self._ended = arrived, max(ended, self._ended)
        if slot >= self._forecast_due:
            expected = np.round(dispatch.expected, 3)
            if not np.array_equal(expected, self._expected):
                self._expected = expected
                self._forecast_due = slot + round(_FORECAST_S / world.slot_s)
                event["forecast"] = expected.tolist()
        spent = self._series.columns["epsilon"]
        if len(spent) > self._rounds:
            self._rounds = len(spent)
            if np.isfinite(spent[-1]):
                event["epsilon"] = [int(self._series.columns["round"][-1]), spent[-1]]
        return event

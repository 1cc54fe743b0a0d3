"""Who will ask soon: what a forecaster of requests is, and three of them.

A class is a node pair with a minimum fidelity (a row of ``world.cls``); a forecaster hears of the
requests of the classes whose sources it speaks for, and of no others. What it says of a class must
not depend on the classes of other sources, so that nodes forecast the same however they are spread
over processes.

Agents forecast by :class:`Recurrent`; :class:`Recent` and :class:`Told` stand below and above it
where it is asked what forecasts are worth (:mod:`controller.forecasting.worth`).
"""

import math
from typing import Protocol

import numpy as np

from controller.forecasting.foresight import Foresight
from quantum.errors import InputError
from quantum.kernels import Table
from quantum.ledger.state import Floats, Ints, World

__all__ = ["Arrivals", "Recent", "Recurrent", "Told"]


class Arrivals(Protocol):
    """Forecasts the requests of C classes; times are slots and never go back."""

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """Note that a request for ``pairs`` pairs of class ``cls`` arrives in ``slot``."""

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """Return the pairs (C,) of requests that arrive after ``slot``, within the horizon.

        What is recorded up to and including ``slot`` is known. Finite, and at least 0.
        """


class Recent:
    """The recent rate of every class: an exponentially weighted mean over ``memory_s``.

    It starts without bias: until as much time has passed, it is the plain mean.
    """

    def __init__(self, classes: Table, slot_s: float, *, memory_s: float = 20.0) -> None:
        if not 0.0 < memory_s < math.inf:
            raise InputError(f"memory_s must be > 0 seconds, got {memory_s}")
        self._slots = max(1.0, memory_s / slot_s)
        self._sum = np.zeros(len(classes))
        self._last = np.zeros(len(classes))

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """See :class:`Arrivals`."""
        # Each class fades by itself: what is said of it is the same, bit by bit, alone.
        self._sum[cls] *= math.exp((self._last[cls] - slot) / self._slots)
        self._sum[cls] += pairs
        self._last[cls] = slot

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """See :class:`Arrivals`."""
        weight = -math.expm1(-(slot + 1.0) / self._slots) * self._slots
        faded = self._sum * np.exp((self._last - slot) / self._slots)
        out: Floats = faded * (horizon_slots / weight)
        return out


class Recurrent:
    """The forecaster of agents: a recurrent network at every source, which learns as it hears.

    ``sources`` are the nodes that are spoken for, all by default; nothing is expected of others.
    See :class:`controller.forecasting.foresight.Foresight`.
    """

    def __init__(self, classes: Table, slot_s: float, *, sources: Ints | None = None) -> None:
        own = np.ones(len(classes), np.bool_) if sources is None else np.isin(classes.a, sources)
        self._own: Ints = np.flatnonzero(own)
        self._place = np.full(len(classes), -1, dtype=np.int64)
        self._place[self._own] = np.arange(len(self._own))
        said = classes[self._own]
        self._foresight = Foresight(
            said["a"].astype(np.int64),
            said["b"].astype(np.int64),
            said["fidelity"].astype(np.float64),
            slot_s=slot_s,
        )

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """See :class:`Arrivals`."""
        if self._place[cls] < 0:
            raise InputError(f"class {cls} is asked for by a node that is not spoken for")
        self._foresight.record(slot, int(self._place[cls]), pairs)

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """See :class:`Arrivals`."""
        out = np.zeros(len(self._place))
        if len(self._own):
            out[self._own] = self._foresight.expected(slot, horizon_slots)
        return out


class Told:
    """The oracle: it is told every request beforehand. What an honest forecaster stays below.

    Requests that are announced are left out, as they are for everybody.
    """

    def __init__(self, world: World) -> None:
        request = world.request
        order = np.argsort(request.arrival, kind="stable")
        arrival, told, cls, pairs = (
            request[name][order].astype(np.int64) for name in ("arrival", "told", "cls", "pairs")
        )
        self._arrival: Ints = arrival
        self._cls: Ints = cls
        self._pairs: Floats = np.where(told == arrival, pairs, 0).astype(np.float64)
        self._size = len(world.cls)

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """See :class:`Arrivals`; nothing is news."""

    def expected(self, slot: int, horizon_slots: int) -> Floats:
        """See :class:`Arrivals`."""
        first, last = np.searchsorted(self._arrival, [slot + 1, slot + 1 + horizon_slots])
        out: Floats = np.bincount(
            self._cls[first:last], self._pairs[first:last], minlength=self._size
        ).astype(np.float64)
        return out

"""The lab backend as everybody uses it: a thin client of the rack's supervisor.

It never touches an instrument. The lease is asked for with the first request, and from then on it
is renewed only while those who command are alive; see :mod:`.keeper`.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import Outcome, Plan
from backends.rack import SHIPPED_RACK
from backends.supervisor.client import Client, granted, key_of, new_rid
from backends.supervisor.keeper import Keeper
from backends.supervisor.launching import find_or_launch
from backends.supervisor.messages import VERSION, Acquire, Act, Did, Prepare, Release, Run
from backends.supervisor.work import pack
from quantum.batch import Batch
from quantum.errors import DeviceError, DpemError, InputError
from quantum.joining import Connection
from quantum.rack import load_rack

__all__ = ["SupervisedLab"]

#: Calibrating all links of a rack may take minutes.
_PREPARE_S = 600.0


class SupervisedLab:
    """Measures pairs on a rack, through its supervisor, which is started where none runs.

    ``link`` numbers the link of programs that name none; it may be left out where there is but one.
    Raises :class:`InputError` for a rack that cannot be used, :class:`DeviceError` for instruments
    that do not answer, and :class:`quantum.errors.RequestError` with code REJECTED for whatever
    the supervisor refuses: limits, interlocks, another holder, a latched rack.
    """

    name = "lab"
    keeps = False

    def __init__(
        self,
        rack: Path | None = None,
        *,
        mode: str = "stub",
        key: Path | None = None,
        link: int | None = None,
    ) -> None:
        self._path = rack if rack is not None else SHIPPED_RACK
        self.rack = load_rack(self._path)
        if len(self.rack.links) > 1 and self.rack.links[0].optics is None:
            raise InputError(
                f"rack {self.rack.name} has {len(self.rack.links)} links without optics, "
                "one of these is measured"
            )
        last = len(self.rack.links) - 1
        if link is not None and not 0 <= link <= last:
            raise InputError(f"link must be 0 to {last}, got {link}")
        self._link = link
        self._key = key_of(key)
        self.at, self._launched = find_or_launch(self._path, mode)
        self._client = Client(self.at.commands, self.at.public, self._key, self.at.supervisor)
        self._keeper: Keeper | None = None
        self._pulses: Connection | None = None
        self.token = -1
        self._closed = False

    def follow(self, broker: Connection) -> None:
        """Hold the lease only while the broker's pulses say that all is well."""
        self._pulses = broker

    def acquire(self) -> int:
        """Ask for the lease, if it is not held yet; return its token."""
        if self._keeper is None:
            ask = Acquire(new_rid(), VERSION, self.rack.name)
            self.token = granted(self._client.demand(ask, 10.0)).token
            self._keeper = Keeper(self.at, self._key, self.token, self._pulses)
            self._keeper.start()
        return self.token

    def prepare(self) -> None:
        """Get the rack ready for its first request: links are calibrated now, not then."""
        self._client.demand(Prepare(new_rid(), self.acquire()), _PREPARE_S)

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Have the supervisor test as many pairs as the plan asks for."""
        if self._closed:
            raise DeviceError("the lab backend is closed")
        if plan.link is None and self._link is not None:
            plan = replace(plan, link=np.full(len(plan.basis), self._link))
        token = self.acquire()
        seed = int(rng.integers(2**62))
        reply = self._client.demand(Run(new_rid(), token, seed, pack(batch, plan)))
        assert isinstance(reply, Did)
        counts = np.frombuffer(reply.value["counts"], dtype="<i8").reshape(reply.value["shape"])
        return Outcome(
            counts=counts.astype(np.int64),
            truth=None,
            source=reply.value["source"],
            calibration=tuple(reply.value["calibration"]),
        )

    def command(self, instrument: str, method: str, *values: Any) -> Any:
        """Call a method of one instrument's driver, under the lease; returns plain data."""
        act = Act(new_rid(), self.acquire(), instrument, method, values)
        reply = self._client.demand(act)
        assert isinstance(reply, Did)
        return reply.value

    def close(self) -> None:
        """Give the lease back, which makes the rack safe; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        safe = self._keeper is None
        if self._keeper is not None:
            with contextlib.suppress(DpemError):
                reply = self._client.ask(Release(new_rid(), self.token), 10.0)
                safe = isinstance(reply, Did)
            self._keeper.close()
        self._client.close()
        if self._launched is not None:
            # The guardian of a latched rack lingers, so that people can ask what happened.
            self._launched.close(5.0 if safe else 0.2)

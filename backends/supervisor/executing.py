"""Carries out what the desk has started, in the one thread that talks to instruments for callers.

Whatever goes wrong is an answer; only what a driver has answered becomes a value or a count.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from backends.contract import Backend
from backends.lab import open_lab
from backends.laboratory.backend import LaboratoryBackend
from backends.supervisor.desk import Start
from backends.supervisor.guard import Gate
from backends.supervisor.messages import Act, Did, Prepare, Rearm, Refused, Reply, Run
from backends.supervisor.notes import Notes
from backends.supervisor.rig import Rig
from backends.supervisor.work import unpack
from quantum.counts import Counts
from quantum.errors import Code, DeviceError, DpemError, InputError, RequestError, WireError
from quantum.estimate import estimate
from quantum.rack import Rack
from quantum.seeding import generator

__all__ = ["Executor"]


class Executor:
    """Owns the lab backend; ``rearmed`` is called when the rack may be used again."""

    def __init__(self, rack: Rack, path: Path, rig: Rig, gate: Gate, notes: Notes) -> None:
        self._rack, self._path, self._rig, self._gate, self._notes = rack, path, rig, gate, notes
        self._backend: Backend | None = None
        self._token = -1
        self.rearmed: Callable[[], None] = lambda: None

    def carry_out(self, start: Start) -> Reply:
        """Do it, and return the answer."""
        rid = start.message.rid
        token = None if start.lease is None else start.lease.token
        self._gate.context = {"rid": rid.hex()[:12], "token": token}
        try:
            match start.message:
                case Run():
                    return self._run(start.message, token)
                case Prepare():
                    self._ready(token)
                    return Did(rid)
                case Act():
                    return Did(rid, self._act(start.message))
                case Rearm(_, reason):
                    return self._rearm(rid, reason)
            raise RequestError(Code.CREATE, "this is not carried out here")
        except RequestError as wrong:
            return Refused(rid, wrong.code, wrong.detail)
        except DeviceError as wrong:
            return Refused(rid, Code.OTHER, str(wrong), device=True)
        except (InputError, WireError, TypeError, ValueError, AttributeError) as wrong:
            return Refused(rid, Code.CREATE, str(wrong))
        except DpemError as wrong:
            return Refused(rid, Code.OTHER, str(wrong))
        finally:
            self._gate.context = {}

    @staticmethod
    def done(rid: bytes) -> Did:
        """Return the answer that says no more than that."""
        return Did(rid)

    def _run(self, message: Run, token: int | None) -> Did:
        batch, plan = unpack(message.work)
        backend = self._ready(token)
        outcome = backend.run(batch, plan, generator(message.seed, "supervisor"))
        self._gate.check()
        counts = np.ascontiguousarray(outcome.counts, dtype="<i8")
        self._note(message, token, counts, outcome.source)
        shape = list(counts.shape)
        return Did(
            message.rid,
            {
                "counts": counts.tobytes(),
                "shape": shape,
                "source": outcome.source,
                "calibration": list(outcome.calibration),
            },
        )

    def _drop(self) -> None:
        """Let the backend of another holder go; its instruments are not its own to close."""
        if self._backend is not None:
            with contextlib.suppress(DpemError):
                self._backend.close()
        self._backend = None

    def idle(self) -> bool:
        """Look after the rack between requests; False where there is nothing to do now."""
        if self._gate.reason or not isinstance(self._backend, LaboratoryBackend):
            return False
        self._gate.context = {"rid": "", "token": self._token}
        try:
            return self._backend.idle()
        except DpemError as wrong:
            self._notes.note("idle failed", detail=str(wrong))
            return False
        finally:
            self._gate.context = {}

    def _ready(self, token: int | None) -> Backend:
        """Return the backend of a lease, opened and calibrated if need be."""
        self._gate.check()
        if self._backend is None or self._token != token:
            # Another holder, another history: nothing that was counted before is his.
            self._drop()
            self._backend = open_lab(self._path, opener=self._rig.guarded)
            self._token = -1 if token is None else token
        return self._backend

    def _note(self, message: Run, token: int | None, counts: Any, source: str) -> None:
        total = counts.sum(axis=0)
        fields: dict[str, Any] = {"counts": total.tolist()}
        if total.shape == (3, 2) and total.sum() > 0:
            guess = estimate(Counts.from_array(total))
            fields["estimate"] = [guess.low, guess.best, guess.high]
        self._notes.note(
            "counted", rid=message.rid.hex()[:12], token=token, source=source, **fields
        )

    def _act(self, message: Act) -> Any:
        instrument = self._rig.instruments[message.instrument]
        if not hasattr(instrument.driver, message.method):
            raise RequestError(
                Code.UNSUPP,
                f"{message.instrument} ({instrument.entry.kind}) has no {message.method}",
            )
        return msgspec.to_builtins(instrument.call(message.method, *message.values))

    def _rearm(self, rid: bytes, reason: str) -> Reply:
        self._drop()
        self._rig.reopen()
        for name in self._rack.safety.interlocks:
            if not self._rig.instruments[name].call("interlock_closed"):
                raise RequestError(Code.REJECTED, f"INTERLOCK: the contact of {name} is open")
        trouble = {n: one for n, one in self._rig.make_safe().items() if not one.safe}
        if trouble:
            said = "; ".join(f"{name}: {one.trouble}" for name, one in trouble.items())
            raise RequestError(Code.REJECTED, f"the rack is not safe: {said}")
        self.rearmed()
        self._notes.note("rearmed", sync=True, reason=reason)
        return Did(rid)

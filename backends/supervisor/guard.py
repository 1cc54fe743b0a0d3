"""Drivers behind a gate: limits, interlocks, lease and log come before every method, for everyone.

The thread that executes requests may be in the middle of a read when the rack has to be made safe.
Then it is sent a signal, whose handler raises :class:`Preempted` out of the driver's method;
:mod:`.rig` opens that driver anew, because nobody knows where its conversation was cut.
"""

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from inspect import getattr_static
from types import FrameType
from typing import Any

from backends.supervisor.audit import digest
from backends.supervisor.limits import READS, SAFE, SHADOWED, check_limits
from quantum.errors import Code, DeviceError, DpemError, RequestError
from quantum.rack import InstrumentEntry

__all__ = ["SIGNAL", "Gate", "Guarded", "Instrument", "Preempted"]

#: Sent to the executing thread; nothing else of ours uses it.
SIGNAL = signal.SIGUSR1

Note = Callable[..., None]
NOBODY = "nobody holds the lease"

#: What a driver should have turned into a :class:`DeviceError`.
_MISTAKES = (ArithmeticError, AssertionError, LookupError, OSError, RuntimeError)
#: What else a method raises, for arguments that it cannot take.
_ARGUMENTS = (AttributeError, TypeError, ValueError)


class Preempted(RequestError):
    """The rack was made safe in the middle of a request."""


class Gate:
    """Shut while nobody may change anything; ``reason`` says why, and is empty while it is open."""

    def __init__(self, note: Note) -> None:
        self.note = note
        self.reason = NOBODY
        self.latched = False
        self._lock = threading.Lock()
        self.context: dict[str, Any] = {}
        self._executing = threading.main_thread().ident
        self._inside = False

    def shut(self, why: str, *, latch: bool) -> None:
        """Let nothing through from now on; a latched gate keeps its first reason."""
        with self._lock:
            if not self.latched:
                self.reason = why or NOBODY
            self.latched = self.latched or latch

    def open(self) -> bool:
        """Let acts through, unless the gate is latched."""
        with self._lock:
            if not self.latched:
                self.reason = ""
            return not self.latched

    def unlatch(self) -> None:
        """Undo the latch; the gate stays shut until somebody has the lease."""
        with self._lock:
            self.latched, self.reason = False, NOBODY

    def executes(self, thread: int) -> bool:
        """Tell whether a thread is the one that a signal can preempt."""
        return thread == self._executing

    def check(self) -> None:
        """Refuse an act while the gate is shut."""
        if self.reason:
            raise Preempted(Code.REJECTED, self.reason)

    def listen(self) -> None:
        """Let the signal preempt this thread, which has to be the main one."""
        signal.signal(SIGNAL, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._inside and self.reason:
            self._inside = False
            raise Preempted(Code.REJECTED, self.reason)

    def preempt(self, patience_s: float) -> None:
        """Bring the executing thread out of a driver's method; the gate has to be shut.

        The signal may come just before a wait begins, which would not notice it: so it is sent
        again.
        """
        until = time.monotonic() + patience_s
        while self._inside and self._executing is not None and time.monotonic() < until:
            signal.pthread_kill(self._executing, SIGNAL)
            time.sleep(0.001)

    def inside(self, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call a driver's method; in the executing thread it can be preempted."""
        if threading.get_ident() != self._executing:
            return method(*given, **named)
        self._inside = True
        try:
            self.check()
            return method(*given, **named)
        finally:
            self._inside = False


class Instrument:
    """One instrument of the rack: its driver, its stub in shadow mode, and its lock."""

    def __init__(self, entry: InstrumentEntry, gate: Gate, address: str) -> None:
        self.entry, self.gate, self.address = entry, gate, address
        self.driver: Any = None
        self.real: Any = None
        """In shadow mode the instrument that is only read; ``driver`` is then its stub."""
        self.own_stub = False
        """Whether the guardian started a stub in its place."""
        self.lock = threading.RLock()
        self.user = 0
        """The thread that holds the lock."""
        self.dirty = False
        self.trouble = ""
        self.odd = 0
        self._acts: list[float] = []

    def call(self, method: str, *given: Any, **named: Any) -> Any:
        """Call a method of the driver if that is allowed, and log it."""
        name, gate = self.entry.name, self.gate
        acting = method not in READS and method not in SAFE
        fields = {"instrument": name, "method": method, "given": repr(given)[:200], **gate.context}
        if acting:
            try:
                gate.check()
                check_limits(name, method, given, self.entry.limits)
                self._check_rate()
            except RequestError as wrong:
                gate.note("refused", **fields, detail=wrong.detail)
                raise
            gate.note("command", **fields)
        began = time.monotonic()
        try:
            with self.lock:
                self.user = threading.get_ident()
                value = self._inside(acting, method, given, named)
        except DpemError as wrong:
            self.trouble = str(wrong) if isinstance(wrong, DeviceError) else self.trouble
            gate.note("failed", **fields, detail=str(wrong))
            raise
        self.trouble = ""
        if method != "interlock_closed":
            taken_ms = round((time.monotonic() - began) * 1e3, 3)
            gate.note("answer", **fields, answer=digest(value), took_ms=taken_ms)
        if self.real is not None and method in SHADOWED:
            self._shadow(method, given, named, value)
        return value

    def _inside(
        self, acting: bool, method: str, given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        bound = getattr(self.driver, method)
        try:
            return self.gate.inside(bound, *given, **named) if acting else bound(*given, **named)
        except Preempted:
            self.dirty = True
            raise
        except _MISTAKES as wrong:
            raise self._mistake(method, wrong) from wrong

    def trusted(self, method: str, *given: Any, **named: Any) -> Any:
        """Like :meth:`call`, for our own backends: what they give is right, the driver is wrong."""
        try:
            return self.call(method, *given, **named)
        except _ARGUMENTS as wrong:
            raise self._mistake(method, wrong) from wrong

    def _mistake(self, method: str, wrong: Exception) -> DeviceError:
        """Drivers come from other packages too: a mistake in one must not end the supervisor."""
        self.dirty = True
        kind = type(wrong).__name__
        return DeviceError(f"{self.entry.name}: its driver failed in {method}: {kind}: {wrong}")

    def _check_rate(self) -> None:
        most = self.entry.limits.acts_hz
        if most is None:
            return
        now = time.monotonic()
        self._acts = [at for at in self._acts if at > now - 1.0]
        if len(self._acts) >= max(1.0, most):
            raise RequestError(
                Code.REJECTED, f"{self.entry.name}: the rack limits acts_hz to {most:g}"
            )
        self._acts.append(now)

    def _shadow(
        self, method: str, given: tuple[Any, ...], named: dict[str, Any], value: Any
    ) -> None:
        """Read the real instrument beside its stub, and log both."""
        try:
            with self.lock:
                seen = repr(getattr(self.real, method)(*given, **named))
        except DeviceError as wrong:
            seen = f"failed: {wrong}"
        if seen != repr(value):
            self.odd += 1
        self.gate.note(
            "shadow",
            instrument=self.entry.name,
            method=method,
            stub=repr(value)[:200],
            real=seen[:200],
        )


class Guarded:
    """Looks like a driver, and asks the gate first. ``close`` is not for those who use it."""

    def __init__(self, instrument: Instrument) -> None:
        driver = instrument.driver
        for name in dir(driver):
            if name.startswith("_") or isinstance(getattr_static(driver, name), property):
                continue
            value = getattr(driver, name)
            if callable(value):
                value = partial(instrument.trusted, name)
            setattr(self, name, value)
        self.close = lambda: None

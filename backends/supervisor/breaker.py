"""Making the rack safe, whoever finds that it has to be: gate, signal, commands, latch, log.

The order is the point. First nothing more may be done (the gate), then what is being done is cut
off (the signal), then the safe state is commanded; only after that comes what may wait for a disk.
"""

import os
import threading
import time
from collections.abc import Callable

from backends.supervisor.guard import Gate
from backends.supervisor.messages import Stopped
from backends.supervisor.notes import Notes
from backends.supervisor.rig import Rig
from backends.supervisor.safing import Safed

__all__ = ["Breaker"]

#: What is told to the desk: that the rack is latched, and why.
Tell = Callable[[str], None]
#: How long a driver's method is given to end after its signal.
_PREEMPT_S = 0.02
_LAST_WORDS_S = 0.1


class Breaker:
    """Shuts the gate of a rig and makes it safe; for use from every thread."""

    def __init__(
        self, rig: Rig, gate: Gate, notes: Notes, tell: Tell, keep: Callable[[str], None]
    ) -> None:
        self._rig, self._gate, self._notes = rig, gate, notes
        self._tell, self._keep = tell, keep
        self._busy = 0
        self._lock = threading.Lock()
        self.last: dict[str, Safed] = {}

    @property
    def busy(self) -> bool:
        """Whether the rack is being made safe right now."""
        return self._busy > 0

    def trip(self, why: str) -> None:
        """Latch and make safe; returns at once."""
        self._gate.shut(why, latch=True)
        self._tell(why)
        self._enter(1)
        threading.Thread(target=self._trip, args=(why,), daemon=True).start()

    def stop(self, rid: bytes, why: str, heard_s: float) -> Stopped:
        """Latch and make safe at once, and report what was read back: the emergency stop."""
        self._gate.shut(why, latch=True)
        self._enter(1)
        try:
            done = self._make_safe(why)
        finally:
            self._enter(-1)
        self._tell(why)
        each_ms = {name: _ms(one.written_s - heard_s) for name, one in done.items()}
        return Stopped(
            rid,
            written_ms=max(each_ms.values(), default=0.0),
            done_ms=_ms(time.monotonic() - heard_s),
            safe=all(one.safe for one in done.values()),
            read_back={name: one.trouble or one.read_back for name, one in done.items()},
            each_ms=each_ms,
        )

    def release(self, why: str) -> str:
        """Make safe without a latch, as a lease was given back; returns what is not safe."""
        self._gate.shut(why, latch=False)
        self._gate.preempt(_PREEMPT_S)
        self.last = done = self._rig.make_safe()
        trouble = _trouble(done)
        self._notes.note("released", sync=True, why=why, trouble=trouble)
        return trouble

    def _trip(self, why: str) -> None:
        try:
            self._make_safe(why)
        finally:
            self._enter(-1)

    def _make_safe(self, why: str) -> dict[str, Safed]:
        began = time.monotonic()
        # At the same time: instruments that nobody uses do not wait for the one that is cut off.
        threading.Thread(target=self._gate.preempt, args=(_PREEMPT_S,), daemon=True).start()
        self.last = done = self._rig.make_safe()
        self._keep(why)
        self._notes.note(
            "tripped",
            sync=True,
            why=why,
            took_ms=round((time.monotonic() - began) * 1e3, 3),
            trouble=_trouble(done),
            read_back={name: one.read_back for name, one in done.items()},
        )
        if self._rig.stuck:
            # The guardian notices, and opens the instruments anew. Answers get out before that.
            threading.Timer(_LAST_WORDS_S, os._exit, (3,)).start()
        return done

    def _enter(self, change: int) -> None:
        with self._lock:
            self._busy += change


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)


def _trouble(done: dict[str, Safed]) -> str:
    return "; ".join(f"{name}: {one.trouble}" for name, one in done.items() if one.trouble)

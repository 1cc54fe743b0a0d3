"""A discrete-event clock: processes are generators that say what they wait for.

Events are ordered by (time, number), so a simulation is repeatable. Times are nanoseconds, as in
SquidASM. Nothing here knows about qubits or programs.
"""

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from backends.squid.errors import DeadlockError, LimitError, SquidError

__all__ = ["Clock", "Delay", "Process", "Signal", "Steps", "Until"]


@dataclass(frozen=True)
class Delay:
    """Wait for some time."""

    nanoseconds: float


@dataclass(frozen=True, eq=False)
class Until:
    """Wait until a signal is given; ``why`` tells a person what is missing."""

    signal: "Signal"
    why: str


Wait = Delay | Until

#: What a process is made of: it yields waits, is sent the value of a signal, and returns a result.
Steps = Generator[Wait, Any, Any]


@dataclass(eq=False)
class Process:
    """A running generator. ``done`` is given with its result when it ends."""

    name: str
    steps: Steps
    must_end: bool
    wait: Wait | None = None
    finished: bool = False
    result: Any = None
    done: "Signal" = field(init=False)

    @property
    def waiting_for(self) -> str:
        """What it waits for, in words."""
        match self.wait:
            case Delay(nanoseconds):
                return f"{nanoseconds:g} ns to pass"
            case Until(_, why):
                return why
        return "its start"


class Signal:
    """Something that processes wait for; it wakes all that wait when it is given."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._waiting: list[Process] = []

    def give(self, value: Any = None) -> None:
        """Wake all processes that wait now, in the order in which they came."""
        woken, self._waiting = self._waiting, []
        for process in woken:
            self._clock.resume(process, value)

    def add(self, process: Process) -> None:
        """Let a process wait."""
        self._waiting.append(process)


class Clock:
    """Plays processes in the order of their events."""

    def __init__(self, most_events: int = 50_000_000, most_at_once: int | None = None) -> None:
        self.now_ns = 0.0
        #: Time, number, and an action without or a process with what it is sent.
        self._events: list[tuple[float, int, Callable[[], None] | None, Process | None, Any]] = []
        self._number = 0
        self._most_events = most_events
        self._most_at_once = most_events if most_at_once is None else most_at_once
        self._counted_from = self._counted_at_once_from = 0
        self._processes: list[Process] = []

    def signal(self) -> Signal:
        """Return a new signal."""
        return Signal(self)

    def start(self, name: str, steps: Steps, *, must_end: bool = True) -> Process:
        """Start a process now; services that wait for ever do not have to end."""
        process = Process(name, steps, must_end)
        process.done = Signal(self)
        self._processes.append(process)
        self.resume(process, None)
        return process

    def at(self, delay_ns: float, action: Callable[[], None]) -> None:
        """Do something after a delay."""
        heapq.heappush(self._events, (self.now_ns + delay_ns, self._number, action, None, None))
        self._number += 1

    def resume(self, process: Process, value: Any) -> None:
        """Go on with a process, at this time but after what is due already."""
        heapq.heappush(self._events, (self.now_ns, self._number, None, process, value))
        self._number += 1

    def count_anew(self) -> None:
        """Count events from here on: something ended, so there is no endless loop."""
        self._counted_from = self._counted_at_once_from = self._number

    def run(self) -> None:
        """Play until nothing is left to happen.

        Raises :class:`DeadlockError` that says who waits for what, where processes that must end
        have not.
        """
        events, pop, step = self._events, heapq.heappop, self._step
        while events:
            now_ns, number, action, process, value = pop(events)
            if now_ns != self.now_ns:
                self.now_ns, self._counted_at_once_from = now_ns, number
            if process is not None:
                step(process, value)
            elif action is not None:
                action()
            if number - self._counted_from > self._most_events:
                raise LimitError(
                    f"more than {self._most_events} events and no run has ended: is there an "
                    "endless loop? (dpem squidasm --most-events allows more)"
                )
            if number - self._counted_at_once_from > self._most_at_once:
                raise LimitError(
                    f"more than {self._most_at_once} events at {now_ns:g} ns and no time passes: "
                    "is there an endless loop? (dpem squidasm --most-events allows more)"
                )
        stuck = [p for p in self._processes if p.must_end and not p.finished]
        if stuck:
            raise DeadlockError(self.now_ns, [(p.name, p.waiting_for) for p in stuck])

    def _step(self, process: Process, value: Any) -> None:
        try:
            wait = process.steps.send(value)
        except StopIteration as end:
            process.finished, process.result = True, end.value
            self._processes.remove(process)
            process.done.give(end.value)
            return
        process.wait = wait
        if type(wait) is Until:
            wait.signal.add(process)
        elif type(wait) is Delay:
            time_ns = self.now_ns + wait.nanoseconds
            heapq.heappush(self._events, (time_ns, self._number, None, process, None))
            self._number += 1
        else:
            # Thrown where it was yielded, so that the error says in which line.
            process.steps.throw(
                SquidError(
                    f"{process.name} yields {wait!r}; what is yielded must come from a flush, a "
                    "commit or a recv (yield from)"
                )
            )

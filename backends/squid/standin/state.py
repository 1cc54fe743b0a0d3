"""The one place that remembers: programs written for SquidASM expect globals.

Everything else in this package is values and functions. Time, seeds and the network that runs are
asked for by name (``netsquid.sim_time()``) in the middle of a program, so they must lie somewhere.
"""

import logging
import secrets
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.squid.clock import Signal
from backends.squid.run import MOST_EVENTS, Simulation

__all__ = ["STATE", "Play", "State"]

#: Plays so many repetitions from a seed; returns results by node and the time at the end.
Play = Callable[[int, int], tuple[list[list[Any]], float]]

_log = logging.getLogger("Stack.Seed")


@dataclass(eq=False)
class State:
    """What lies between the calls of a script."""

    #: How runs are executed; the command and :func:`backends.squid.install` set it.
    engine: str = "aer"
    processes: int = 1
    most_events: int = MOST_EVENTS
    #: Where seeds of runs come from; None: the operating system.
    random: Any = None
    #: The network that runs now, or ran last.
    simulation: Simulation | None = None
    #: Time that passed in runs before; ``netsquid.sim_reset()`` forgets it.
    past_ns: float = 0.0
    #: States at breakpoints that asked for all nodes: {node: {position: matrix}}.
    breakpoints: list[dict[str, dict[int, Any]]] = field(default_factory=list)
    #: What forked processes are to play: so many repetitions from a seed.
    play: Play | None = None
    #: Who waits at a breakpoint that two nodes share, by role.
    waiting: dict[Any, deque[Signal]] = field(default_factory=lambda: defaultdict(deque))

    def now_ns(self) -> float:
        """Return the time of the simulation, which goes on from run to run."""
        return self.past_ns + self._run_ns()

    def begin(self) -> Simulation:
        """Return what is to be a new run."""
        self.past_ns += self._run_ns()
        self.waiting.clear()
        self.simulation = Simulation()
        return self.simulation

    def reset_time(self) -> None:
        """Let the next run start at time 0."""
        self.past_ns, self.simulation = 0.0, None

    def seed(self, seed: int | None) -> None:
        """Draw all seeds of runs from this one from now on; None: from the operating system."""
        # The generator that netsquid.get_random_state() hands out has always been a RandomState.
        self.random = None if seed is None else np.random.RandomState(_words(seed))

    def next_seed(self) -> int:
        """Return the seed of the next run.

        Where no seed was set, a fresh one is, and told to the log at level debug.
        """
        if self.random is None:
            fresh = secrets.randbits(63)
            _log.debug("no seed was set: all that follows is drawn from seed %d", fresh)
            self.seed(fresh)
        if isinstance(self.random, np.random.Generator):
            return int(self.random.integers(2**63 - 1))
        return int(self.random.randint(2**63 - 1, dtype=np.int64))

    def _run_ns(self) -> float:
        return 0.0 if self.simulation is None else self.simulation.now_ns


def _words(seed: int) -> list[int]:
    """Cut a seed into the 32-bit words that a RandomState takes."""
    words = [seed & 0xFFFFFFFF]
    while seed := seed >> 32:
        words.append(seed & 0xFFFFFFFF)
    return words


STATE = State()

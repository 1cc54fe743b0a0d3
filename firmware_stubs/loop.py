"""The one loop in which everything that a stub process listens to takes its turn.

An :class:`Endpoint` is a ZeroMQ socket, a TCP port with its connections, or a serial line. The loop
polls them all, so that one process can host every instrument of a rack on one bench, in one thread:
no instrument sees another half way through an act.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import zmq

__all__ = ["Endpoint", "run_loop", "signals"]

#: Longest time between two looks at signals and at the end of standard input.
_LOOK_S = 0.05


class Endpoint(Protocol):
    """Something that the loop waits for."""

    def waits(self) -> list[tuple[Any, int]]:
        """Return ZeroMQ sockets or file descriptors, each with ``zmq.POLLIN`` or ``POLLOUT``."""

    def ready(self, what: Any, now_s: float) -> None:
        """Serve one of them; ``what`` is the socket or descriptor that is ready."""

    def due(self, now_s: float) -> None:
        """Do what is due by the clock."""

    def next_s(self, now_s: float) -> float | None:
        """Return when :meth:`due` must be called at the latest; None: whenever."""

    def stopping(self) -> bool:
        """Say whether this endpoint was told to end the process."""

    def close(self) -> None:
        """Release everything; safe to call twice."""


def run_loop(
    endpoints: Sequence[Endpoint],
    ended: Callable[[], int | None],
    until_eof: bool,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Serve until ``ended`` has an exit code, an endpoint stops, or standard input is closed.

    Times that endpoints see are seconds since this call.
    """
    start = clock()
    while True:
        now = clock() - start
        code = ended()
        if code is not None:
            return code
        for endpoint in endpoints:
            endpoint.due(now)
        if any(endpoint.stopping() for endpoint in endpoints) or (until_eof and _at_eof()):
            return 0
        owners: dict[Any, Endpoint] = {}
        poller = zmq.Poller()
        for endpoint in endpoints:
            for what, events in endpoint.waits():
                poller.register(what, events)
                owners[what] = endpoint
        for what, _ in poller.poll(_patience_ms(endpoints, now)):
            owners[what].ready(what, clock() - start)


def _patience_ms(endpoints: Sequence[Endpoint], now: float) -> int:
    times = [endpoint.next_s(now) for endpoint in endpoints]
    first = min((t for t in times if t is not None), default=now + _LOOK_S)
    return max(0, int(min(_LOOK_S, first - now) * 1e3 + 0.999))


@contextmanager
def signals() -> Iterator[Callable[[], int | None]]:
    """Turn SIGINT and SIGTERM into an exit code that the loop asks for."""
    codes: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        codes.append(130 if number == signal.SIGINT else 0)

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: codes[0] if codes else None
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _at_eof() -> bool:
    """Say whether standard input was closed by whoever started us; input itself is thrown away."""
    ready, _, _ = select.select([sys.stdin], [], [], 0.0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 4096)

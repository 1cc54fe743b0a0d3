"""The driver under test: how it is opened, what may be done to it, and how it is disturbed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from backends.drivers.opening import begin, end
from backends.drivers.session_lines import RecordedRequester, RecordedStream
from backends.drivers.sessions import expand
from backends.drivers.streams import Stream
from backends.drivers.zmq_scpi import Asks

__all__ = ["Listener", "Subject", "Trouble"]


class Trouble(Protocol):
    """What a stub can be told to do, and an instrument cannot."""

    def silence(self) -> None:
        """Answer nothing until :meth:`heal`."""

    def garbage(self) -> None:
        """Answer the next question with other bytes."""

    def late(self, seconds: float) -> None:
        """Answer the next question so late."""

    def power_cycle(self) -> None:
        """Lose all connections and settings."""

    def heal(self) -> None:
        """Be healthy again."""


@dataclass
class Listener:
    """Counts what a driver sends to some addresses: a session of drivers' openings."""

    addresses: set[str]
    sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def owns(self, address: str) -> bool:
        """Whether an address is listened to."""
        return address.partition("?")[0] in self.addresses

    def stream(
        self, address: str, timeout_s: float, real: Callable[[str, float], Stream]
    ) -> Stream:
        """Open a stream and listen in."""
        return RecordedStream(real(address, timeout_s), "", self._note)

    def requester(self, address: str, timeout_s: float, real: Callable[[str, float], Asks]) -> Asks:
        """Open a connection for questions and listen in."""
        return RecordedRequester(real(address, timeout_s), "", self._note)

    def _note(self, kind: str, channel: str, **fields: Any) -> None:
        with self._lock:
            self.sent += kind in ("send", "ask")


@dataclass
class Subject:
    """A driver class on an address.

    ``driver`` takes the address and ``timeout_s``. ``acts`` allows checks that move, switch or bias
    something. ``trouble`` is there where the instrument is a stub of ours. ``ports`` are two
    connections that an optical switch may make, input to output.
    """

    driver: Callable[..., Any]
    address: str
    acts: bool = False
    trouble: Trouble | None = None
    ports: tuple[tuple[int, int], tuple[int, int]] = ((1, 17), (2, 18))
    settings: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def opened(self, timeout_s: float = 2.0) -> Iterator[Any]:
        """Open the driver for a block."""
        driver = self.open(timeout_s)
        try:
            yield driver
        finally:
            driver.close()

    def open(self, timeout_s: float = 2.0) -> Any:
        """Open the driver."""
        return self.driver(self.address, timeout_s=timeout_s, **self.settings)

    @contextmanager
    def heard(self) -> Iterator[Listener]:
        """Listen to what is sent to the address, of drivers that are opened in the block."""
        listener = Listener(expand(self.address))
        begin(listener)
        try:
            yield listener
        finally:
            end(listener)

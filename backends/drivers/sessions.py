"""Record what drivers say and hear, and let the same drivers run from the recording.

A :class:`Recording` stands between the drivers and their streams, questions, clocks and pauses and
writes all of it down. A :class:`Replay` answers from the file instead: no instrument is needed, no
time passes, and the drivers see the same bytes at the same moments, so they return the same values
with the same dates. The first thing that a driver does differently raises
:class:`quantum.errors.RecordError`, which no driver takes for a failure of its instrument.

Each instrument is a channel of its own: threads may mix as they like, as long as one instrument is
used by one thread at a time, which drivers ask for anyway.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from backends.drivers.opening import begin, end
from backends.drivers.session_file import Event, SessionWriter, read_session
from backends.drivers.session_lines import (
    Channel,
    RecordedRequester,
    RecordedStream,
    ReplayedRequester,
    ReplayedStream,
)
from backends.drivers.streams import Stream
from backends.drivers.zmq_scpi import Asks
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, RecordError

__all__ = ["Recording", "Replay", "Session", "expand"]


def expand(address: str) -> set[str]:
    """Return the addresses that a driver may open for one: a port each, without options, or VISA.

    >>> sorted(expand("tcp://10.0.0.1:12000,12345"))[:2]
    ['tcp://10.0.0.1:12000', 'tcp://10.0.0.1:12345']
    """
    bare = address.partition("?")[0]
    head, _, ports = bare.rpartition(":")
    if "://" not in bare:
        return {bare, f"visa://{bare}"}
    if not bare.startswith("tcp://") or not head.startswith("tcp://"):
        return {bare}
    host = head.removeprefix("tcp://").strip("[]")
    sockets = {f"visa://TCPIP::{host}::{port}::SOCKET" for port in ports.split(",")}
    return {f"{head}:{port}" for port in ports.split(",")} | sockets


class _Session(ABC):
    """What both have in common: which address belongs to which instrument."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def owns(self, address: str) -> bool:
        """Whether an address belongs to an instrument of this session."""
        return address.partition("?")[0] in self._owners

    @abstractmethod
    def instrument(self, name: str, address: str) -> Channel:
        """Say that an address belongs to an instrument; return its clock and its pauses."""

    def time_of(self, name: str) -> Channel:
        """Return the time of something that is no instrument."""
        return self.instrument(name, f"time:{name}")

    def _own(self, name: str, address: str) -> None:
        self._owners |= dict.fromkeys(expand(address), name)

    def _channel(self, address: str) -> str:
        return self._owners[address.partition("?")[0]]


class Recording(_Session):
    """Writes a session to a new file. Close it when the last driver is closed."""

    replays: Literal[False] = False

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._begin_s = clock()
        self._file = SessionWriter(path, datetime.now(UTC).isoformat(timespec="seconds"))
        begin(self)

    def instrument(self, name: str, address: str) -> Channel:
        """Say that an address belongs to an instrument; return its clock and its pauses."""
        self._own(name, address)
        self.note("instrument", name, where=address)
        return Channel(name, lambda: self._time(name), lambda s: self._pause(name, s))

    def stream(
        self, address: str, timeout_s: float, real: Callable[[str, float], Stream]
    ) -> Stream:
        """Open a stream and listen in."""
        name = self._channel(address)
        try:
            stream = real(address, timeout_s)
        except DeviceError as wrong:
            self.note("open", name, where=address, error=type(wrong).__name__, said=str(wrong))
            raise
        self.note("open", name, where=address)
        return RecordedStream(stream, name, self.note)

    def requester(self, address: str, timeout_s: float, real: Callable[[str, float], Asks]) -> Asks:
        """Open a connection for questions and listen in."""
        name = self._channel(address)
        try:
            wire = real(address, timeout_s)
        except DeviceError as wrong:
            self.note("open", name, where=address, error=type(wrong).__name__, said=str(wrong))
            raise
        self.note("open", name, where=address)
        return RecordedRequester(wire, name, self.note)

    def note(self, kind: str, channel: str, **fields: Any) -> None:
        """Write one event down."""
        with self._lock:
            at_s = self._clock() - self._begin_s
            self._file.write(Event(self._file.count, kind, channel, at_s, **fields))

    def close(self) -> None:
        """End the file; safe to call twice."""
        end(self)
        with self._lock:
            self._file.close(self._clock() - self._begin_s)

    def _time(self, channel: str) -> float:
        value = self._clock()
        self.note("clock", channel, value=value)
        return value

    def _pause(self, channel: str, seconds: float) -> None:
        self.note("sleep", channel, value=seconds)
        self._sleep(seconds)


class Replay(_Session):
    """Answers from a recorded file. :meth:`finish` tells whether all of it was used."""

    replays: Literal[True] = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        events, self.complete = read_session(path)
        self.path = path
        self._left: dict[str, deque[Event]] = {}
        self._addresses: dict[str, str] = {}
        for event in events:
            if event.kind == "instrument":
                self._own(event.channel, event.where)
                self._addresses[event.channel] = event.where
            else:
                self._left.setdefault(event.channel, deque()).append(event)
        begin(self)

    def address_of(self, name: str) -> str:
        """Return the address that an instrument had."""
        if name not in self._addresses:
            known = ", ".join(sorted(self._addresses)) or "none"
            raise RecordError(f"{self.path}: no instrument {name!r} was recorded; known: {known}")
        return self._addresses[name]

    def instrument(self, name: str, address: str) -> Channel:
        """Return the recorded clock of an instrument, and pauses that take no time."""
        if expand(address) != expand(self.address_of(name)):
            raise RecordError(
                f"{self.path}: {name} was recorded at {self.address_of(name)}, not at {address}"
            )
        return Channel(name, lambda: self._time(name), lambda s: self._pause(name, s))

    def stream(
        self, address: str, timeout_s: float, real: Callable[[str, float], Stream]
    ) -> Stream:
        """Open the recorded stream, or fail as it failed."""
        name = self._channel(address)
        self.next("open", name, f"opens {address}", where=address)
        return ReplayedStream(address, name, self)

    def requester(self, address: str, timeout_s: float, real: Callable[[str, float], Asks]) -> Asks:
        """Open the recorded connection for questions."""
        name = self._channel(address)
        self.next("open", name, f"opens {address}", where=address)
        return ReplayedRequester(address, name, self)

    def next(self, kind: str, channel: str, does: str, **fields: Any) -> Event:
        """Return what came of the next act of an instrument's driver, or raise what it raised.

        ``fields`` must be as recorded. Raises :class:`RecordError` where the driver does something
        else than it did.
        """
        left = self._left.get(channel)
        if not left:
            raise RecordError(f"{self.path}: the recording of {channel} is over, the driver {does}")
        event = left[0]
        if event.kind != kind:
            raise RecordError(
                f"{self.path}, event {event.n}: the driver of {channel} {does}, recorded is "
                f"{event.kind} {event.data[:60]!r}"
            )
        for name, value in fields.items():
            recorded = getattr(event, name)
            if recorded != value:
                raise RecordError(
                    f"{self.path}, event {event.n}: the driver of {channel} {does}: "
                    + _difference(name, recorded, value)
                )
        left.popleft()
        if event.error:
            raise _ERRORS.get(event.error, DeviceError)(event.said)
        return event

    def finish(self) -> None:
        """Raise :class:`RecordError` where something that was recorded did not happen again."""
        for channel, left in self._left.items():
            # A driver that is closed reads no clock any more; whatever else is left is missing.
            if any(event.kind not in ("clock", "sleep", "close") for event in left):
                raise RecordError(
                    f"{self.path}: {len(left)} recorded events of {channel} did not happen, from "
                    f"event {left[0].n} ({left[0].kind}) on"
                )

    def close(self) -> None:
        """Answer no more; safe to call twice."""
        end(self)

    def _time(self, channel: str) -> float:
        value = self.next("clock", channel, "reads the clock").value
        assert value is not None
        return value

    def _pause(self, channel: str, seconds: float) -> None:
        self.next("sleep", channel, f"sleeps {seconds:g} s", value=seconds)


_ERRORS: dict[str, type[DeviceError]] = {
    kind.__name__: kind for kind in (DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout)
}


def _difference(name: str, recorded: object, now: object) -> str:
    """Say where two values part, by the first byte that differs where they are texts."""
    if not isinstance(recorded, str) or not isinstance(now, str) or name == "where":
        return f"recorded {recorded!r}, now {now!r}"
    place = next(
        (n for n, (a, b) in enumerate(zip(recorded, now, strict=False)) if a != b),
        min(len(recorded), len(now)),
    )
    begin = max(0, place - 20)
    return (
        f"byte {place} differs, recorded {recorded[begin : place + 20]!r}, "
        f"now {now[begin : place + 20]!r}"
    )


#: What instruments may be opened through.
Session = Recording | Replay

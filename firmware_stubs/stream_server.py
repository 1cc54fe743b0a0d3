"""TCP ports of streaming instruments, their control messages, and how one stub of them is run.

A :class:`Station` is an instrument with all its ports. A :class:`TcpPort` is an endpoint of
:mod:`firmware_stubs.loop`, so ports of many stations can share one process, one loop and one bench.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import zmq

from firmware_stubs.control import Clear, Inject, Message, PowerCycle, State, Stop, Truth
from firmware_stubs.loop import Endpoint, run_loop, signals
from firmware_stubs.server import Control, StubOptions, announce
from firmware_stubs.stream_connection import (
    Connection,
    SocketCarrier,
    StreamDevice,
    StreamFactory,
)
from firmware_stubs.stream_faults import StreamFault, StreamFaults
from quantum.errors import InputError

__all__ = ["Station", "TcpPort", "act", "address_of", "check_events", "places", "run_station"]

#: While connections are open, unsolicited bytes of devices that do not say when are looked for.
_TICK_S = 0.01


@dataclass
class Station:
    """An instrument and the lines on which it talks, one port each.

    ``ports`` are the port numbers that real ones use. ``truth`` is what only tests may know.
    ``tick`` lets the instrument act by itself and returns when it must be called again.
    """

    kind: str
    lines: Sequence[StreamDevice | StreamFactory]
    ports: Sequence[int]
    faults: StreamFaults
    truth: Callable[[float], dict[str, Any]] = lambda _: {}
    tick: Callable[[float], float | None] = lambda _: None
    off_until_s: float = 0.0
    endpoints: "list[Port]" = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Return the settings of all lines."""
        settings: dict[str, Any] = {}
        for line in self.lines:
            settings |= line.state()
        return settings

    def power_cycle(self, now_s: float, off_s: float) -> None:
        """Cut the power for ``off_s`` seconds: connections break, settings are lost."""
        self.off_until_s = now_s + off_s
        for endpoint in self.endpoints:
            endpoint.drop_all(now_s)
        for line in self.lines:
            line.power_cycle(now_s)


class Port(Protocol):
    """A line of a station, whatever carries it."""

    host: str
    port: int

    def drop_all(self, now_s: float) -> None:
        """The power is cut: break what is under way."""


class TcpPort:
    """One listening port and its connections."""

    def __init__(self, station: Station, line: int, host: str, port: int) -> None:
        self._station = station
        self._line = line
        self._device = station.lines[line]
        self._connections: dict[int, Connection] = {}
        self._listener: socket.socket | None = None
        self._tick_s: float | None = None
        self.host, self.port = host, port
        self.listen()
        station.endpoints.append(self)

    def listen(self) -> None:
        """Open the port, or raise :class:`InputError`."""
        where = f"{self.host}:{self.port}"
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, self.port))
            made.listen(16)
        except OSError as wrong:
            made.close()
            raise InputError(f"cannot bind {where}: {wrong.strerror or wrong}") from wrong
        made.setblocking(False)
        self.port = made.getsockname()[1]
        self._listener = made

    def waits(self) -> list[tuple[Any, int]]:
        """Wait for connections and bytes; a half-open port waits for nothing."""
        if self._station.faults.port("half_open", self._line):
            return []
        waiting: list[tuple[Any, int]] = []
        if self._listener is not None:
            waiting.append((self._listener.fileno(), zmq.POLLIN))
        for number, connection in self._connections.items():
            out = zmq.POLLOUT if connection.wants_to_write else 0
            waiting.append((number, zmq.POLLIN | out))
        return waiting

    def ready(self, what: Any, now_s: float) -> None:
        """Accept a connection, or move its bytes."""
        if self._listener is not None and what == self._listener.fileno():
            self._accept(now_s)
            return
        connection = self._connections.get(what)
        if connection is not None:
            connection.flush(now_s)
            if connection.open:
                connection.readable(now_s)
            self._forget()

    def due(self, now_s: float) -> None:
        """Send what is due; close or open the port as faults and power say."""
        faults = self._station.faults
        if self._line == 0:
            self._tick_s = self._station.tick(now_s)
        shut = faults.port("refuse", self._line) or now_s < self._station.off_until_s
        if shut and self._listener is not None:
            self._listener.close()
            self._listener = None
            self.drop_all(now_s)
        elif not shut and self._listener is None:
            self.listen()
        if not faults.port("half_open", self._line):
            for connection in self._connections.values():
                connection.due(now_s)
            self._forget()

    def next_s(self, now_s: float) -> float | None:
        """Return when something is due."""
        if not self._connections or self._station.faults.port("half_open", self._line):
            return self._tick_s
        times = [connection.next_s(now_s) for connection in self._connections.values()]
        return min([t for t in (*times, self._tick_s) if t is not None], default=now_s + _TICK_S)

    def stopping(self) -> bool:
        """An instrument never ends the process."""
        return False

    def drop_all(self, now_s: float) -> None:
        """Reset every connection."""
        for connection in self._connections.values():
            connection.end(now_s, reset=True)
        self._connections.clear()

    def close(self) -> None:
        """Close the port and its connections; safe to call twice."""
        for connection in self._connections.values():
            connection.end(0.0)
        self._connections.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, now_s: float) -> None:
        assert self._listener is not None
        try:
            made, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= self._device.clients:
            # The one before may have left already, without our having noticed.
            for connection in list(self._connections.values()):
                connection.readable(now_s)
            self._forget()
        if len(self._connections) >= self._device.clients:
            made.close()
            return
        factory = self._device
        device = factory.connection() if isinstance(factory, StreamFactory) else factory
        carrier = SocketCarrier(made)
        connection = Connection(carrier, device, self._station.faults, self._line, now_s)
        if connection.open:
            self._connections[carrier.fileno()] = connection

    def _forget(self) -> None:
        over = [number for number, c in self._connections.items() if not c.open]
        for number in over:
            del self._connections[number]


def act(station: Station, message: Message, now_s: float) -> dict[str, Any]:
    """Carry out a control message on a station; return the answer's fields."""
    match message:
        case Inject():
            station.faults.inject(_fault(message))
        case Clear():
            station.faults.clear()
        case PowerCycle(off_s):
            station.power_cycle(now_s, off_s)
        case State():
            kinds = [fault.kind for fault in station.faults.active]
            return {"settings": station.state(), "faults": kinds}
        case Truth():
            return station.truth(now_s)
        case Stop():
            return {"stopping": True}
        case _:
            raise InputError(f"{station.kind} alone has no source of light to change")
    return {}


def check_events(station: Station, messages: Sequence[Message]) -> None:
    """Refuse at the start what would fail later: events of a scenario that make no sense."""
    trial = StreamFaults(station.faults.own)
    for message in messages:
        if isinstance(message, Inject):
            trial.inject(_fault(message))
        elif not isinstance(message, Clear | PowerCycle | State | Truth | Stop):
            raise InputError(f"{station.kind} alone has no source of light to change")


def _fault(message: Inject) -> StreamFault:
    return StreamFault(
        kind=message.kind,
        left=message.left,
        late_s=message.late_s,
        match=message.match,
        size=message.size,
        number=message.number,
        line=message.line,
    )


def places(where: str, ports: Sequence[int]) -> list[tuple[str, int]]:
    """Return host and port of each line from ``HOST:PORT[,PORT...]``.

    Ports that are not named are free ones where the first is 0, else those of the real instrument.

    >>> places("127.0.0.1:0", (12000, 12345)), places("127.0.0.1:12000", (12000, 12345))
    ([('127.0.0.1', 0), ('127.0.0.1', 0)], [('127.0.0.1', 12000), ('127.0.0.1', 12345)])
    """
    host, _, text = where.rpartition(":")
    given = text.split(",")
    if not host or len(given) > len(ports) or not all(t.isascii() and t.isdigit() for t in given):
        raise InputError(f"cannot bind {where}: HOST:PORT with {len(ports)} port(s) at most")
    numbers = [int(t) for t in given]
    rest = [0 if numbers[0] == 0 else port for port in ports[len(numbers) :]]
    if any(number > 65535 for number in numbers):
        raise InputError(f"cannot bind {where}: the port must be 0 to 65535")
    return [(host.strip("[]"), number) for number in [*numbers, *rest]]


def address_of(station: Station) -> str:
    """Return the address as drivers take it: ``tcp://HOST:PORT[,PORT...]``."""
    first = station.endpoints[0]
    host = f"[{first.host}]" if ":" in first.host else first.host
    return f"tcp://{host}:" + ",".join(str(endpoint.port) for endpoint in station.endpoints)


def run_station(station: Station, options: StubOptions) -> int:
    """Serve one instrument over TCP until a signal, the end of standard input or a stop message.

    Returns 130 after SIGINT, else 0. Raises :class:`InputError` where an address cannot be bound.
    """
    check_events(station, [event.message for event in options.events])
    opened: list[Endpoint] = []
    try:
        for line, (host, port) in enumerate(places(options.bind, station.ports)):
            opened.append(TcpPort(station, line, host, port))
        control = Control(options.control, lambda m, now: act(station, m, now), options.events)
        opened.append(control)
        with signals() as ended:
            announce(options, address_of(station), control.address)
            return run_loop(opened, ended, options.until_eof)
    finally:
        for endpoint in opened:
            endpoint.close()

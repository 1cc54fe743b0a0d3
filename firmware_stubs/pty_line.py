"""A pseudo-terminal as the serial line of a stub: the driver opens it like any serial device.

The stub keeps both ends open. So a client may close the line and open it again and finds the
instrument as it was, as with a USB adapter that stays plugged in; and when the stub ends, the
client's end hangs up, as with one that is pulled out.

Nobody tells the instrument that a client came or went, so a :class:`PtyPort` has one connection for
as long as the stub lives. A fault that breaks the connection pulls the plug: the line is gone.
"""

import os
import pty
import tty
from typing import Any

import zmq

from firmware_stubs.loop import Endpoint, run_loop, signals
from firmware_stubs.server import Control, StubOptions, announce
from firmware_stubs.stream_connection import Connection, StreamDevice
from firmware_stubs.stream_server import Station, act, check_events

__all__ = ["PtyCarrier", "PtyPort", "run_serial_station"]

#: While nothing says when, unsolicited bytes and moving parts are looked after.
_TICK_S = 0.01


class PtyCarrier:
    """The instrument's end of a line; ``address`` is for the client."""

    def __init__(self) -> None:
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.address = f"serial://{os.ttyname(self._theirs)}"

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._ours

    def read(self, limit: int) -> bytes | None:
        """Return what has arrived; None where nothing has."""
        try:
            return os.read(self._ours, limit)
        except BlockingIOError:
            return None

    def write(self, data: bytes) -> int:
        """Send; what a line that nobody reads does not take is lost, as with an adapter."""
        try:
            return os.write(self._ours, data)
        except BlockingIOError:
            return len(data)

    def close(self) -> None:
        """Hang up; safe to call twice."""
        if self._ours >= 0:
            os.close(self._ours)
            os.close(self._theirs)
            self._ours = self._theirs = -1

    def reset(self) -> None:
        """Hang up: a line knows no other end."""
        self.close()


class PtyPort:
    """The line of a station, as an endpoint of :mod:`firmware_stubs.loop`."""

    def __init__(self, station: Station, line: int = 0) -> None:
        made: Any = station.lines[line]
        device: StreamDevice = made if hasattr(made, "opened") else made.connection()
        self._station, self._device, self._line = station, device, line
        #: A line has a name, not a host and a port.
        self.host, self.port = "", 0
        self._carrier = PtyCarrier()
        self.address = self._carrier.address
        self._connection = Connection(self._carrier, device, station.faults, line, 0.0)
        station.endpoints.append(self)

    def waits(self) -> list[tuple[Any, int]]:
        """Wait for bytes; a line in fault waits for nothing."""
        if not self._connection.open or self._frozen():
            return []
        return [(self._carrier.fileno(), zmq.POLLIN)]

    def ready(self, what: Any, now_s: float) -> None:
        """Take what has arrived; without power it goes nowhere."""
        if now_s < self._station.off_until_s:
            self._carrier.read(4096)
        else:
            self._connection.readable(now_s)

    def due(self, now_s: float) -> None:
        """Send what is due."""
        if self._connection.open and not self._frozen() and now_s >= self._station.off_until_s:
            self._connection.due(now_s)

    def next_s(self, now_s: float) -> float | None:
        """Return when to look again."""
        return now_s + _TICK_S

    def stopping(self) -> bool:
        """An instrument never ends the process."""
        return False

    def drop_all(self, now_s: float) -> None:
        """Half a command is forgotten without power; the adapter keeps the line."""
        self._device.closed(now_s)

    def close(self) -> None:
        """Hang up; safe to call twice."""
        self._connection.end(0.0)

    def _frozen(self) -> bool:
        return self._station.faults.port("half_open", self._line)


def run_serial_station(station: Station, options: StubOptions, line: str) -> int:
    """Serve one instrument on a pty until a signal, the end of standard input or a stop message.

    ``line`` is added to the device's name: what a driver needs to know, such as ``?baud=9600``.
    Returns 130 after SIGINT, else 0.
    """
    check_events(station, [event.message for event in options.events])
    port = PtyPort(station)
    opened: list[Endpoint] = [port]
    try:
        control = Control(options.control, lambda m, now: act(station, m, now), options.events)
        opened.append(control)
        with signals() as ended:
            announce(options, port.address + line, control.address)
            return run_loop(opened, ended, options.until_eof)
    finally:
        for endpoint in opened:
            endpoint.close()

"""ZeroMQ in a stub: the text instrument's own address, and the control address of every stub.

A REP socket must answer each request before it takes the next, so it cannot stay silent. The wire
uses ROUTER and keeps REP's envelope by hand: the client's REQ cannot tell them apart.
"""

import heapq
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
import zmq

from firmware_stubs.bench import Optics
from firmware_stubs.control import Event, Message, Rig, Stop, apply, check_events, decode
from firmware_stubs.faults import FaultPlan, damage
from firmware_stubs.loop import Endpoint, run_loop, signals
from quantum.errors import InputError
from quantum.output import write_json

__all__ = ["Beside", "Control", "Device", "StubOptions", "TextWire", "announce", "run"]

_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class StubOptions:
    """How to run a stub. ``bind`` and ``control`` are ``host:port``; port 0 picks a free one."""

    kind: str
    bind: str = "127.0.0.1:0"
    control: str = "127.0.0.1:0"
    seed: int = 1
    speed: float = 1.0
    optics: Optics = Optics()
    switches: dict[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    json_path: str | None = None
    until_eof: bool = False
    datalink: str = "127.0.0.1:0"
    """Where the time tags of an ID900 are asked for."""
    folder: Path | None = None
    """Below which an instrument may save files."""


class Device(Protocol):
    """An instrument without its socket."""

    def answer(self, frame: str, now_s: float) -> str:
        """Carry out a frame at a time since power-on and return the reply."""

    def state(self) -> dict[str, Any]:
        """Return the settings, for the control socket."""


class Beside(Endpoint, Protocol):
    """What an instrument offers at another address of its own."""

    name: str
    address: str


def run(device: Device, rig: Rig, options: StubOptions, beside: Sequence[Beside] = ()) -> int:
    """Serve a device until a signal, the end of standard input or a stop message.

    Returns 130 after SIGINT, else 0. Raises :class:`InputError` where an address cannot be bound.
    """

    def act(message: Message, now_s: float) -> dict[str, Any]:
        return apply(message, rig, now_s, device.state)

    check_events(options.events)
    wire = TextWire(device, rig.faults, options.bind)
    try:
        control = Control(options.control, act, options.events)
        try:
            with signals() as ended:
                announce(options, wire.address, control.address, beside)
                return run_loop([*beside, wire, control], ended, options.until_eof)
        finally:
            control.close()
    finally:
        wire.close()


def announce(
    options: StubOptions, address: str, control: str, beside: Sequence[Beside] = ()
) -> None:
    """Write the first line of a stub, from which others learn where it listens."""
    if options.json_path != "-":
        more = "".join(f" {endpoint.name} {endpoint.address}" for endpoint in beside)
        click.echo(f"{options.kind} {address} control {control}{more}")
        sys.stdout.flush()
    said = {"kind": options.kind, "address": address, "control": control, "seed": options.seed}
    write_json(said | {e.name: e.address for e in beside}, options.json_path)


class _Bound:
    """A ZeroMQ socket at an address, with its context."""

    def __init__(self, kind: int, where: str) -> None:
        port = where.rpartition(":")[2]
        if not port.isdigit() or int(port) > 65535:
            raise InputError(f"cannot bind {where}: the port must be 0 to 65535")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, _MAX_BYTES)
        try:
            self.socket.bind(f"tcp://{where}")
        except zmq.ZMQError as wrong:
            self.close()
            raise InputError(f"cannot bind {where}: {zmq.strerror(wrong.errno or 0)}") from wrong
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        self.socket.close()
        self._context.term()


class TextWire:
    """The address of an instrument that answers one text frame to one text frame."""

    def __init__(self, device: Device, faults: FaultPlan, where: str) -> None:
        self._device = device
        self._faults = faults
        self._bound = _Bound(zmq.ROUTER, where)
        self._late: list[tuple[float, int, list[bytes]]] = []
        self._serial = 0
        self.address = self._bound.address

    def waits(self) -> list[tuple[Any, int]]:
        """Wait for requests."""
        return [(self._bound.socket, zmq.POLLIN)]

    def ready(self, what: Any, now_s: float) -> None:
        """Answer one request, as the faults in force allow."""
        frames = self._bound.socket.recv_multipart()
        if len(frames) != 3 or frames[1]:
            return
        text = frames[2].decode("utf-8", errors="replace")
        fault = self._faults.take(text)
        reply = damage(self._device.answer(text, now_s), fault)
        if not reply:
            return
        envelope = [frames[0], b"", *reply]
        if fault is not None and fault.kind == "late_reply":
            self._serial += 1
            heapq.heappush(self._late, (now_s + fault.late_s, self._serial, envelope))
        else:
            self._bound.socket.send_multipart(envelope)

    def due(self, now_s: float) -> None:
        """Send the answers that were held back until now."""
        while self._late and self._late[0][0] <= now_s:
            self._bound.socket.send_multipart(heapq.heappop(self._late)[2])

    def next_s(self, now_s: float) -> float | None:
        """Return when the next late answer leaves."""
        return self._late[0][0] if self._late else None

    def stopping(self) -> bool:
        """An instrument never ends the process."""
        return False

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._bound.close()


class Control:
    """The out-of-band address of a stub: carries out messages at once, and events in time.

    ``act`` does what a message says and returns the fields of the answer, or raises
    :class:`InputError`.
    """

    def __init__(
        self,
        where: str,
        act: Callable[[Any, float], dict[str, Any]],
        events: tuple[Any, ...] = (),
        read: Callable[[bytes], Any] = decode,
    ) -> None:
        self._act = act
        self._read = read
        self._events = sorted(events, key=lambda event: event.at_s)
        self._stopping = False
        self._bound = _Bound(zmq.REP, where)
        self.address = self._bound.address

    def waits(self) -> list[tuple[Any, int]]:
        """Wait for messages."""
        return [(self._bound.socket, zmq.POLLIN)]

    def ready(self, what: Any, now_s: float) -> None:
        """Carry out one message and answer it."""
        body = self._bound.socket.recv()
        try:
            message = self._read(body)
            answer = {"ok": True} | self._act(message, now_s)
            self._stopping = self._stopping or isinstance(message, Stop)
        except InputError as wrong:
            text = str(wrong)
            named = text if text.startswith("control message") else f"control message: {text}"
            answer = {"ok": False, "error": named}
        self._bound.socket.send(msgspec.json.encode(answer))

    def due(self, now_s: float) -> None:
        """Carry out the events whose time has come."""
        while self._events and self._events[0].at_s <= now_s:
            message = self._events.pop(0).message
            self._act(message, now_s)
            self._stopping = self._stopping or isinstance(message, Stop)

    def next_s(self, now_s: float) -> float | None:
        """Return the time of the next event."""
        return self._events[0].at_s if self._events else None

    def stopping(self) -> bool:
        """Say whether a stop message came."""
        return self._stopping

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._bound.close()

"""The socket loop of a stub: the instrument's address, the control address, faults and the end.

A REP socket must answer each request before it takes the next, so it cannot stay silent. The loop
uses ROUTER and keeps REP's envelope by hand: the client's REQ cannot tell them apart.
"""

import heapq
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import click
import msgspec
import zmq

from firmware_stubs.bench import Optics
from firmware_stubs.control import Event, Rig, Stop, apply, decode
from firmware_stubs.faults import damage
from quantum.errors import InputError
from quantum.output import write_json

__all__ = ["Device", "SideService", "StubOptions", "run"]

#: Longest time between two looks at signals and at the end of standard input.
_LOOK_MS = 50
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


class SideService(Protocol):
    """What an instrument offers beside its own address, in the same loop."""

    name: str

    @property
    def patience_ms(self) -> int:
        """The longest time until :meth:`turn` must be called again."""

    def open(self, context: zmq.Context[zmq.Socket[bytes]]) -> str:
        """Bind, and return the address."""

    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Return what to wait for."""

    def turn(self, now_s: float) -> None:
        """Do all that can be done without waiting."""

    def close(self) -> None:
        """Release every socket."""


def run(device: Device, rig: Rig, options: StubOptions, side: SideService | None = None) -> int:
    """Serve a device until a signal, the end of standard input or a stop message.

    Returns 130 after SIGINT, else 0. Raises :class:`InputError` where an address cannot be bound.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        with (
            _bound(context, zmq.ROUTER, options.bind) as (wire, address),
            _bound(context, zmq.REP, options.control) as (control, control_address),
            _signals() as ended,
        ):
            beside = "" if side is None else f" {side.name} {side.open(context)}"
            _announce(options, address, control_address, beside)
            events = sorted(options.events, key=lambda event: event.at_s)
            return _Loop(device, rig, wire, control, events, side).run(ended, options.until_eof)
    finally:
        if side is not None:
            side.close()
        context.term()


def _announce(options: StubOptions, address: str, control: str, beside: str) -> None:
    if options.json_path != "-":
        click.echo(f"{options.kind} {address} control {control}{beside}")
        sys.stdout.flush()
    said = {"kind": options.kind, "address": address, "control": control, "seed": options.seed}
    name, _, where = beside.strip().partition(" ")
    write_json({**said, name: where} if name else said, options.json_path)


@contextmanager
def _bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, where: str
) -> Iterator[tuple[zmq.Socket[bytes], str]]:
    port = where.rpartition(":")[2]
    if not port.isdigit() or int(port) > 65535:
        raise InputError(f"cannot bind {where}: the port must be 0 to 65535")
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, _MAX_BYTES)
    try:
        try:
            socket.bind(f"tcp://{where}")
        except zmq.ZMQError as wrong:
            raise InputError(f"cannot bind {where}: {zmq.strerror(wrong.errno or 0)}") from wrong
        yield socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)
    finally:
        socket.close()


@contextmanager
def _signals() -> Iterator[Callable[[], int | None]]:
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


@dataclass
class _Loop:
    device: Device
    rig: Rig
    wire: zmq.Socket[bytes]
    control: zmq.Socket[bytes]
    events: list[Event]
    side: SideService | None = None
    _late: list[tuple[float, int, list[bytes]]] = field(default_factory=list)
    _serial: int = 0
    _stopping: bool = False

    def run(self, ended: Callable[[], int | None], until_eof: bool) -> int:
        start = time.monotonic()
        poller = zmq.Poller()
        poller.register(self.wire, zmq.POLLIN)
        poller.register(self.control, zmq.POLLIN)
        while True:
            now = time.monotonic() - start
            code = ended()
            if code is not None:
                return code
            if self._stopping or (until_eof and _at_eof()):
                return 0
            self._due(now)
            ready = self._wait(poller, now)
            now = time.monotonic() - start
            if self.side is not None:
                self.side.turn(now)
            if self.control in ready:
                self._control(now)
            if self.wire in ready:
                self._wire(now)

    def _wait(self, poller: zmq.Poller, now: float) -> dict[Any, int]:
        patience = self._patience_ms(now)
        if self.side is None:
            return dict(poller.poll(patience))
        beside = self.side.sockets()
        for socket in beside:
            poller.register(socket, zmq.POLLIN)
        ready = dict(poller.poll(min(patience, self.side.patience_ms)))
        for socket in beside:
            poller.unregister(socket)
        return ready

    def _patience_ms(self, now: float) -> int:
        waiting = [self._late[0][0]] if self._late else []
        waiting += [self.events[0].at_s] if self.events else []
        if not waiting:
            return _LOOK_MS
        return max(0, min(_LOOK_MS, int((min(waiting) - now) * 1e3) + 1))

    def _due(self, now: float) -> None:
        while self._late and self._late[0][0] <= now:
            self.wire.send_multipart(heapq.heappop(self._late)[2])
        while self.events and self.events[0].at_s <= now:
            message = self.events.pop(0).message
            apply(message, self.rig, now, self.device.state)
            self._stopping = self._stopping or isinstance(message, Stop)

    def _wire(self, now: float) -> None:
        frames = self.wire.recv_multipart()
        if len(frames) != 3 or frames[1]:
            return
        text = frames[2].decode("utf-8", errors="replace")
        fault = self.rig.faults.take(text)
        reply = damage(self.device.answer(text, now), fault)
        if not reply:
            return
        envelope = [frames[0], b"", *reply]
        if fault is not None and fault.kind == "late_reply":
            self._serial += 1
            heapq.heappush(self._late, (now + fault.late_s, self._serial, envelope))
        else:
            self.wire.send_multipart(envelope)

    def _control(self, now: float) -> None:
        body = self.control.recv()
        try:
            message = decode(body)
            answer = {"ok": True} | apply(message, self.rig, now, self.device.state)
            self._stopping = isinstance(message, Stop)
        except InputError as wrong:
            answer = {"ok": False, "error": str(wrong)}
        self.control.send(msgspec.json.encode(answer))


def _at_eof() -> bool:
    """Say whether standard input was closed by whoever started us; input itself is thrown away."""
    ready, _, _ = select.select([sys.stdin], [], [], 0.0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 4096)

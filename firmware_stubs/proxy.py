"""A proxy between a client and a real instrument that writes down all that passes.

For instruments of frames (ID900) it is a ROUTER in front and a REQ behind; for TCP a listening port
for each port of the instrument, and a connection behind for each in front; for serial lines a pty
in front. Nothing is changed on the way. What passes is handed to a :class:`Scribe` at once, so a
proxy that is killed has lost nothing.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import zmq

from firmware_stubs.transcript import encode_bytes
from quantum.errors import InputError

__all__ = ["Scribe", "run_frames", "run_line", "run_ports"]

_CHUNK = 64 * 1024
_LOOK_S = 0.05
_CONNECT_S = 5.0
Ended = Callable[[], bool]


class Scribe:
    """Writes a transcript; pieces that pass in a row in one direction become one line."""

    def __init__(
        self, kind: str, out: IO[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kind, self._out, self._clock = kind, out, clock
        self._begin_s = clock()
        self._held: tuple[str, int, int, float] | None = None
        self._bytes = b""
        self.messages = 0

    def head(self, address: str, made: str, identity: str) -> None:
        """Say where the transcript comes from."""
        self._out.write(f"# recorded: {made} from {address}, kind {self._kind}\n")
        if identity:
            self._out.write(f"# identity: {encode_bytes('', identity.encode())}\n")
        self._out.write("\n== recorded\n")
        self._out.write(f"# source: recorded from {address} at {made}\n")
        self._out.flush()

    def note(self, to_instrument: bool, data: bytes, connection: int = 0, line: int = 0) -> None:
        """Write down what passed."""
        mark = ">" if to_instrument else "<"
        held = self._held
        # Frames are whole; bytes of a stream are a turn until the other side speaks.
        whole = self._kind == "id900"
        if held is not None and (whole or held[:3] != (mark, connection, line)):
            self.flush()
            held = None
        if held is None:
            self._held = (mark, connection, line, self._clock() - self._begin_s)
            self._bytes = b""
        self._bytes += data

    def flush(self) -> None:
        """Write what is held back."""
        if self._held is None:
            return
        mark, connection, line, at_s = self._held
        self._out.write(f"# t={at_s:.6f} connection={connection} line={line}\n")
        text = encode_bytes(self._kind, self._bytes)
        self._out.write(f"{mark} {text}\n" if text else f"{mark}\n")
        self._out.flush()
        self._held = None
        self.messages += 1


def run_frames(
    address: str, bind: str, scribe: Scribe, ended: Ended, ready: Callable[[str], None]
) -> None:
    """Stand between a ZeroMQ client and an instrument that answers a frame to a frame."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as front:
        front.setsockopt(zmq.LINGER, 0)
        front.bind(f"tcp://{bind}")
        back = _request(context, address)
        ready(front.getsockopt_string(zmq.LAST_ENDPOINT))
        try:
            while not ended():
                if not front.poll(int(_LOOK_S * 1e3)):
                    scribe.flush()
                    continue
                frames = front.recv_multipart()
                if len(frames) != 3 or frames[1]:
                    continue
                scribe.note(True, frames[2])
                back.send(frames[2])
                until = time.monotonic() + _CONNECT_S
                while not back.poll(int(_LOOK_S * 1e3)):
                    if ended() or time.monotonic() > until:
                        break
                else:
                    answer = back.recv_multipart()
                    scribe.note(False, b"".join(answer))
                    front.send_multipart([*frames[:2], *answer])
                    continue
                # No answer: the client sees none either, and REQ needs a new socket.
                back.close()
                back = _request(context, address)
        finally:
            scribe.flush()
            back.close()


def _request(context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> zmq.Socket[bytes]:
    back = context.socket(zmq.REQ)
    back.setsockopt(zmq.LINGER, 0)
    back.connect(address)
    return back


def run_ports(
    host: str,
    ports: list[int],
    bind_host: str,
    scribe: Scribe,
    ended: Ended,
    ready: Callable[[str], None],
) -> None:
    """Stand between TCP clients and an instrument, with a listening port for each of its ports."""
    listeners = [socket.create_server((bind_host, 0)) for _ in ports]
    pairs: dict[socket.socket, tuple[socket.socket, bool, int, int]] = {}
    count = 0
    try:
        named = ",".join(str(one.getsockname()[1]) for one in listeners)
        ready(f"tcp://{bind_host}:{named}")
        while not ended():
            readable, _, _ = select.select([*listeners, *pairs], [], [], _LOOK_S)
            if not readable:
                scribe.flush()
            for one in readable:
                if one in listeners:
                    line = listeners.index(one)
                    front, _ = one.accept()
                    try:
                        back = socket.create_connection((host, ports[line]), timeout=_CONNECT_S)
                    except OSError:
                        # The client finds nobody, as it would without us.
                        front.close()
                        continue
                    pairs[front] = (back, True, count, line)
                    pairs[back] = (front, False, count, line)
                    count += 1
                elif one in pairs:
                    _pass_on(one, pairs, scribe)
    finally:
        scribe.flush()
        for one in (*listeners, *pairs):
            one.close()


def _pass_on(
    one: socket.socket,
    pairs: dict[socket.socket, tuple[socket.socket, bool, int, int]],
    scribe: Scribe,
) -> None:
    other, to_instrument, connection, line = pairs[one]
    try:
        data = one.recv(_CHUNK)
        if data:
            scribe.note(to_instrument, data, connection, line)
            other.sendall(data)
            return
    except OSError:
        pass
    for each in (one, other):
        pairs.pop(each, None)
        each.close()


def run_line(
    device: Path,
    baud: int,
    rtscts: bool,
    scribe: Scribe,
    ended: Ended,
    ready: Callable[[str], None],
) -> None:
    """Stand between a client and an instrument on a serial line; the client gets a pty."""
    import tty

    back = _serial(device, baud, rtscts)
    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)
        ready(f"serial://{os.ttyname(theirs)}")
        while not ended():
            readable, _, _ = select.select([ours, back.fileno()], [], [], _LOOK_S)
            if not readable:
                scribe.flush()
            if ours in readable:
                data = os.read(ours, _CHUNK)
                scribe.note(True, data)
                back.write(data)
            if back.fileno() in readable:
                data = back.read(max(1, back.in_waiting))
                if data:
                    scribe.note(False, data)
                    os.write(ours, data)
    except OSError as wrong:
        raise InputError(f"{device}: the line is gone: {wrong}") from wrong
    finally:
        scribe.flush()
        back.close()
        os.close(ours)
        os.close(theirs)


def _serial(device: Path, baud: int, rtscts: bool) -> Any:
    import serial

    try:
        return serial.Serial(str(device), baud, rtscts=rtscts, timeout=0.0, exclusive=True)
    except OSError as wrong:
        raise InputError(f"cannot open {device}: {wrong}") from wrong

"""Plays the client's side of a transcript against a stub, and tells where the stub answers else."""

import os
import select
import socket
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import zmq

from firmware_stubs.transcript import Turn, same
from quantum.errors import DeviceError

__all__ = ["Comparison", "Difference", "compare"]

_CHUNK = 64 * 1024


class Wire(Protocol):
    """A connection to the stub."""

    def say(self, data: bytes) -> None:
        """Send bytes."""

    def hear(self, size: int, patience_s: float) -> bytes:
        """Return what comes: at least ``size`` bytes where they come in time."""

    def close(self) -> None:
        """Release the connection."""


@dataclass(frozen=True)
class Difference:
    """A turn that the stub answered in another way than the instrument."""

    turn: Turn
    got: bytes


@dataclass(frozen=True)
class Comparison:
    """What came of it; ``skipped`` turns were not said by a client and cannot be asked for."""

    compared: int
    skipped: int
    differences: tuple[Difference, ...]


def compare(
    turns: list[Turn], address: str, *, numbers_free: bool = False, patience_s: float = 1.0
) -> Comparison:
    """Say every turn to the stub at an address and compare its answers.

    Each connection of the transcript is one of ours. ``numbers_free`` takes all numbers as free,
    else those of ``<#`` only. Raises :class:`DeviceError` where the stub cannot be reached.
    """
    spoken = [turn for turn in turns if turn.said]
    heard: list[tuple[Turn, bytes]] = []
    behind: dict[tuple[int, int], int] = {}
    with _Wires(address) as wires:
        for turn in spoken:
            key = (turn.connection, turn.line)
            wire = wires.of(turn)
            wire.say(turn.said)
            # What an instrument says by itself may come a little sooner or later than it did.
            wanted = max(0, behind.get(key, 0) + len(turn.answered))
            got = wire.hear(wanted, patience_s)
            behind[key] = behind.get(key, 0) + len(turn.answered) - len(got)
            heard.append((turn, got))
    differences = []
    for key in behind:
        mine = [one for one in heard if (one[0].connection, one[0].line) == key]
        free = numbers_free or all(turn.free for turn, _ in mine)
        whole = b"".join(turn.answered for turn, _ in mine), b"".join(got for _, got in mine)
        if not same(*whole, free):
            differences += [
                Difference(turn, got)
                for turn, got in mine
                if not same(turn.answered, got, numbers_free or turn.free)
            ]
    differences.sort(key=lambda difference: difference.turn.row)
    return Comparison(len(spoken), len(turns) - len(spoken), tuple(differences))


class _Wires:
    """The connections of a transcript, each opened when it first speaks."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._open: dict[tuple[int, int], Wire] = {}

    def of(self, turn: Turn) -> Wire:
        key = (turn.connection, turn.line)
        if key not in self._open:
            self._open[key] = _wire(self._address, turn)
        return self._open[key]

    def __enter__(self) -> "_Wires":
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._open.values():
            wire.close()


def _wire(address: str, turn: Turn) -> Wire:
    if address.startswith("serial://"):
        return _Line(address.removeprefix("serial://").partition("?")[0])
    host, _, ports = address.removeprefix("tcp://").rpartition(":")
    port = ports.split(",")[turn.line]
    if turn.section.startswith("frames"):
        return _Frames(f"tcp://{host}:{port}")
    return _Socket(host.strip("[]"), int(port))


class _Frames:
    """Frames to a stub that answers each with a frame."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        made = self._context.socket(zmq.REQ)
        made.setsockopt(zmq.LINGER, 0)
        made.connect(self._address)
        return made

    def say(self, data: bytes) -> None:
        self._socket.send(data)

    def hear(self, size: int, patience_s: float) -> bytes:
        if self._socket.poll(int(patience_s * 1e3)):
            return b"".join(self._socket.recv_multipart()).strip()
        # REQ without an answer can never send again.
        self._socket.close()
        self._socket = self._connect()
        return b""

    def close(self) -> None:
        self._socket.close()
        self._context.term()


def _gather(number: int, size: int, patience_s: float) -> Iterator[bytes]:
    """Yield what comes until ``size`` bytes are there and nothing more follows at once."""
    until, had = time.monotonic() + patience_s, 0
    while True:
        left = until - time.monotonic() if had < size else min(0.05, until - time.monotonic())
        ready, _, _ = select.select([number], [], [], max(0.0, left))
        if not ready:
            return
        data = os.read(number, _CHUNK)
        if not data:
            return
        had += len(data)
        yield data


class _Socket:
    """A TCP connection."""

    def __init__(self, host: str, port: int) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout=5.0)
        except OSError as wrong:
            raise DeviceError(f"tcp://{host}:{port}: {wrong.strerror or wrong}") from wrong

    def say(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self, size: int, patience_s: float) -> bytes:
        return b"".join(_gather(self._socket.fileno(), size, patience_s))

    def close(self) -> None:
        self._socket.close()


class _Line:
    """A serial line; ours are ptys, whose speed means nothing."""

    def __init__(self, device: str) -> None:
        try:
            self._number = os.open(device, os.O_RDWR | os.O_NOCTTY)
        except OSError as wrong:
            raise DeviceError(f"{device}: {wrong.strerror}") from wrong
        tty.setraw(self._number)

    def say(self, data: bytes) -> None:
        os.write(self._number, data)

    def hear(self, size: int, patience_s: float) -> bytes:
        return b"".join(_gather(self._number, size, patience_s))

    def close(self) -> None:
        os.close(self._number)


@contextmanager
def own_stub(kind: str, options: list[str]) -> Iterator[str]:
    """Start a stub of ours in a process of its own; give its address and end it afterwards."""
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-m", "firmware_stubs", kind, "--until-eof", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().decode().split()
        if len(words) < 2:
            raise DeviceError(f"the stub {kind} did not start")
        yield words[1]
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

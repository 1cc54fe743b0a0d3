"""What tests of instruments on lines share: transcripts, scripted lines, the control address."""

import os
import pty
import re
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
import zmq

from quantum.errors import DeviceError, DeviceTimeout


def control(address: str, **message: Any) -> dict[str, Any]:
    """Send a control message to a stub; an answer that is not ok fails the test."""
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.setsockopt(zmq.LINGER, 0)
        wire.connect(address)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000), "the control socket does not answer"
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        assert answer["ok"], answer
        return answer


class Turn(NamedTuple):
    """What the host says, and all that the instrument sends until the host speaks again."""

    source: str
    said: bytes
    answered: bytes


def turns(kind: str, section: str) -> list[Turn]:
    """Read a section of a golden transcript."""
    text = files("firmware_stubs").joinpath(f"transcripts/{kind}.txt").read_text("utf-8")
    found: list[Turn] = []
    inside, source, said = "", "", None
    for row in text.splitlines():
        if row.startswith("== "):
            inside, source = row[3:], ""
        elif row.startswith("# source: "):
            source = row.removeprefix("# source: ")
        elif row.startswith(">"):
            assert said is None, f"two requests in a row: {row}"
            said = _bytes(kind, row[2:])
        elif row.startswith("<"):
            assert said is not None, f"an answer without request: {row}"
            if inside == section:
                found.append(Turn(source, said, _bytes(kind, row[2:])))
            said = None
    return found


def _bytes(kind: str, text: str) -> bytes:
    if kind == "apt":
        return bytes.fromhex(text)
    assert not re.search(r"\\[^rn]", text)
    return text.replace("\\r", "\r").replace("\\n", "\n").encode("ascii")


@contextmanager
def scripted(turns: list[Turn], *, tcp: bool) -> Iterator[tuple[str, bytearray]]:
    """Play an instrument that knows a transcript, on a real pty or socket; collect what is said.

    Each answer leaves when all that the host says in its turn has arrived.
    """
    heard, stop = bytearray(), threading.Event()
    if tcp:
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    else:
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        address = f"serial://{os.ttyname(theirs)}"

    def play() -> None:
        wire = ours if not tcp else None
        made = None
        place = sent = 0
        while not stop.is_set():
            if wire is None:
                if select.select([listener], [], [], 0.02)[0]:
                    made, _ = listener.accept()
                    wire = made.fileno()
                continue
            if select.select([wire], [], [], 0.02)[0]:
                data = os.read(wire, 4096)
                if not data:
                    break
                heard.extend(data)
            while place < len(turns) and len(heard) >= sent + len(turns[place].said):
                sent += len(turns[place].said)
                os.write(wire, turns[place].answered)
                place += 1
        if made is not None:
            made.close()

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield address, heard
    finally:
        stop.set()
        thread.join(timeout=10.0)
        if tcp:
            listener.close()
        else:
            os.close(ours)
            os.close(theirs)


class DeviceStream:
    """A stream straight to a stub's pure instrument; answers arrive in the pieces that are asked.

    The clock is moved by waiting: nothing here takes time. ``mangle`` changes what arrives.
    """

    def __init__(
        self,
        device: Any,
        pieces: Callable[[], int] = lambda: 1 << 20,
        mangle: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self.address = "stream://of-a-test"
        self.now = 0.0
        self.gone = False
        made = device if hasattr(device, "opened") else device.connection()
        self._device, self._pieces, self._mangle = made, pieces, mangle
        self._arrived = made.opened(0.0)

    def clock(self) -> float:
        return self.now

    def send(self, data: bytes) -> None:
        if self.gone:
            raise DeviceError("unplugged")
        while data:
            size = max(1, self._pieces())
            self._arrived += self._mangle(self._device.received(data[:size], self.now))
            data = data[size:]

    def receive(self, timeout_s: float) -> bytes:
        if self.gone:
            raise DeviceError("unplugged")
        deadline = self.now + timeout_s
        while not self._arrived:
            if self.now >= deadline:
                raise DeviceTimeout("nothing arrived")
            self.now = min(deadline, self.now + 0.01)
            self._arrived = self._mangle(self._device.due(self.now))
        size = max(1, self._pieces())
        piece, self._arrived = self._arrived[:size], self._arrived[size:]
        return piece

    def close(self) -> None:
        self.gone = True


@contextmanager
def faster_than(seconds: float) -> Iterator[None]:
    """Fail what takes longer: a wait that ends by luck is a hang."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds

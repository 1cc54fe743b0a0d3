"""Streams for tests: a driver joined to a stub's device without sockets, cut and spoilt at will."""

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import msgspec
import zmq

from quantum.errors import DeviceError, DeviceTimeout


def control(address: str, **message: Any) -> dict[str, Any]:
    """Send a message to the control socket of a stub process."""
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.setsockopt(zmq.LINGER, 0)
        wire.connect(address)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000), "the control socket does not answer"
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        return answer


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class DeviceStream:
    """A stream whose other end is a stub's device in this process.

    Bytes travel in pieces of ``sizes``, both ways. ``spoil`` gets each answer (not the unsolicited
    bytes) and returns what arrives instead; None breaks the connection.
    """

    address = "tcp://in.process:1"

    def __init__(
        self,
        device: Any,
        clock: Clock,
        *,
        sizes: Iterator[int] | None = None,
        spoil: Callable[[bytes], bytes | None] = lambda data: data,
        tick: Callable[[float], float | None] = lambda now: None,
    ) -> None:
        self._device = device
        self._clock = clock
        self._sizes = sizes or repeat(1 << 20)
        self._spoil = spoil
        self._tick = tick
        self._arrived = b""
        self._broken = False
        device.opened(clock.now_s)

    def send(self, data: bytes) -> None:
        answer = b""
        while data:
            size = next(self._sizes)
            answer += self._device.received(data[:size], self._clock.now_s)
            data = data[size:]
        if answer:
            spoilt = self._spoil(answer)
            self._broken = spoilt is None
            self._arrived += spoilt or b""

    def receive(self, timeout_s: float) -> bytes:
        end_s = self._clock.now_s + timeout_s
        while not self._arrived:
            self._tick(self._clock.now_s)
            self._arrived += self._device.due(self._clock.now_s)
            if self._broken:
                raise DeviceError("broken")
            if self._clock.now_s >= end_s and not self._arrived:
                raise DeviceTimeout("nothing")
            if not self._arrived:
                self._clock.now_s = min(end_s, self._clock.now_s + 0.001)
        size = next(self._sizes)
        piece, self._arrived = self._arrived[:size], self._arrived[size:]
        return piece

    def close(self) -> None:
        self._device.closed(self._clock.now_s)

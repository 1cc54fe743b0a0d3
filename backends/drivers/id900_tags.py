"""Streams time tags of an ID900 through the vendor's DataLink service, in bounded memory.

An acquisition is a row of sub-acquisitions of equal length; the service sends the tags of each
channel in one message a sub-acquisition (vendor example scripts). So messages are counted, and each
must be new, whole, sorted and inside its sub-acquisition; at the end the service's own counts and
the instrument's error counters must agree. Tags that were lost raise an error, they are never
passed over.
"""

import hashlib
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import zmq
from numpy.typing import NDArray

from backends.drivers.id900_datalink import DataLink, Status
from backends.drivers.id900_settings import LARGEST_RATE_HZ, Settings, limit
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["Tags", "stream_tags"]

#: Least length of a sub-acquisition and dead time after it, which the manual asks for.
SHORTEST_S = 0.2
DEAD_PS = 40_000

#: Messages a channel that wait in memory for us; a slower reader makes the service lose tags.
_WAITING = 2
_REMEMBERED = 64
_PREFIX = 1024
_PS = 10**12


@dataclass(frozen=True, eq=False)
class Tags:
    """The tags of one channel in one sub-acquisition.

    ``times_ps`` (n,) uint64 count from the begin of the sub-acquisition, which is ``begin_ps``
    after that of the record; with a reference they count from its last pulse, whose number is in
    ``indices`` (n,).
    """

    channel: int
    number: int
    begin_ps: int
    times_ps: NDArray[np.uint64]
    indices: NDArray[np.uint64] | None
    received_s: float

    @property
    def record_ps(self) -> NDArray[np.uint64]:
        """Times since the begin of the record, where there is no reference."""
        return self.times_ps + np.uint64(self.begin_ps)


@dataclass
class _Channel:
    number: int
    wire: zmq.Socket[bytes]
    acquisition: str = ""
    messages: int = 0
    tags: int = 0
    ended: bool = False
    seen: deque[bytes] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


def stream_tags(
    settings: Settings,
    link: DataLink,
    channels: tuple[int, ...],
    *,
    sub_s: float,
    subs: int,
    reference: int | None = None,
    end_marker: bytes = b"END",
    patience_s: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Tags]:
    """Record ``subs`` sub-acquisitions of ``sub_s`` and yield their tags as they come.

    Inputs 1-4 must be on (``configure``). ``reference`` is the input whose pulses the tags refer
    to. Leaving the iterator early stops the record. Raises :class:`DeviceTimeout` where tags stop
    coming, :class:`DeviceProtocol` for tags that are repeated, cut, unsorted or missing, and
    :class:`DeviceLimit` above ten million a second.
    """
    limit("sub_s", sub_s, SHORTEST_S, 100.0)
    limit("subs", subs, 1, 1_000_000)
    if not channels or len(set(channels)) < len(channels):
        raise InputError(f"channels must be one or more different inputs, got {channels}")
    for channel in channels:
        limit("channel", channel, 1, 4)
    width_ps = round(sub_s * _PS)
    record = _Record(settings, link, width_ps, subs, reference, end_marker, patience_s, clock)
    try:
        record.open(channels)
        yield from record.read()
        record.check()
    finally:
        record.close()


@dataclass
class _Record:
    settings: Settings
    link: DataLink
    width_ps: int
    subs: int
    reference: int | None
    end_marker: bytes
    patience_s: float
    clock: Callable[[], float]
    channels: list[_Channel] = field(default_factory=list)
    context: "zmq.Context[zmq.Socket[bytes]]" = field(default_factory=zmq.Context)
    final: dict[int, Status] = field(default_factory=dict)
    in_sub: dict[int, int] = field(default_factory=dict)

    def open(self, channels: tuple[int, ...]) -> None:
        """Prepare the record and its streams, then start it."""
        busy = self.link.list()
        if busy:
            raise DeviceError(f"{self.link.address}: in use, acquisitions {', '.join(busy)}")
        set_ = self.settings.set
        self.settings.ask("REC:STOP")
        set_("REC:TRIG:ARM:MODE", "MANU")
        set_("REC:ENAB", "ON")
        set_("REC:NUMB", str(self.subs) if self.subs > 1 else "1")
        set_("REC:DUR", f"{self.width_ps}TB")
        set_("REC:PWID", f"{self.width_ps}TB")
        set_("REC:PPER", f"{self.width_ps + DEAD_PS}TB")
        refers = "NONE" if self.reference is None else f"INPU{self.reference}"
        for number in channels:
            set_(f"RAW{number}:REF:LINK", refers)
            set_(f"RAW{number}:STOP:LINK", f"INPU{number}")
            self.settings.ask(f"RAW{number}:ERRORS:CLEAR")
            self._listen(number)
            set_(f"RAW{number}:SEND", "ON")
        self.settings.ask("REC:PLAY")

    def _listen(self, number: int) -> None:
        wire = self.context.socket(zmq.PAIR)
        wire.setsockopt(zmq.LINGER, 0)
        wire.setsockopt(zmq.RCVHWM, _WAITING)
        # Nobody can send more than ten million tags a second, each 16 bytes at most.
        most = int(LARGEST_RATE_HZ * 16 * self.width_ps / _PS) * 2
        wire.setsockopt(zmq.MAXMSGSIZE, most)
        channel = _Channel(number, wire)
        self.channels.append(channel)
        port = _free_port()
        channel.acquisition = self.link.start_stream(
            self.settings.host, number, port, with_index=self.reference is not None
        )
        wire.connect(f"tcp://{self.link.bracketed}:{port}")

    def read(self) -> Iterator[Tags]:
        """Yield tags until every channel has all of its sub-acquisitions."""
        poller = zmq.Poller()
        for channel in self.channels:
            poller.register(channel.wire, zmq.POLLIN)
        patience_s = self.width_ps / _PS + self.patience_s
        until = self.clock() + patience_s
        while any(channel.messages < self.subs for channel in self.channels):
            ready = dict(poller.poll(max(1, int((until - self.clock()) * 1e3))))
            if not ready and self.clock() >= until:
                raise DeviceTimeout(self._silence(patience_s))
            for channel in self.channels:
                if channel.wire in ready:
                    yield self._take(channel, channel.wire.recv(copy=False).buffer)
                    until = self.clock() + patience_s

    def check(self) -> None:
        """Stop the acquisitions; whatever was lost on the way is an error."""
        for channel in self.channels:
            status = self.final[channel.number] = self.link.stop(channel.acquisition)
            channel.acquisition = ""
            where = f"{self.link.address}: channel {channel.number}"
            if status.errors:
                raise DeviceError(f"{where}: {status.errors[-1].description}")
            if (status.acquisitions_count, status.timestamps_count) != (
                channel.messages,
                channel.tags,
            ):
                raise DeviceProtocol(
                    f"{where}: {channel.tags} tags in {channel.messages} messages came of "
                    f"{status.timestamps_count} in {status.acquisitions_count}"
                )
            if channel.wire.poll(max(1, int(self.patience_s * 1e3))):
                last = channel.wire.recv()
                if last != self.end_marker:
                    raise DeviceProtocol(f"{where}: {len(last)} bytes instead of the end marker")
            else:
                raise DeviceTimeout(f"{where}: no end marker within {self.patience_s:g} s")
            errors = self.settings.counts([f"RAW{channel.number}:ERRORS"])[0]
            if errors:
                raise DeviceError(f"{where}: the instrument counts {errors} lost transfers")

    def close(self) -> None:
        """Stop everything that was started; what fails here hides no earlier error."""
        try:
            for channel in self.channels:
                channel.wire.close()
            if any(channel.acquisition for channel in self.channels):
                _quietly(partial(self.settings.ask, "REC:STOP"))
            for channel in self.channels:
                if channel.acquisition:
                    _quietly(partial(self.link.stop, channel.acquisition))
                _quietly(partial(self.settings.set, f"RAW{channel.number}:SEND", "OFF"))
        finally:
            self.context.term()

    def _take(self, channel: _Channel, body: memoryview) -> Tags:
        where = f"{self.link.address}: channel {channel.number}, message {channel.messages + 1}"
        size = 8 if self.reference is None else 16
        if bytes(body[: len(self.end_marker) + 1]) == self.end_marker:
            raise DeviceProtocol(f"{where}: the stream ended after {channel.messages} messages")
        if len(body) % size:
            raise DeviceProtocol(f"{where}: {len(body)} bytes are no row of {size}-byte tags")
        digest = hashlib.blake2b(body[:_PREFIX], digest_size=16).digest()
        if len(body) and digest in channel.seen:
            raise DeviceProtocol(f"{where}: the same tags came before")
        channel.seen.append(digest)
        words = np.frombuffer(body, dtype="<u8")
        times, indices = (words, None) if size == 8 else (words[0::2], words[1::2])
        order = times if indices is None else indices
        if len(order) > 1 and not bool((order[1:] >= order[:-1]).all()):
            raise DeviceProtocol(f"{where}: tags are not in order")
        if len(times) and int(times.max()) > self.width_ps:
            raise DeviceProtocol(f"{where}: a tag lies behind the end of its sub-acquisition")
        number = channel.messages
        channel.messages, channel.tags = number + 1, channel.tags + len(times)
        total = self.in_sub[number] = self.in_sub.get(number, 0) + len(times)
        if total > LARGEST_RATE_HZ * self.width_ps / _PS:
            raise DeviceLimit(
                f"{where}: more than {LARGEST_RATE_HZ:g} tags a second, some are lost"
            )
        self.in_sub.pop(number - _REMEMBERED, None)
        begin = number * (self.width_ps + DEAD_PS)
        return Tags(channel.number, number, begin, times, indices, self.clock())

    def _silence(self, patience_s: float) -> str:
        late = [channel for channel in self.channels if channel.messages < self.subs]
        told = ", ".join(f"channel {c.number} has {c.messages} of {self.subs}" for c in late)
        for channel in late:
            status = self.link.status(channel.acquisition)
            if status.errors:
                told += f": {status.errors[-1].description}"
                break
        return f"{self.link.address}: no tags for {patience_s:g} s, {told}"


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except DeviceError:
        return


def _free_port() -> int:
    """Return a port of this machine that is free now: the service runs here."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])

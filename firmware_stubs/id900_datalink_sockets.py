"""The sockets of the DataLink service: a REP for commands and a PAIR for each stream of tags.

Messages that a slow receiver does not take are held back, a few a stream; then tags are lost, and
the acquisition says so, as the instrument's buffers would.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import zmq

from firmware_stubs.id900_datalink import Acquisition, DataLink
from quantum.errors import InputError

__all__ = ["DataLinkService"]

_MAX_BYTES = 64 * 1024
_HELD = 16
_STREAMING_S = 0.005
_LINGER_MS = 1000
_PATIENCE_S = 10.0


@dataclass
class _Stream:
    acquisition: Acquisition
    socket: zmq.Socket[bytes]
    held: deque[bytes] = field(default_factory=deque)
    ends_s: float | None = None
    """When an ending stream is given up, taken or not."""


class DataLinkService:
    """An endpoint of the stub's loop; ``where`` is HOST:PORT, port 0 picks one."""

    name = "datalink"

    def __init__(self, link: DataLink, where: str) -> None:
        port = where.rpartition(":")[2]
        if not port.isdigit() or int(port) > 65535:
            raise InputError(f"cannot bind {where}: the port must be 0 to 65535")
        self._link = link
        self._host = where.rpartition(":")[0]
        self._streams: dict[str, _Stream] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._commands = self._context.socket(zmq.REP)
        self._commands.setsockopt(zmq.LINGER, 0)
        self._commands.setsockopt(zmq.MAXMSGSIZE, _MAX_BYTES)
        try:
            self._commands.bind(f"tcp://{where}")
        except zmq.ZMQError as wrong:
            self.close()
            raise InputError(f"cannot bind {where}: {zmq.strerror(wrong.errno or 0)}") from wrong
        self.address = self._commands.getsockopt_string(zmq.LAST_ENDPOINT)

    def waits(self) -> list[tuple[Any, int]]:
        """Wait for commands: streams only send."""
        return [(self._commands, zmq.POLLIN)]

    def ready(self, what: Any, now_s: float) -> None:
        """Carry out a command; tags that are due go first."""
        self.due(now_s)
        text = self._commands.recv().decode("utf-8", errors="replace")
        self._commands.send_string(self._follow(self._link.answer(text, now_s), now_s))

    def due(self, now_s: float) -> None:
        """Send the tags of the sub-acquisitions that are over."""
        for acquisition, message in self._link.due(now_s):
            stream = self._streams.get(acquisition.id)
            if stream is not None:
                self._hold(stream, message)
        for stream in list(self._streams.values()):
            self._push(stream, now_s)

    def next_s(self, now_s: float) -> float | None:
        """Streams are looked after often."""
        return now_s + _STREAMING_S if self._streams else None

    def stopping(self) -> bool:
        """An instrument never ends the process."""
        return False

    def close(self) -> None:
        """Release every socket; safe to call twice."""
        for stream in self._streams.values():
            stream.socket.close(linger=0)
        self._streams.clear()
        self._commands.close()
        self._context.term()

    def _follow(self, answer: str, now_s: float) -> str:
        """Open and end streams as the last command asked; a port that is taken is its answer."""
        opened, self._link.opened = self._link.opened, []
        for acquisition in opened:
            if acquisition.port is None:
                continue
            # The end of an older stream of the same name may still be on its way.
            old = self._streams.pop(acquisition.id, None)
            if old is not None:
                old.socket.close(linger=0)
            socket = self._context.socket(zmq.PAIR)
            socket.setsockopt(zmq.LINGER, _LINGER_MS)
            socket.setsockopt(zmq.SNDHWM, 2)
            try:
                socket.bind(f"tcp://{self._host}:{acquisition.port}")
            except zmq.ZMQError as wrong:
                socket.close(linger=0)
                del self._link.acquisitions[acquisition.id]
                return self._link.refuse(
                    f"port {acquisition.port}: {zmq.strerror(wrong.errno or 0)}"
                )
            self._streams[acquisition.id] = _Stream(acquisition, socket)
        closed, self._link.closed = self._link.closed, []
        for acquisition in closed:
            stream = self._streams.get(acquisition.id)
            if stream is not None:
                stream.held.append(self._link.switches.end_marker.encode())
                stream.ends_s = now_s + _PATIENCE_S
        return answer

    def _hold(self, stream: _Stream, message: bytes) -> None:
        if len(stream.held) >= _HELD:
            stream.acquisition.errors.append("timestamps were lost: the receiver is too slow")
        else:
            stream.held.append(message)

    def _push(self, stream: _Stream, now_s: float) -> None:
        late = stream.ends_s is not None and now_s > stream.ends_s
        while stream.held and not late:
            try:
                stream.socket.send(stream.held[0], flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            stream.held.popleft()
        if stream.ends_s is not None:
            stream.socket.close(linger=_LINGER_MS)
            del self._streams[stream.acquisition.id]

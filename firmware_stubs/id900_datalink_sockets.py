"""The sockets of the DataLink service: a REP for commands and a PAIR for each stream of tags.

Messages that a slow receiver does not take are held back, a few a stream; then tags are lost, and
the acquisition says so, as the instrument's buffers would.
"""

from collections import deque
from dataclasses import dataclass, field

import zmq

from firmware_stubs.id900_datalink import Acquisition, DataLink
from quantum.errors import InputError

__all__ = ["DataLinkService"]

_MAX_BYTES = 64 * 1024
_HELD = 16
_IDLE_MS = 50
_STREAMING_MS = 5
_LINGER_MS = 1000
_PATIENCE_S = 10.0


@dataclass
class _Stream:
    acquisition: Acquisition
    socket: zmq.Socket[bytes]
    held: deque[bytes] = field(default_factory=deque)
    ends_s: float | None = None
    """When an ending stream is given up, taken or not."""


@dataclass
class DataLinkService:
    """A :class:`firmware_stubs.server.SideService`; ``bind`` is HOST:PORT, port 0 picks one."""

    link: DataLink
    bind: str
    name: str = "datalink"
    _context: zmq.Context[zmq.Socket[bytes]] | None = None
    _commands: zmq.Socket[bytes] | None = None
    _streams: dict[str, _Stream] = field(default_factory=dict)

    @property
    def patience_ms(self) -> int:
        """Streams must be looked after often."""
        return _STREAMING_MS if self._streams else _IDLE_MS

    def open(self, context: zmq.Context[zmq.Socket[bytes]]) -> str:
        """Bind the command socket, or raise :class:`InputError`."""
        port = self.bind.rpartition(":")[2]
        if not port.isdigit() or int(port) > 65535:
            raise InputError(f"cannot bind {self.bind}: the port must be 0 to 65535")
        self._context = context
        self._commands = context.socket(zmq.REP)
        self._commands.setsockopt(zmq.LINGER, 0)
        self._commands.setsockopt(zmq.MAXMSGSIZE, _MAX_BYTES)
        try:
            self._commands.bind(f"tcp://{self.bind}")
        except zmq.ZMQError as wrong:
            raise InputError(
                f"cannot bind {self.bind}: {zmq.strerror(wrong.errno or 0)}"
            ) from wrong
        return self._commands.getsockopt_string(zmq.LAST_ENDPOINT)

    def sockets(self) -> list[zmq.Socket[bytes]]:
        """Return the command socket: streams only send."""
        return [] if self._commands is None else [self._commands]

    def turn(self, now_s: float) -> None:
        """Send what is due, then carry out a command."""
        for acquisition, message in self.link.due(now_s):
            stream = self._streams.get(acquisition.id)
            if stream is not None:
                self._hold(stream, message)
        if self._commands is not None and self._commands.poll(0):
            text = self._commands.recv().decode("utf-8", errors="replace")
            answer = self.link.answer(text, now_s)
            self._commands.send_string(self._follow(answer, now_s))
        for stream in list(self._streams.values()):
            self._push(stream, now_s)

    def close(self) -> None:
        """Release every socket."""
        for stream in self._streams.values():
            stream.socket.close(linger=0)
        self._streams.clear()
        if self._commands is not None:
            self._commands.close()
            self._commands = None

    def _follow(self, answer: str, now_s: float) -> str:
        """Open and end streams as the last command asked; a port that is taken is its answer."""
        opened, self.link.opened = self.link.opened, []
        for acquisition in opened:
            if acquisition.port is None:
                continue
            assert self._context is not None
            # The end of an older stream of the same name may still be on its way.
            old = self._streams.pop(acquisition.id, None)
            if old is not None:
                old.socket.close(linger=0)
            socket = self._context.socket(zmq.PAIR)
            socket.setsockopt(zmq.LINGER, _LINGER_MS)
            socket.setsockopt(zmq.SNDHWM, 2)
            try:
                socket.bind(f"tcp://{self.bind.rpartition(':')[0]}:{acquisition.port}")
            except zmq.ZMQError as wrong:
                socket.close(linger=0)
                del self.link.acquisitions[acquisition.id]
                return self.link.refuse(
                    f"port {acquisition.port}: {zmq.strerror(wrong.errno or 0)}"
                )
            self._streams[acquisition.id] = _Stream(acquisition, socket)
        closed, self.link.closed = self.link.closed, []
        for acquisition in closed:
            stream = self._streams.get(acquisition.id)
            if stream is not None:
                stream.held.append(self.link.switches.end_marker.encode())
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

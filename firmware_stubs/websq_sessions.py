"""The two sockets of a WebSQ stub: JSON messages on one, lines of counts on the other."""

import json
from typing import Any, Protocol

__all__ = ["ControlSession", "CountsSession", "Objects"]

ETB = b"\x17"
_REQUEST_BYTES = 64 * 1024
_DEPTH = 32
#: What waits for a client that does not read: more than this ends its connection.
_OUTBOX_BYTES = 1024 * 1024


class Objects:
    """Finds whole JSON objects in a stream that has no separators, however it is cut.

    >>> found = Objects()
    >>> found.feed(b'{"a": "}"}{"b"'), found.feed(b": 1}")
    ([b'{"a": "}"}'], [b'{"b": 1}'])
    """

    def __init__(self) -> None:
        self._text = bytearray()
        self._forget()

    def _forget(self) -> None:
        self._text.clear()
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take any piece; return the objects that end in it. Bytes between objects are skipped."""
        found: list[bytes] = []
        for byte in data:
            letter = chr(byte)
            if self._depth == 0 and letter != "{":
                continue
            self._text.append(byte)
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = letter == "\\"
                self._quoted = letter != '"'
            elif letter == '"':
                self._quoted = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth == 0:
                    found.append(bytes(self._text))
                    self._text.clear()
            if self._depth > _DEPTH or len(self._text) > _REQUEST_BYTES:
                self._forget()
        return found


class _Instrument(Protocol):
    control_sessions: "list[ControlSession]"
    counts_sessions: "list[CountsSession]"

    def carry_out(self, message: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        """Carry out a message and return what answers it."""

    def tick(self, now_s: float) -> float | None:
        """Do what is due."""

    def framed(self, messages: list[dict[str, Any]]) -> bytes:
        """Write messages as the instrument frames them."""


class _Session:
    clients = 1

    def __init__(self, instrument: _Instrument) -> None:
        self._instrument = instrument
        self._outbox = bytearray()
        self.ended = False

    def put(self, data: bytes) -> None:
        """Queue bytes for the client."""
        self._outbox += data
        if len(self._outbox) > _OUTBOX_BYTES:
            self._outbox.clear()
            self.ended = True

    def opened(self, now_s: float) -> bytes:
        """No greeting."""
        return b""

    def due(self, now_s: float) -> bytes:
        """Return what was queued."""
        self._instrument.tick(now_s)
        out = bytes(self._outbox)
        self._outbox.clear()
        return out

    def due_s(self, now_s: float) -> float | None:
        """Return when something is due; the instrument itself is asked by the loop."""
        return now_s if self._outbox else now_s + 1.0

    def power_cycle(self, now_s: float) -> None:
        """The connection is gone anyway."""

    def state(self) -> dict[str, Any]:
        """A connection has no settings."""
        return {}


class ControlSession(_Session):
    """One client of the control socket."""

    def __init__(self, instrument: _Instrument) -> None:
        super().__init__(instrument)
        self._objects = Objects()
        instrument.control_sessions.append(self)

    def received(self, data: bytes, now_s: float) -> bytes:
        """Carry out every whole object; what is no JSON, or no object we know, is an error."""
        self._instrument.tick(now_s)
        answer = b""
        for text in self._objects.feed(data):
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                message = {}
            answer += self._instrument.framed(self._instrument.carry_out(message, now_s))
        return self.due(now_s) + answer

    def closed(self, now_s: float) -> None:
        """Take no more broadcasts."""
        if self in self._instrument.control_sessions:
            self._instrument.control_sessions.remove(self)


class CountsSession(_Session):
    """One client of the counts socket; what it sends is ignored."""

    def __init__(self, instrument: _Instrument) -> None:
        super().__init__(instrument)
        instrument.counts_sessions.append(self)

    def received(self, data: bytes, now_s: float) -> bytes:
        """Ignore it."""
        return b""

    def closed(self, now_s: float) -> None:
        """Take no more lines."""
        if self in self._instrument.counts_sessions:
            self._instrument.counts_sessions.remove(self)

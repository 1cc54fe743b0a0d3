"""Streams and questions that are written down, and those that are answered from a recording."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from backends.drivers.session_file import Event, bytes_of, text_of
from backends.drivers.streams import Stream
from backends.drivers.zmq_scpi import Asks
from quantum.errors import DeviceError

__all__ = ["Channel", "RecordedRequester", "RecordedStream", "ReplayedRequester", "ReplayedStream"]


@dataclass(frozen=True)
class Channel:
    """The time of one instrument, for the ``clock`` and ``sleep`` of its driver."""

    name: str
    clock: Callable[[], float]
    sleep: Callable[[float], None]


class Notes(Protocol):
    """Where events are written down."""

    def __call__(self, kind: str, channel: str, **fields: Any) -> None:
        """Write one event."""


class Script(Protocol):
    """Where events come from."""

    def next(self, kind: str, channel: str, does: str, **fields: Any) -> Event:
        """Return what came of the next act, or raise."""


class RecordedStream:
    """A stream whose every byte is written down."""

    def __init__(self, stream: Stream, channel: str, note: Notes) -> None:
        self.address = stream.address
        self._stream, self._channel, self._note = stream, channel, note
        self._closed = False

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        try:
            self._stream.send(data)
        except DeviceError as wrong:
            self._write("send", wrong, data=text_of(data))
            raise
        self._write("send", None, data=text_of(data))

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived."""
        try:
            data = self._stream.receive(timeout_s)
        except DeviceError as wrong:
            self._write("receive", wrong)
            raise
        self._write("receive", None, answer=text_of(data))
        return data

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        if not self._closed:
            self._closed = True
            self._write("close", None)
        self._stream.close()

    def _write(self, kind: str, wrong: DeviceError | None, **fields: Any) -> None:
        if wrong is not None:
            fields |= {"error": type(wrong).__name__, "said": str(wrong)}
        self._note(kind, self._channel, where=self.address, **fields)


class ReplayedStream:
    """A stream that answers what was recorded and takes only what was sent then."""

    def __init__(self, address: str, channel: str, script: Script) -> None:
        self.address = address
        self._channel, self._script = channel, script
        self._closed = False

    def send(self, data: bytes) -> None:
        """Compare with the bytes that were sent."""
        self._script.next(
            "send",
            self._channel,
            f"sends {data[:60]!r}",
            where=self.address,
            data=text_of(data),
        )

    def receive(self, timeout_s: float) -> bytes:
        """Return what arrived then."""
        event = self._script.next("receive", self._channel, "receives", where=self.address)
        return bytes_of(event.answer or "")

    def close(self) -> None:
        """Close as then; safe to call twice."""
        if not self._closed:
            self._closed = True
            self._script.next("close", self._channel, "closes", where=self.address)


class RecordedRequester:
    """Questions and answers that are written down."""

    def __init__(self, wire: Asks, channel: str, note: Notes) -> None:
        self.address = wire.address
        self._wire, self._channel, self._note = wire, channel, note

    def ask(self, text: str) -> str:
        """Send one frame and return its answer."""
        try:
            answer = self._wire.ask(text)
        except DeviceError as wrong:
            self._note(
                "ask",
                self._channel,
                where=self.address,
                data=text,
                error=type(wrong).__name__,
                said=str(wrong),
            )
            raise
        self._note("ask", self._channel, where=self.address, data=text, answer=answer)
        return answer

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        self._wire.close()


class ReplayedRequester:
    """Answers to the questions that were asked then."""

    def __init__(self, address: str, channel: str, script: Script) -> None:
        self.address = address
        self._channel, self._script = channel, script

    def ask(self, text: str) -> str:
        """Return the answer that came then."""
        event = self._script.next(
            "ask", self._channel, f"asks {text[:60]!r}", where=self.address, data=text
        )
        return event.answer or ""

    def close(self) -> None:
        """Nothing to release; safe to call twice."""

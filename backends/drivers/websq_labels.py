"""The control socket of a WebSQ: JSON messages, and the labels that they report.

The instrument ends messages with 0x17 (ETB), glues several together now and then, and speaks
without being asked. Nothing is acknowledged, so an answer is recognised by what it is: the answer
to ``labelProps`` is one message a label whose value is an object, a broadcast has the plain value.
"""

import json
import math
import time
from collections.abc import Callable
from typing import Any

from backends.drivers.connection import Connection
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceProtocol, DeviceTimeout

__all__ = ["Labels", "Messages", "numbers"]

ETB = b"\x17"
_MESSAGE_BYTES = 256 * 1024
#: More than this without a pause is no conversation.
_FLOOD_BYTES = 4 * 1024 * 1024
_SHOWN = 80
_LARGEST_NUMBER = 1e9


class Messages:
    """Cuts the stream into messages; the result does not depend on how the stream is cut.

    >>> read = Messages("tcp://x")
    >>> read.feed(b'{"a": 1}{"b": 2}\\x17{"c"'), read.feed(b": 3}")
    ([{'a': 1}, {'b': 2}], [{'c': 3}])
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take any piece of the stream; return the messages that are whole now.

        Raises :class:`DeviceProtocol` for what is no JSON object, and for one of more than 256 KiB.
        """
        *whole, self._rest = (self._rest + data).split(ETB)
        found = [message for part in whole for message in self._objects(part)]
        # The last message may lack its ETB for ever: it is whole when it is JSON.
        if self._rest.rstrip().endswith(b"}"):
            try:
                found += self._objects(self._rest)
                self._rest = b""
            except DeviceProtocol:
                pass
        if len(self._rest) > _MESSAGE_BYTES:
            raise DeviceProtocol(
                f"{self._address}: a message does not end within {_MESSAGE_BYTES} bytes"
            )
        return found

    def _objects(self, part: bytes) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        try:
            text = part.decode("utf-8").strip()
            place = 0
            while place < len(text):
                value, place = _DECODER.raw_decode(text, place)
                if not isinstance(value, dict):
                    raise ValueError("not an object")
                found.append(value)
                while place < len(text) and text[place].isspace():
                    place += 1
        except (ValueError, RecursionError) as wrong:
            raise DeviceProtocol(
                f"{self._address}: a message must be JSON objects, got {part[:_SHOWN]!r}"
            ) from wrong
        return found


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class Labels:
    """What the instrument last said of each label; ``errors`` are those it complained with."""

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        stream: Stream | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self.values: dict[str, Any] = {}
        self._errors: list[str] = []
        self._answered: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self._asked = 0
        self._messages = Messages(address)
        self._clock = clock
        self._line = Connection(address, timeout_s=timeout_s, stream=stream, clock=clock)
        self._opened = 0

    @property
    def opened(self) -> int:
        """Return how often a connection was opened."""
        return self._line.opened

    def renew(self) -> None:
        """Get ready for an exchange: read what has come meanwhile, reconnect where it is gone."""
        self._line.ensure()
        try:
            self._hear()
        except DeviceProtocol:
            raise
        except DeviceError:
            self._line.ensure()
        if self._line.opened != self._opened:
            self._start()
        self._errors.clear()

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self._line.say(json.dumps(message).encode("ascii"))

    def refresh(self, labels: tuple[str, ...], deadline_s: float | None = None) -> dict[str, Any]:
        """Ask for all labels; return those that are named as they are after the question."""
        self._asked += 1
        self.say({"request": "labelProps", "value": "None"})
        number = self._asked
        self._await(
            lambda: all(self._answered.get(label, 0) >= number for label in labels),
            f"labels {', '.join(labels)}",
            deadline_s,
        )
        return {label: self.values[label] for label in labels}

    def request(self, label: str) -> Any:
        """Ask for one label by its own request; return the next value that comes."""
        before = self._heard.get(label, 0)
        self.say({"request": label})
        self._await(lambda: self._heard.get(label, 0) > before, f"label {label}", None)
        return self.values[label]

    def complaints(self) -> str:
        """Return what errors the instrument sent since :meth:`renew`, read until now."""
        self._hear()
        return "; ".join(self._errors)[:300]

    def drop(self) -> None:
        """Throw the connection away with all that is on its way."""
        self._line.drop()

    def close(self) -> None:
        """Close for good; safe to call twice."""
        self._line.close()

    def _start(self) -> None:
        self._opened = self._line.opened
        self._messages = Messages(self.address)
        self._asked = 0
        self._answered.clear()
        self.values.clear()

    def _await(self, done: Callable[[], bool], what: str, deadline_s: float | None) -> None:
        if deadline_s is None:
            deadline_s = self._clock() + self._line.timeout_s
        while not done():
            if self._clock() > deadline_s:
                self._line.drop()
                raise DeviceTimeout(f"{self.address}: no answer about {what} in time")
            try:
                self._take(self._line.some(deadline_s))
            except DeviceTimeout as wrong:
                self._line.drop()
                raise DeviceTimeout(f"{self.address}: no answer about {what} in time") from wrong

    def _hear(self) -> None:
        """Read what has arrived, without waiting; a flood is cut off."""
        heard = 0
        while heard < _FLOOD_BYTES:
            try:
                data = self._line.some(self._clock())
            except DeviceTimeout:
                return
            heard += len(data)
            self._take(data)
        self._line.drop()
        raise DeviceProtocol(f"{self.address}: the instrument does not stop sending")

    def _take(self, data: bytes) -> None:
        if self._line.opened != self._opened:
            self._start()
        try:
            for message in self._messages.feed(data):
                self._note(message)
        except DeviceProtocol:
            self._line.drop()
            raise

    def _note(self, message: dict[str, Any]) -> None:
        label = message.get("label")
        if not isinstance(label, str) or "value" not in message:
            raise DeviceProtocol(
                f"{self.address}: a message must have a label and a value, got {message!r:.80}"
            )
        value = message["value"]
        if "Error" in label:
            self._errors.append(repr(value)[:_SHOWN])
            del self._errors[:-8]
            return
        if isinstance(value, dict):
            if "value" not in value:
                raise DeviceProtocol(f"{self.address}: properties of {label!r} have no value")
            value = value["value"]
            self._answered[label] = self._answered.get(label, 0) + 1
        self._heard[label] = self._heard.get(label, 0) + 1
        self.values[label] = value
        if len(self.values) > 1000:
            raise DeviceProtocol(f"{self.address}: more than 1000 labels")


def numbers(address: str, label: str, value: Any, count: int) -> tuple[float, ...]:
    """Return the numbers of a list that must have ``count`` of them, or raise DeviceProtocol.

    >>> numbers("tcp://x", "BiasCurrent", [1, 2.5], 2)
    (1.0, 2.5)
    """
    if (
        not isinstance(value, list)
        or len(value) != count
        or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        or not all(math.isfinite(v) and abs(v) < _LARGEST_NUMBER for v in value)
    ):
        raise DeviceProtocol(
            f"{address}: {label} must be {count} numbers below 1e9 in size, got {value!r:.80}"
        )
    return tuple(float(v) for v in value)

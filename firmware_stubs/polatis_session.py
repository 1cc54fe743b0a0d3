"""One client of a Polatis stub: lines in, answers out, and ``*opc?`` that waits for the mirrors."""

from collections import deque
from typing import Any, Protocol

from firmware_stubs.polatis_mirrors import Mirrors
from firmware_stubs.scpi import Command, ScpiError, split

__all__ = ["Session"]

_LINE_BYTES = 64 * 1024


class _Instrument(Protocol):
    mirrors: Mirrors

    def carry_out(self, command: Command, now_s: float) -> str | None:
        """Carry out one command; return the answer of a query."""

    def complain(self, wrong: ScpiError) -> None:
        """Put an error into the queue."""

    def state(self) -> dict[str, Any]:
        """Return the settings."""


class Session:
    """One client: its half-received line, and its commands that wait for the mirrors."""

    clients = 1

    def __init__(self, instrument: _Instrument) -> None:
        self._instrument = instrument
        self._buffer = bytearray()
        self._waiting: deque[Command | ScpiError | None] = deque()
        self._replies: list[str] = []

    def opened(self, now_s: float) -> bytes:
        """No greeting."""
        return b""

    def received(self, data: bytes, now_s: float) -> bytes:
        """Take bytes; carry out every command of every whole line."""
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for line in lines:
            self._waiting.extend(split(line.decode("ascii", errors="replace")))
            self._waiting.append(None)
        if len(rest) > _LINE_BYTES or len(self._waiting) > _LINE_BYTES:
            self._buffer.clear()
            self._waiting.clear()
            self._instrument.complain(ScpiError(-363, "Input buffer overrun"))
        return self._go_on(now_s)

    def due(self, now_s: float) -> bytes:
        """Go on after ``*opc?``."""
        return self._go_on(now_s)

    def due_s(self, now_s: float) -> float | None:
        """Return when to go on."""
        return self._instrument.mirrors.settle(now_s) if self._waiting else now_s + 1.0

    def closed(self, now_s: float) -> None:
        """Forget what was half said."""
        self._waiting.clear()

    def power_cycle(self, now_s: float) -> None:
        """The connection is gone anyway."""

    def state(self) -> dict[str, Any]:
        """Return the instrument's settings."""
        return self._instrument.state()

    def _go_on(self, now_s: float) -> bytes:
        answers = b""
        while self._waiting:
            command = self._waiting[0]
            if command is None:
                if self._replies:
                    answers += ";".join(self._replies).encode() + b"\n"
                self._replies.clear()
            else:
                try:
                    if isinstance(command, ScpiError):
                        raise command
                    if command.path == ("*OPC",) and not self._instrument.mirrors.settled(now_s):
                        break
                    reply = self._instrument.carry_out(command, now_s)
                    if reply is not None:
                        self._replies.append(reply)
                except ScpiError as wrong:
                    self._instrument.complain(wrong)
            self._waiting.popleft()
        return answers

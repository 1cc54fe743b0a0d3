"""Questions and answers with a Thorlabs unit over a stream that may lose bytes.

Messages that nobody asked for come between a question and its answer, and there is no check sum. An
answer is believed where no byte around it had to be stepped over; else the question, which changes
nothing, is asked again. After a timeout the next question waits until the line is quiet, so that a
late answer is not taken for its own.
"""

import threading
import time
from collections.abc import Callable

from backends.drivers.apt_messages import Message, Messages
from backends.drivers.opening import open_stream
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["AptLine"]

_TRIES = 3
#: More bytes than any unit sends between two questions.
_FLOOD_BYTES = 64 * 1024
#: How long a command from another thread waits for one that is being written.
_WRITE_S = 0.01
_REPORT, _RICH_REPORT = 0x0080, 0x0081


class AptLine:
    """One unit's stream; not for use by two threads. A broken one is opened anew by the next use.

    A ``stream`` that is given is never replaced.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        stream: Stream | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0.0 < timeout_s <= 3600.0:
            raise InputError(f"timeout_s must be > 0 and at most 3600 seconds, got {timeout_s}")
        self.address = address
        self.timeout_s = timeout_s
        self._given = stream is not None
        self._clock = clock
        self._messages = Messages()
        self._closed = self._late = self._interrupted = False
        self._writing = threading.Lock()
        self._stream: Stream | None = stream or open_stream(address, timeout_s)

    def say(self, command: bytes) -> None:
        """Send a command; what has arrived before it is thrown away."""
        self._quieten()
        self._send(command)

    def interrupt(self, command: bytes) -> None:
        """Send a command from any thread, after which nothing is sent until :meth:`resume`.

        A thread that was using the line gets :class:`DeviceError` when it sends its next message.
        """
        if not self._writing.acquire(timeout=_WRITE_S):
            raise DeviceTimeout(f"{self.address}: the line is busy")
        try:
            self._interrupted = True
            self._use().send(command)
        finally:
            self._writing.release()

    def resume(self) -> None:
        """Allow messages again after an interruption."""
        self._interrupted = False

    def ask(self, question: bytes, ident: int, plausible: Callable[[Message], bool]) -> Message:
        """Return the answer ``ident`` to a question that may be repeated."""
        wrong = ""
        for _ in range(_TRIES):
            self._quieten()
            skipped = self._messages.skipped
            self._send(question)
            answer = self._await(ident)
            if answer is None:
                wrong = f"no answer within {self.timeout_s:g} s"
                self._late = True
            elif self._messages.skipped != skipped:
                wrong = "bytes were lost or added around the answer"
            elif not plausible(answer):
                wrong = f"an answer that cannot be: {answer.data.hex(' ')}"
            else:
                return answer
        kind = DeviceTimeout if wrong.startswith("no answer") else DeviceProtocol
        raise kind(
            f"{self.address}: question {question[:2][::-1].hex()} was asked {_TRIES} times: {wrong}"
        )

    def hear(self, patience_s: float) -> list[Message]:
        """Return the messages that arrive within a time, none where nothing does."""
        try:
            data = self._use().receive(patience_s)
        except DeviceTimeout:
            return []
        except DeviceError:
            self.drop()
            raise
        messages = self._messages.feed(data)
        for message in messages:
            self._complain(message)
        return messages

    def drop(self) -> None:
        """Throw the stream away; the next use opens a new one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._messages.forget()

    def close(self) -> None:
        """Close for good; safe to call twice, and while another thread waits for bytes."""
        self._closed = True
        self.drop()

    def _await(self, ident: int) -> Message | None:
        deadline = self._clock() + self.timeout_s
        while (left := deadline - self._clock()) > 0.0:
            for message in self.hear(left):
                if message.ident == ident:
                    return message
        return None

    def _quieten(self) -> None:
        """Throw away what has arrived; after a timeout, wait until nothing more does."""
        patience = self.timeout_s if self._late else 0.0
        self._late = False
        seen = 0
        try:
            while seen < _FLOOD_BYTES:
                seen += len(self._use().receive(patience))
        except DeviceTimeout:
            self._messages.forget()
            return
        except DeviceError:
            self.drop()
            raise
        self.drop()
        raise DeviceProtocol(f"{self.address}: the unit does not stop sending")

    def _send(self, data: bytes) -> None:
        with self._writing:
            if self._interrupted:
                raise DeviceError(f"{self.address}: stopped by another thread")
            try:
                self._use().send(data)
            except DeviceError:
                self.drop()
                raise

    def _use(self) -> Stream:
        if self._closed:
            raise DeviceError(f"{self.address}: the connection is closed")
        if self._stream is None:
            if self._given:
                raise DeviceError(f"{self.address}: the stream that was given is broken")
            self._stream = open_stream(self.address, self.timeout_s)
        return self._stream

    def _complain(self, message: Message) -> None:
        """Raise what the unit itself reports as an error."""
        if message.ident == _REPORT:
            raise DeviceError(f"{self.address}: the unit reports an error")
        if message.ident == _RICH_REPORT:
            code = int.from_bytes(message.data[2:4], "little")
            text = message.data[4:].split(b"\0")[0].decode("ascii", "replace")
            shown = "".join(c if c.isprintable() else "?" for c in text)
            raise DeviceError(f"{self.address}: the unit reports error {code}: {shown}")

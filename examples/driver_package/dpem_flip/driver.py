"""Driver of the flip shutter: a ``Shutter`` in the words of ``backends.drivers.capabilities``."""

from backends.drivers.capabilities import Identity
from backends.drivers.connection import Connection
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceProtocol

__all__ = ["Flip"]


class Flip:
    """The shutter at ``tcp://HOST:PORT``, or on a ``stream``. Not for use by two threads."""

    def __init__(
        self, address: str, *, timeout_s: float = 1.0, stream: Stream | None = None
    ) -> None:
        self.address = address
        self._wire = Connection(address, timeout_s=timeout_s, limit_bytes=200, stream=stream)
        self._wire.ensure()

    def identify(self) -> Identity:
        """Ask who it is."""
        fields = self._ask("id?").split(",")
        if len(fields) != 4 or not all(fields):
            raise DeviceProtocol(f"{self.address}: id? must answer four fields, got {fields}")
        return Identity(*fields)

    def ping(self) -> None:
        """Return when it answers."""
        self.identify()

    def set_open(self, is_open: bool) -> None:
        """Open or close, and verify it: what was answered is not always what was done."""
        if is_open and not self.interlock_closed():
            raise DeviceError(f"{self.address}: the interlock is open, the shutter stays closed")
        answer = self._ask("open" if is_open else "close")
        if answer != "ok" or self.is_open() != is_open:
            raise DeviceError(
                f"{self.address}: did not {'open' if is_open else 'close'}, "
                f"answered {answer[:40]!r}"
            )

    def is_open(self) -> bool:
        """Read whether it is open."""
        return self._one_of("state?", "open", "closed")

    def interlock_closed(self) -> bool:
        """Read whether the interlock allows it to open."""
        return self._one_of("interlock?", "closed", "open")

    def safe_state(self) -> None:
        """Close, and read that it is closed."""
        self.set_open(False)

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        self._wire.close()

    def _one_of(self, question: str, yes: str, no: str) -> bool:
        answer = self._ask(question)
        if answer not in (yes, no):
            raise DeviceProtocol(
                f"{self.address}: {question} must answer {yes} or {no}, got {answer[:40]!r}"
            )
        return answer == yes

    def _ask(self, question: str) -> str:
        # A connection is new after any failure, so a late answer is never taken for the next one.
        self._wire.say(f"{question}\n".encode("ascii"))
        return self._wire.frame().decode("ascii", "replace").strip()

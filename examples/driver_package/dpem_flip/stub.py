"""The flip shutter in software: bytes and time in, bytes out, and a port to the bench."""

from typing import Any

from firmware_stubs.lone_ports import LoneShutter
from firmware_stubs.ports import ShutterPort
from firmware_stubs.server import StubOptions
from firmware_stubs.stream_faults import StreamFaults
from firmware_stubs.stream_server import Station, run_station

__all__ = ["FlipShutter", "serve"]

#: Faults of the instrument itself; those of the line come with the server.
FAULTS = ("interlock", "stuck")


class FlipShutter:
    """All clients see one shutter; half a line belongs to the connection."""

    clients = 4

    def __init__(
        self, port: ShutterPort, *, seed: int = 1, faults: StreamFaults | None = None
    ) -> None:
        self.port = port
        self.faults = faults or StreamFaults(own=FAULTS)
        self._identity = f"DPEM,FLIP,STUB-{seed},1.0"

    def connection(self) -> "Conversation":
        """Talk to a client."""
        return Conversation(self)

    def power_cycle(self, now_s: float) -> None:
        """Fall closed."""
        self.port.set_open(False, now_s)

    def state(self) -> dict[str, Any]:
        """Return the settings."""
        return {"open": self.port.is_open(0.0)}

    def answer(self, line: str, now_s: float) -> str:
        """Carry out a line."""
        allowed = self.port.interlock_closed(now_s) and self.faults.find("interlock") is None
        if not allowed:
            self.port.set_open(False, now_s)
        match line:
            case "id?":
                return self._identity
            case "state?":
                return "open" if self.port.is_open(now_s) else "closed"
            case "interlock?":
                return "closed" if allowed else "open"
            case "open" | "close":
                if line == "open" and not allowed:
                    return "refused"
                if self.faults.find("stuck") is None:
                    self.port.set_open(line == "open", now_s)
                return "ok"
        return "unknown"


class Conversation:
    """One connection."""

    clients = 1

    def __init__(self, shutter: FlipShutter) -> None:
        self._shutter = shutter
        self._buffer = b""

    def opened(self, now_s: float) -> bytes:
        """Say nothing to a new client."""
        return b""

    def received(self, data: bytes, now_s: float) -> bytes:
        """Take any piece of the stream and answer the lines that are complete."""
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest[-200:]
        texts = [line.decode("ascii", "replace").strip() for line in lines]
        answers = [self._shutter.answer(text, now_s) for text in texts]
        return "".join(f"{answer}\n" for answer in answers).encode("ascii")

    def due(self, now_s: float) -> bytes:
        """Say nothing by itself."""
        return b""

    def closed(self, now_s: float) -> None:
        """Forget half a line."""

    def power_cycle(self, now_s: float) -> None:
        """Nothing of a connection outlives it."""

    def state(self) -> dict[str, Any]:
        """Return the settings."""
        return self._shutter.state()


def serve(options: StubOptions) -> int:
    """Run the stub until it is told to stop (group ``dpem.stubs``)."""
    faults = StreamFaults(own=FAULTS)
    shutter = FlipShutter(LoneShutter(), seed=options.seed, faults=faults)
    return run_station(Station("flip", (shutter,), (4001,), faults), options)

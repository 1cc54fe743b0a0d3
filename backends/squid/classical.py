"""Classical sockets: messages that arrive in order, each after the delay of its connection."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from netqasm.sdk.classical_communication.message import StructuredMessage
from netqasm.sdk.classical_communication.socket import Socket

from backends.squid.clock import Clock, Signal, Until, Wait
from backends.squid.errors import SquidError

__all__ = ["Channel", "ClassicalSocket", "Sockets"]

Receiving = Generator[Wait, Any, Any]


@dataclass(eq=False)
class Channel:
    """One direction of a classical connection."""

    clock: Clock
    delay_ns: float
    arrived: deque[Any] = field(default_factory=deque)
    came: Signal = field(init=False)

    def __post_init__(self) -> None:
        self.came = self.clock.signal()

    def send(self, message: Any) -> None:
        """Let a message arrive after the delay; of equal times the first sent comes first."""
        if self.delay_ns > 0.0:
            self.clock.at(self.delay_ns, lambda: self._arrive(message))
        else:
            self._arrive(message)

    def receive(self, why: str) -> Receiving:
        """Return the next message, waiting for it."""
        while not self.arrived:
            yield Until(self.came, why)
        return self.arrived.popleft()

    def _arrive(self, message: Any) -> None:
        self.arrived.append(message)
        self.came.give()


class ClassicalSocket(Socket):  # type: ignore[misc]
    """A program's end of a classical connection; every ``recv`` is a generator."""

    def __init__(self, node: str, peer: str, outgoing: Channel, incoming: Channel) -> None:
        super().__init__(app_name=node, remote_app_name=peer)
        self._node, self._peer = node, peer
        self._outgoing, self._incoming = outgoing, incoming
        self._why = f"a classical message from {peer}"

    def send(self, msg: Any) -> None:
        """Send a message, usually a string."""
        self._outgoing.send(msg)

    def recv(self, **_: Any) -> Receiving:
        """Receive the next message."""
        return self._incoming.receive(self._why)

    def send_int(self, value: int) -> None:
        """Send an integer."""
        self._outgoing.send(str(int(value)))

    def recv_int(self) -> Generator[Wait, Any, int]:
        """Receive an integer."""
        return self._number(int)

    def send_float(self, value: float) -> None:
        """Send a float; it arrives with all its digits."""
        self._outgoing.send(str(float(value)))

    def recv_float(self) -> Generator[Wait, Any, float]:
        """Receive a float."""
        return self._number(float)

    def send_structured(self, msg: StructuredMessage) -> None:
        """Send a message with header and payload."""
        self._outgoing.send(msg)

    def recv_structured(self, **_: Any) -> Receiving:
        """Receive a message with header and payload."""
        return self._incoming.receive(self._why)

    def send_silent(self, msg: Any) -> None:
        """Send a message; nothing is logged anyway."""
        self._outgoing.send(msg)

    def recv_silent(self, **_: Any) -> Receiving:
        """Receive a message; nothing is logged anyway."""
        return self._incoming.receive(self._why)

    def _number(self, kind: Callable[[Any], Any]) -> Receiving:
        message = yield from self._incoming.receive(self._why)
        try:
            return kind(message)
        except (TypeError, ValueError):
            raise SquidError(
                f"{self._node} expects {kind.__name__} from {self._peer}, got {message!r}"
            ) from None


class Sockets(dict[str, Any]):
    """Sockets by peer, which say what is wrong when one is asked for that is not there."""

    def __init__(self, made: Iterable[tuple[str, Any]], explain: Callable[[str], str]) -> None:
        super().__init__(made)
        self._explain = explain

    def __missing__(self, peer: str) -> NoReturn:
        raise SquidError(self._explain(peer))

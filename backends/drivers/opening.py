"""Open the stream to an instrument by the scheme of its address.

``tcp://HOST:PORT`` is a TCP connection, ``serial:///dev/...`` a serial line, ``visa://RESOURCE`` a
VISA resource. Another kind of stream
(a recording, say) adds its scheme to :data:`SCHEMES`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from backends.drivers.streams import Stream
from backends.drivers.tcp import TcpStream
from backends.drivers.zmq_scpi import Asks, Requester
from quantum.errors import InputError

__all__ = ["SCHEMES", "Session", "open_requester", "open_stream", "through"]


def _tcp(address: str, timeout_s: float) -> Stream:
    return TcpStream(address, timeout_s=timeout_s)


def _serial(address: str, timeout_s: float) -> Stream:
    from backends.drivers.serial_line import SerialLine

    return SerialLine(address, timeout_s=timeout_s)


def _visa(address: str, timeout_s: float) -> Stream:
    from backends.drivers.visa import VisaStream

    return VisaStream(address, timeout_s=timeout_s)


#: What opens an address and a timeout in seconds, by scheme.
SCHEMES: dict[str, Callable[[str, float], Stream]] = {"tcp": _tcp, "serial": _serial, "visa": _visa}


class Session(Protocol):
    """Something that stands between drivers and what they open: it records, or replays."""

    def stream(
        self, address: str, timeout_s: float, real: Callable[[str, float], Stream]
    ) -> Stream:
        """Open a stream, by ``real`` or from a recording."""

    def requester(self, address: str, timeout_s: float, real: Callable[[str, float], Asks]) -> Asks:
        """Open a connection for questions, by ``real`` or from a recording."""


#: Sessions that everything is opened through, the innermost last. Drivers open anew what broke, at
#: any time and in any thread: so this belongs to the process, not to a call.
_SESSIONS: list[Session] = []


@contextmanager
def through(session: Session) -> Iterator[None]:
    """Open everything through a session, until the end of the block."""
    _SESSIONS.append(session)
    try:
        yield
    finally:
        _SESSIONS.remove(session)


def open_requester(address: str, timeout_s: float) -> Asks:
    """Open a connection for questions over ZeroMQ; ``timeout_s`` bounds every wait.

    Raises :class:`InputError` and :class:`DeviceError` as :class:`Requester` does.
    """
    return (
        _SESSIONS[-1].requester(address, timeout_s, _ask) if _SESSIONS else _ask(address, timeout_s)
    )


def _ask(address: str, timeout_s: float) -> Asks:
    return Requester(address, timeout_s=timeout_s)


def open_stream(address: str, timeout_s: float) -> Stream:
    """Open a stream; ``timeout_s`` bounds the opening and each sending.

    Raises :class:`InputError` for an address of no known scheme and :class:`DeviceError` where
    nobody is there.
    """
    if _SESSIONS:
        return _SESSIONS[-1].stream(address, timeout_s, _open)
    return _open(address, timeout_s)


def _open(address: str, timeout_s: float) -> Stream:
    scheme, found, _ = address.partition("://")
    opener = SCHEMES.get(scheme) if found else None
    if opener is None:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise InputError(f"instrument address must begin with {known}, got {address!r}")
    return opener(address, timeout_s)

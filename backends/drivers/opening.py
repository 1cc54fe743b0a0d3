"""Open the stream to an instrument by the scheme of its address.

``tcp://HOST:PORT`` is a TCP connection, ``serial:///dev/...`` a serial line, ``visa://RESOURCE`` a
VISA resource. Another kind of stream
(a recording, say) adds its scheme to :data:`SCHEMES`.
"""

from collections.abc import Callable
from typing import Protocol

from backends.drivers.streams import Stream
from backends.drivers.tcp import TcpStream
from backends.drivers.zmq_scpi import Asks, Requester
from quantum.errors import InputError

__all__ = ["SCHEMES", "Session", "begin", "end", "open_requester", "open_stream"]


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

    def owns(self, address: str) -> bool:
        """Whether an address belongs to an instrument of this session."""

    def stream(
        self, address: str, timeout_s: float, real: Callable[[str, float], Stream]
    ) -> Stream:
        """Open a stream, by ``real`` or from a recording."""

    def requester(self, address: str, timeout_s: float, real: Callable[[str, float], Asks]) -> Asks:
        """Open a connection for questions, by ``real`` or from a recording."""


#: Sessions that drivers' openings go through, the last one first. Drivers open anew what broke, at
#: any time and in any thread: so this belongs to the process, not to a call.
_SESSIONS: list[Session] = []


def begin(session: Session) -> None:
    """From now on open the addresses that a session owns through it."""
    _SESSIONS.append(session)


def end(session: Session) -> None:
    """Open them by themselves again; safe to call twice."""
    if session in _SESSIONS:
        _SESSIONS.remove(session)


def _session(address: str) -> Session | None:
    return next((one for one in reversed(_SESSIONS) if one.owns(address)), None)


def open_requester(address: str, timeout_s: float) -> Asks:
    """Open a connection for questions over ZeroMQ; ``timeout_s`` bounds every wait.

    Raises :class:`InputError` and :class:`DeviceError` as :class:`Requester` does.
    """
    session = _session(address)
    if session is not None:
        return session.requester(address, timeout_s, _ask)
    return _ask(address, timeout_s)


def _ask(address: str, timeout_s: float) -> Asks:
    return Requester(address, timeout_s=timeout_s)


def open_stream(address: str, timeout_s: float) -> Stream:
    """Open a stream; ``timeout_s`` bounds the opening and each sending.

    Raises :class:`InputError` for an address of no known scheme and :class:`DeviceError` where
    nobody is there.
    """
    session = _session(address)
    if session is not None:
        return session.stream(address, timeout_s, _open)
    return _open(address, timeout_s)


def _open(address: str, timeout_s: float) -> Stream:
    scheme, found, _ = address.partition("://")
    opener = SCHEMES.get(scheme) if found else None
    if opener is None:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise InputError(f"instrument address must begin with {known}, got {address!r}")
    return opener(address, timeout_s)

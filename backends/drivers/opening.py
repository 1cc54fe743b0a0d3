"""Open the stream to an instrument by the scheme of its address.

``tcp://HOST:PORT`` is a TCP connection, ``serial:///dev/...`` a serial line, ``visa://RESOURCE`` a
VISA resource. Another kind of stream
(a recording, say) adds its scheme to :data:`SCHEMES`.
"""

from collections.abc import Callable

from backends.drivers.streams import Stream
from backends.drivers.tcp import TcpStream
from quantum.errors import InputError

__all__ = ["SCHEMES", "open_stream"]


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


def open_stream(address: str, timeout_s: float) -> Stream:
    """Open a stream; ``timeout_s`` bounds the opening and each sending.

    Raises :class:`InputError` for an address of no known scheme and :class:`DeviceError` where
    nobody is there.
    """
    scheme, found, _ = address.partition("://")
    opener = SCHEMES.get(scheme) if found else None
    if opener is None:
        known = ", ".join(f"{name}://" for name in sorted(SCHEMES))
        raise InputError(f"instrument address must begin with {known}, got {address!r}")
    return opener(address, timeout_s)

"""A VISA resource as a stream of bytes: ``visa://TCPIP::HOST::PORT::SOCKET`` and its kind.

PyVISA with its own pyvisa-py backend, so no vendor's VISA has to be installed. A resource is opened
by the name that is given; the network is never searched. Sockets are what is tested here; USB, GPIB
and VXI-11 resources go through the same calls.
"""

import contextlib
import re
import select
import socket

import pyvisa
from pyvisa import constants

from quantum.errors import DeviceError, DeviceTimeout, InputError

__all__ = ["VisaStream", "resource_of"]

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?"
_RESOURCE = re.compile(
    rf"(TCPIP[0-9]*::(?P<host>{_HOST})::(?P<port>[0-9]{{1,5}})::SOCKET"
    rf"|TCPIP[0-9]*::{_HOST}(::[A-Za-z0-9,_]+)?::INSTR"
    r"|USB[0-9]*::0x[0-9A-Fa-f]{1,4}::0x[0-9A-Fa-f]{1,4}::[A-Za-z0-9_.\-]+(::[0-9]+)?::INSTR"
    r"|GPIB[0-9]*::[0-9]{1,2}(::[0-9]{1,2})?::INSTR)\Z"
)
_READ_BYTES = 4096
#: A socket that is free takes as much at once.
_WRITE_BYTES = 2048


def resource_of(address: str) -> str:
    """Return the resource name of an address, or raise :class:`InputError`.

    >>> resource_of("visa://TCPIP::192.0.2.7::5025::SOCKET")
    'TCPIP::192.0.2.7::5025::SOCKET'
    """
    name = address.removeprefix("visa://")
    found = _RESOURCE.match(name)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 65536):
        raise InputError(
            "a VISA address must be TCPIP::HOST::PORT::SOCKET or a TCPIP, USB or GPIB ::INSTR, "
            f"got {address!r}"
        )
    return name


class VisaStream:
    """An open resource, not for two threads. ``timeout_s`` bounds the opening and sending."""

    def __init__(self, address: str, *, timeout_s: float) -> None:
        if not 0.0 < timeout_s <= 3600.0:
            raise InputError(f"timeout_s must be > 0 and at most 3600 seconds, got {timeout_s}")
        self.address = address
        self._timeout_s = timeout_s
        self._resource: pyvisa.resources.MessageBasedResource | None = None
        name = resource_of(address)
        _look_up(address, name)
        try:
            manager = pyvisa.ResourceManager("@py")
            opened = manager.open_resource(name, open_timeout=max(1, round(timeout_s * 1e3)))
        except Exception as wrong:
            raise DeviceError(f"{address}: cannot open: {_reason(wrong)}") from wrong
        assert isinstance(opened, pyvisa.resources.MessageBasedResource)
        self._resource = opened
        self._socket = _socket_of(opened)
        try:
            if self._socket is not None:
                # pyvisa-py takes a refused connection for an open one: ask the socket.
                self._socket.getpeername()
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.set_visa_attribute(constants.ResourceAttribute.termchar_enabled, False)
        except OSError as wrong:
            self.close()
            raise DeviceError(f"{address}: nobody answers there") from wrong

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        resource = self._open()
        # A message of USB or GPIB is one piece; a socket knows no messages.
        size = len(data) if self._socket is None else _WRITE_BYTES
        try:
            for begin in range(0, len(data), size):
                self._wait_until_free()
                resource.write_raw(data[begin : begin + size])
        except (pyvisa.Error, OSError, ValueError) as wrong:
            raise DeviceError(f"{self.address}: cannot send: {_reason(wrong)}") from wrong

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least one byte."""
        resource = self._open()
        wanted = _READ_BYTES
        if self._socket is not None:
            wanted = self._arrived(self._socket, timeout_s)
        resource.timeout = max(1.0, timeout_s * 1e3)
        try:
            # That there may be more is no news of a stream.
            with resource.ignore_warning(constants.StatusCode.success_max_count_read):
                data, _ = resource.visalib.read(resource.session, wanted)
        except pyvisa.errors.VisaIOError as wrong:
            if wrong.error_code == constants.StatusCode.error_timeout:
                raise DeviceTimeout(
                    f"{self.address}: nothing arrived within {timeout_s:g} s"
                ) from wrong
            raise DeviceError(f"{self.address}: cannot receive: {_reason(wrong)}") from wrong
        except (pyvisa.Error, OSError) as wrong:
            raise DeviceError(f"{self.address}: cannot receive: {_reason(wrong)}") from wrong
        return bytes(data)

    def close(self) -> None:
        """Release the resource; safe to call twice, and while another thread waits on a socket."""
        resource, wire = self._resource, self._socket
        self._resource = self._socket = None
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
        if resource is not None:
            resource.close()

    def _wait_until_free(self) -> None:
        """Wait until a socket takes bytes: pyvisa-py would do so for ever."""
        wire = self._socket
        if wire is None:
            return
        _, free, _ = select.select([], [wire], [], self._timeout_s)
        if not free:
            raise DeviceTimeout(f"{self.address}: nothing was taken for {self._timeout_s:g} s")

    def _arrived(self, wire: socket.socket, timeout_s: float) -> int:
        """Wait for bytes on a socket; return how many there are.

        pyvisa-py turns round and round on a connection that the other end closed, until the
        timeout: so its end is looked for first, and only what is there is read.
        """
        try:
            ready, _, _ = select.select([wire], [], [], max(0.0, timeout_s))
            if not ready:
                raise DeviceTimeout(f"{self.address}: nothing arrived within {timeout_s:g} s")
            count = len(wire.recv(_READ_BYTES, socket.MSG_PEEK))
        except (OSError, ValueError) as wrong:
            raise DeviceError(f"{self.address}: the connection broke: {_reason(wrong)}") from wrong
        if not count:
            raise DeviceError(f"{self.address}: the instrument closed the connection")
        return count

    def _open(self) -> "pyvisa.resources.MessageBasedResource":
        if self._resource is None:
            raise DeviceError(f"{self.address}: the connection is closed")
        return self._resource


def _look_up(address: str, name: str) -> None:
    """Find the host of a socket first: pyvisa-py leaves a socket open where there is none."""
    found = _RESOURCE.match(name)
    if found is None or found["port"] is None:
        return
    try:
        socket.getaddrinfo(found["host"], int(found["port"]), socket.AF_INET, socket.SOCK_STREAM)
    except OSError as wrong:
        raise DeviceError(f"{address}: cannot find the host: {_reason(wrong)}") from wrong


def _socket_of(resource: "pyvisa.resources.MessageBasedResource") -> socket.socket | None:
    """Return the socket behind a SOCKET resource of pyvisa-py; other resources have none."""
    session = getattr(resource.visalib, "sessions", {}).get(resource.session)
    wire = getattr(session, "interface", None)
    return wire if isinstance(wire, socket.socket) else None


def _reason(wrong: Exception) -> str:
    return " ".join(str(getattr(wrong, "strerror", None) or wrong).split())[:200]

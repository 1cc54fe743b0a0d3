"""A serial line as a stream of bytes: ``serial:///dev/ttyUSB0?baud=115200&rtscts=1``.

Lines have eight data bits, no parity and one stop bit. The line is locked for us while it is open:
two programs that share an instrument by accident would read each other's answers.
"""

import re
from typing import NamedTuple

import serial

from quantum.errors import DeviceError, DeviceTimeout, InputError

__all__ = ["Line", "SerialLine", "parse_line"]

_ADDRESS = re.compile(r"serial://(?P<device>/[A-Za-z0-9_./:+\-]+)(\?(?P<options>[a-z0-9=&]*))?\Z")
_BAUDS = (300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)


class Line(NamedTuple):
    """What an address says of a line."""

    device: str
    baud: int = 115200
    rtscts: bool = False


def parse_line(address: str) -> Line:
    """Read the address of a serial line, or raise :class:`InputError`.

    >>> parse_line("serial:///dev/ttyUSB0?baud=9600&rtscts=1")
    Line(device='/dev/ttyUSB0', baud=9600, rtscts=True)
    """
    parts = _ADDRESS.match(address)
    if parts is None or ".." in parts["device"]:
        raise InputError(
            f"instrument address must be serial:///dev/NAME?baud=N&rtscts=0|1, got {address!r}"
        )
    options: dict[str, str] = {}
    for text in [] if parts["options"] is None else parts["options"].split("&"):
        name, equals, value = text.partition("=")
        if name not in ("baud", "rtscts") or not equals or name in options:
            raise InputError(
                f"options of a serial address are baud and rtscts, once each, got {text!r}"
            )
        options[name] = value
    baud, rtscts = options.get("baud", "115200"), options.get("rtscts", "0")
    if baud not in {str(known) for known in _BAUDS}:
        raise InputError(f"baud must be one of {', '.join(map(str, _BAUDS))}, got {baud!r}")
    if rtscts not in ("0", "1"):
        raise InputError(f"rtscts must be 0 or 1, got {rtscts!r}")
    return Line(parts["device"], int(baud), rtscts == "1")


class SerialLine:
    """An open serial line; not for use by two threads. ``timeout_s`` bounds every write."""

    def __init__(self, address: str, *, timeout_s: float) -> None:
        line = parse_line(address)
        if not 0.0 < timeout_s <= 3600.0:
            raise InputError(f"timeout_s must be > 0 and at most 3600 seconds, got {timeout_s}")
        self.address = address
        self._timeout_s = timeout_s
        try:
            self._port: serial.Serial | None = serial.Serial(
                line.device,
                line.baud,
                rtscts=line.rtscts,
                timeout=timeout_s,
                write_timeout=timeout_s,
                exclusive=True,
            )
            # What an earlier client did not read is not for us.
            self._port.reset_input_buffer()
        except OSError as wrong:
            raise DeviceError(f"{address}: cannot open the line: {_reason(wrong)}") from wrong

    def send(self, data: bytes) -> None:
        """Send all bytes; raises :class:`DeviceTimeout` where the line takes none."""
        try:
            self._open().write(data)
        except serial.SerialTimeoutException as wrong:
            raise DeviceTimeout(
                f"{self.address}: the line took no bytes for {self._timeout_s:g} s"
            ) from wrong
        except OSError as wrong:
            raise DeviceError(f"{self.address}: the line is gone: {_reason(wrong)}") from wrong

    def receive(self, timeout_s: float) -> bytes:
        """Return what has arrived, at least one byte."""
        port = self._open()
        try:
            port.timeout = max(0.0, timeout_s)
            first: bytes = port.read(1)
            if not first and self._port is None:
                raise DeviceError(f"{self.address}: the connection is closed")
            if not first:
                raise DeviceTimeout(f"{self.address}: nothing arrived within {timeout_s:g} s")
            rest: bytes = port.read(port.in_waiting)
        except (OSError, TypeError, ValueError) as wrong:
            # pyserial raises the latter two where another thread closes the line meanwhile.
            raise DeviceError(f"{self.address}: the line is gone: {_reason(wrong)}") from wrong
        return first + rest

    def close(self) -> None:
        """Release the line; safe to call twice, and while another thread waits in receive()."""
        port, self._port = self._port, None
        if port is not None:
            # Closing alone would not wake a thread that waits for bytes.
            port.cancel_read()
            port.close()

    def _open(self) -> serial.Serial:
        if self._port is None:
            raise DeviceError(f"{self.address}: the connection is closed")
        return self._port


def _reason(wrong: Exception) -> str:
    return " ".join(str(getattr(wrong, "strerror", None) or wrong).split())

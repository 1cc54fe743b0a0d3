"""One supervisor for an instrument: who opens an address holds its lock, whatever rack names it.

Locks are files in the state folder of one user on one machine; they end with the process.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import socket
from pathlib import Path

from quantum.errors import InputError

__all__ = ["AddressLocks", "marks_of"]

_TCP = re.compile(
    r"(?:tcp://|(?:visa://)?TCPIP\d*::)(?P<host>.+?)(?:::?)(?P<ports>[0-9,]+)(?:::SOCKET)?\Z"
)
_SERIAL = re.compile(r"serial://(?P<device>/[^?]+)")


def marks_of(address: str) -> list[str]:
    """Return one name for each place that an address opens, however it is written.

    >>> marks_of("tcp://localhost:12000,12345")
    ['127.0.0.1:12000', '127.0.0.1:12345']
    >>> marks_of("visa://TCPIP::127.0.0.1::5025::SOCKET") == marks_of("tcp://127.0.0.1:5025")
    True
    """
    tcp, line = _TCP.match(address), _SERIAL.match(address)
    if tcp is not None:
        host = tcp["host"].lower()
        # A host without an address will not be opened either: its own name is as good.
        with contextlib.suppress(OSError, UnicodeError):
            host = socket.gethostbyname(host)
        return [f"{host}:{port}" for port in tcp["ports"].split(",") if port]
    return [os.path.realpath(line["device"])] if line is not None else [address]


class AddressLocks:
    """Holds the locks of all addresses of a rack, or of none: then :class:`InputError` says why.

    ``addresses`` by instrument. Two instruments of one rack may share an address.
    """

    def __init__(self, home: Path, rack: Path, addresses: dict[str, str]) -> None:
        folder = home / "addresses"
        self._held: dict[str, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, address in addresses.items():
                for mark in marks_of(address):
                    if mark not in self._held:
                        self._held[mark] = _lock(folder, mark, rack, f"{name} at {address}")
        except OSError as wrong:
            self.close()
            raise InputError(f"cannot lock addresses in {folder}: {wrong.strerror}") from wrong
        except InputError:
            self.close()
            raise

    def close(self) -> None:
        """Let the addresses go; safe to call twice."""
        while self._held:
            os.close(self._held.popitem()[1])


def _lock(folder: Path, mark: str, rack: Path, what: str) -> int:
    path = folder / hashlib.sha256(mark.encode()).hexdigest()[:24]
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        whose = os.read(handle, 4096).decode("utf-8", errors="replace") or "another rack"
        os.close(handle)
        raise InputError(f"{what} belongs to the running supervisor of {whose}") from None
    os.ftruncate(handle, 0)
    os.write(handle, str(rack.resolve()).encode())
    return handle

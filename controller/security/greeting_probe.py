"""What listens at a port: reads the greeting that every ZeroMQ socket sends (ZMTP 3, RFC 23)."""

import socket
import time

__all__ = ["mechanism_of"]

#: Signature, version 3.1, mechanism CURVE, not as server, filler: 64 bytes.
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


def mechanism_of(host: str, port: int, patience_s: float = 1.0) -> str:
    """Return the security mechanism (``CURVE``, ``NULL``, ...) spoken at a port.

    Empty where something else than ZeroMQ listens, or nothing is said within ``patience_s``. Raises
    :class:`OSError` where nothing can be reached.
    """
    until, heard = time.monotonic() + patience_s, b""
    with socket.create_connection((host, port), timeout=patience_s) as line:
        try:
            line.sendall(_GREETING)
            while len(heard) < 32:
                line.settimeout(max(0.01, until - time.monotonic()))
                data = line.recv(64)
                if not data or time.monotonic() > until:
                    break
                heard += data
        except OSError:
            return ""
    if len(heard) < 32 or heard[0] != 0xFF or heard[9] != 0x7F or heard[10] < 3:
        return ""
    return heard[12:32].rstrip(b"\0").decode("ascii", errors="replace")

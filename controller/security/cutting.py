"""Ends single connections of this process from outside of libzmq, which has no call for it.

A connection is a file descriptor; shutting it down is for libzmq as if the peer had gone, and works
from any thread. Who was cut by mistake comes back by himself, through the gate.
"""

import contextlib
import os
import socket
from collections.abc import Iterable

__all__ = ["cut", "cut_one", "host_of"]


def cut(
    ports: set[int], speaker: dict[int, str], gone: Iterable[str], *, silent: bool = True
) -> int:
    """Shut down connections accepted on ``ports`` whose key is gone; return how many there were.

    ``speaker`` tells the key that spoke last on a connection. Connections on which nobody has
    spoken yet may be anybody's: they are cut too unless ``silent`` is False, and lose nothing but
    the time of a handshake.
    """
    gone, count = set(gone), 0
    for number in _open_files() if silent else list(speaker):
        key = speaker.get(number)
        if (key in gone if key is not None else silent) and cut_one(number, ports):
            count += 1
    return count


def _open_files() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    return []


def host_of(number: int) -> str:
    """Return the host at the other end of a connection, nothing where it is gone already."""
    connection = _copy(number)
    if connection is None:
        return ""
    with connection, contextlib.suppress(OSError):
        name = connection.getpeername()
        return str(name[0]) if isinstance(name, tuple) else ""
    return ""


def cut_one(number: int, ports: set[int]) -> bool:
    """Shut a connection down that was accepted on one of ``ports``; tell whether it was one."""
    connection = _copy(number)
    if connection is None:
        return False
    with connection:
        try:
            name = connection.getsockname()
            if not isinstance(name, tuple) or name[1] not in ports:
                return False
            # A socket that listens has no peer: it stays.
            connection.getpeername()
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        return True


def _copy(number: int) -> socket.socket | None:
    # A copy stands for the same connection, even when the number is given to another one.
    try:
        copy = os.dup(number)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None

"""Locks on files that a process holds as long as it lives: the system lets go when it is killed."""

import os
from pathlib import Path

__all__ = ["hold", "is_held"]


def hold(path: Path, *, mode: int = 0o600) -> int | None:
    """Lock a file, which is made where it is missing; None where another process holds it.

    Returns the handle that holds the lock until it is closed. Raises :class:`OSError` where the
    file cannot be opened. Systems without POSIX locks hold nothing, and nobody is found out.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), mode)
    if _taken(handle, shared=False):
        os.close(handle)
        return None
    return handle


def is_held(path: Path) -> bool:
    """Tell whether a process holds the lock on a file; nobody does where there is none."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return _taken(handle, shared=True)
    finally:
        os.close(handle)


def _taken(handle: int, *, shared: bool) -> bool:
    try:
        import fcntl
    except ModuleNotFoundError:  # pragma: no cover - not POSIX
        return False
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return True
    return False

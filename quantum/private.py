"""Files that only their owner may read or write: checked before they are read, written whole.

Every error is one :class:`InputError` that says what is wrong and the command that mends it.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from quantum.errors import InputError

__all__ = ["check_folder", "check_public", "check_secret", "make_folder", "write_whole"]


def make_folder(folder: Path) -> None:
    """Make a folder of mode 0700 where there is none; refuse one that others can enter."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as wrong:
        raise InputError(f"cannot make folder {folder}: {wrong.strerror}") from wrong
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not this user's, or that others can enter."""
    _check(folder, "folder", stat.S_ISDIR, 0o077, 0o700)


def check_secret(path: Path) -> None:
    """Refuse a file that is not this user's, or that others can read or write."""
    _check(path, "key", stat.S_ISREG, 0o077, 0o600)


def check_public(path: Path) -> None:
    """Refuse a file that is not this user's, or that others can write."""
    _check(path, "public key", stat.S_ISREG, 0o022, 0o644)


def _check(path: Path, what: str, kind: Callable[[int], bool], laxer: int, wanted: int) -> None:
    try:
        # Not the target of a link: whoever made the link chose what is read.
        found = path.lstat()
    except OSError as wrong:
        raise InputError(f"cannot read {what} {path}: {wrong.strerror}") from wrong
    if not kind(found.st_mode):
        raise InputError(f"{what} {path} is not a plain {'folder' if what == 'folder' else 'file'}")
    if found.st_uid != os.geteuid():
        raise InputError(
            f"{what} {path} belongs to user {found.st_uid}, not to you ({os.geteuid()}): "
            f"chown {os.geteuid()} {path}"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & laxer:
        raise InputError(
            f"{what} {path} has mode {mode:04o}; it must be {wanted:04o} or stricter: "
            f"chmod {wanted:o} {path}"
        )


def write_whole(path: Path, data: bytes, *, mode: int, replace: bool = False) -> None:
    """Write a file at once and lastingly: readers see all of it or nothing.

    Without ``replace`` a file that exists is left alone, and :class:`InputError` says so.
    """
    draft = None
    try:
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
        _sync(path.parent)
    except FileExistsError as wrong:
        raise InputError(f"{path} exists already") from wrong
    except OSError as wrong:
        raise InputError(f"cannot write {path}: {wrong.strerror}") from wrong
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):
                os.unlink(draft)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

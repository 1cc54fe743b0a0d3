"""Where a rack's supervisor keeps what has to outlive it: token, latch, log, and where it listens.

One folder for each rack file, in ``$DPEM_STATE``, else in the user's state folder.
"""

import hashlib
import os
from pathlib import Path

import msgspec

from quantum.errors import InputError
from quantum.home import state_home
from quantum.locks import hold, is_held

__all__ = ["Endpoint", "Kept", "lock", "place_of", "read_endpoint", "read_kept", "state_home"]


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What outlives a supervisor. ``latched`` says why, or is empty.

    ``active`` stands while a lease is given out: found at the start, it shows that the last
    supervisor ended without a word.
    """

    token: int = 0
    latched: str = ""
    active: bool = False
    mode: str = "stub"

    def write(self, folder: Path) -> None:
        """Replace the file at once and lastingly."""
        draft = folder / "state.json.new"
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(self))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / "state.json")


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a supervisor listens, and the public key by which it is known."""

    commands: str
    estop: str
    public: str
    mode: str
    guardian: int
    supervisor: int
    controls: dict[str, str] = {}
    """Control addresses of stubs that this supervisor started."""


def place_of(rack: Path) -> Path:
    """Return a rack file's folder, made if need be."""
    path = rack.resolve()
    mark = hashlib.sha256(str(path).encode()).hexdigest()[:10]
    folder = state_home() / "racks" / f"{path.stem}-{mark}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as wrong:
        raise InputError(f"cannot make {folder}: {wrong.strerror}; set DPEM_STATE") from wrong
    return folder


def read_kept(folder: Path) -> Kept:
    """Read what was kept; a file that cannot be read counts as a latched rack."""
    path = folder / "state.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.DecodeError):
        return Kept(latched=f"{path} cannot be read")


def read_endpoint(folder: Path) -> Endpoint | None:
    """Return where the supervisor of a rack listens, or None where none runs."""
    if not is_held(folder / "lock"):
        return None
    try:
        return msgspec.json.decode((folder / "endpoint.json").read_bytes(), type=Endpoint)
    except (OSError, msgspec.DecodeError):
        return None


def lock(folder: Path) -> int:
    """Take the place for this process, or raise :class:`InputError` where another one has it."""
    handle = hold(folder / "lock")
    if handle is None:
        raise InputError("this rack has a supervisor already")
    return handle

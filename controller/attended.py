"""A run that is going on, as others of the same user on this machine see it and may stop it.

The run folder holds results only, so this lies in the user's state folder: a lock that the run
holds as long as it lives (a killed run loses it), the word for what it is doing, and the wish of
somebody that it stop. A wish is heard between two steps, like Ctrl-C; no signal is sent, so no
wrong process can be hit.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from quantum.errors import InputError
from quantum.locks import hold, is_held
from quantum.output import write_whole

__all__ = ["Attended", "Wish", "ask_to_stop", "place_of", "stage_of"]

#: How often a run looks for a wish.
_LOOK_S = 0.05
_STAGE, _WISH, _LOCK = "stage", "stop.json", "lock"


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants a run to stop, and why."""

    by: str
    reason: str


def place_of(folder: Path) -> Path:
    """Return where what is known of a run folder's run lies, whether it is there or not."""
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    chosen = os.environ.get("DPEM_STATE")
    if chosen:
        home = Path(chosen)
    else:
        base = os.environ.get("XDG_STATE_HOME")
        home = (Path(base) if base else Path.home() / ".local" / "state") / "dpem"
    return home / "runs" / f"{folder.resolve().name[:40]}-{mark}"


class Attended:
    """Makes a run visible while it is entered; where that is impossible, the run goes on alone."""

    def __init__(self, folder: Path, interrupted: Callable[[], None] = lambda: None) -> None:
        """``interrupted`` is asked first in every check, and raises."""
        self._interrupted = interrupted
        self._place = place_of(folder)
        self._lock: int | None = None
        self._looked_s = 0.0
        self.wish: Wish | None = None
        """Who wanted the run to stop, once somebody did."""

    def __enter__(self) -> Self:
        try:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = hold(self._place / _LOCK)
        except OSError:
            return self
        if self._lock is not None:
            # A wish was meant for the run before.
            (self._place / _WISH).unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def say(self, word: str) -> None:
        """Say what the run is doing."""
        if self._lock is not None:
            try:
                write_whole(self._place / _STAGE, word.encode())
            except InputError:
                return

    def check(self) -> None:
        """Raise KeyboardInterrupt where somebody wants the run to stop; remember who."""
        self._interrupted()
        now = time.monotonic()
        if self._lock is None or now - self._looked_s < _LOOK_S:
            return
        self._looked_s = now
        try:
            data = (self._place / _WISH).read_bytes()
        except OSError:
            return
        try:
            self.wish = msgspec.json.decode(data, type=Wish)
        except msgspec.DecodeError:
            self.wish = Wish("somebody", "a wish that cannot be read")
        raise KeyboardInterrupt


def stage_of(folder: Path) -> str | None:
    """Return what the run of a folder is doing; None where none is going on."""
    place = place_of(folder)
    if not is_held(place / _LOCK):
        return None
    try:
        return (place / _STAGE).read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return "starting"


def ask_to_stop(folder: Path, wish: Wish) -> None:
    """Ask the run of a folder to stop; :class:`InputError` where none is going on."""
    if stage_of(folder) is None:
        raise InputError(f"no run is going on in {folder}")
    write_whole(place_of(folder) / _WISH, msgspec.json.encode(wish))

"""What can be stopped from a page: the run, and the instruments of its rack. Never a dummy.

A run is asked to stop and seals its record (:mod:`controller.attended`). Instruments belong to
their rack's supervisor, which the sibling package ``backends`` speaks to; it is found by the entry
point group ``dpem.safety``, as siblings never import each other.
"""

import asyncio
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from controller.attended import Wish, ask_to_stop, stage_of
from quantum.errors import DpemError, InputError

__all__ = ["Controls", "Safety", "safety"]

#: How often the rack's supervisor is asked how its instruments are.
_LOOK_S = 1.0


class Safety(Protocol):
    """What ``dpem.safety`` offers: the state of a rack, and its emergency stop."""

    def status(self, rack: Path) -> dict[str, Any]:
        """Return mode, latch and instruments; ``running`` False where no supervisor is there."""

    def estop(self, rack: Path, reason: str) -> dict[str, Any]:
        """Bring the rack into its safe state and latch it; say what was read back."""


def safety() -> Safety | None:
    """Return what speaks to supervisors, None where it is not installed."""
    for point in entry_points(group="dpem.safety"):
        found: Callable[[], Safety] = point.load()
        return found()
    return None


class Controls:
    """Stops a run and its rack; looks at the rack while the run goes on."""

    def __init__(self, folder: Path, rack: Callable[[], str | None]) -> None:
        self._folder, self._rack = folder, rack
        self._safety: Safety | None = None
        self._looked_s = -_LOOK_S
        self._looking: asyncio.Future[None] | None = None
        self._going = False
        self.instruments: dict[str, Any] = {}
        """What the rack's supervisor says; empty without a rack."""
        self.version = 0

    def look(self) -> None:
        """See whether the run goes on; ask the supervisor in the background, where it is time."""
        going = stage_of(self._folder) is not None
        if going != self._going:
            self._going = going
            self.version += 1
        rack = self._rack()
        now = time.monotonic()
        if rack is None or self._looking is not None or now - self._looked_s < _LOOK_S:
            return
        self._looked_s = now
        self._looking = asyncio.ensure_future(self._look(Path(rack)))

    async def _look(self, rack: Path) -> None:
        try:
            found = await asyncio.to_thread(self._status, rack)
            if found != self.instruments:
                self.instruments = found
                self.version += 1
        finally:
            self._looking = None

    def _status(self, rack: Path) -> dict[str, Any]:
        self._safety = self._safety or safety()
        if self._safety is None:
            return {"running": False, "detail": "nothing that speaks to racks is installed"}
        try:
            return self._safety.status(rack)
        except DpemError as wrong:
            return {"running": False, "detail": " ".join(str(wrong).split())[:300]}

    def offered(self, state: str) -> list[str]:
        """Return what can be stopped now: ``instruments`` and ``run``."""
        going = state in ("running", "preparing")
        # A run whose record is damaged meanwhile goes on, and can be stopped.
        going = going or (state == "damaged" and stage_of(self._folder) is not None)
        latched = bool(self.instruments.get("latched"))
        rack = ["instruments"] if self.instruments.get("running") and not latched else []
        return [*rack, "run"] if going else rack

    async def stop(self, what: str, reason: str, state: str) -> dict[str, Any]:
        """Stop what is named; :class:`InputError` where there is nothing to stop."""
        if what not in ("instruments", "run"):
            raise InputError(f"what must be instruments or run, got {what!r:.40}")
        rack = self._rack()
        if what == "instruments":
            found = self._safety or safety()
            if rack is None or found is None:
                raise InputError("this run has no instruments")
            said = await asyncio.to_thread(found.estop, Path(rack), reason)
            self._looked_s = -_LOOK_S
            return said
        if "run" not in self.offered(state):
            raise InputError("no run is going on in this folder")
        await asyncio.to_thread(ask_to_stop, self._folder, Wish("the dashboard", reason))
        return {"asked": True}

"""A rack as others see and stop it: plain values for whoever finds this by ``dpem.safety``."""

from pathlib import Path
from typing import Any

import msgspec

from backends.supervisor import client
from backends.supervisor.places import place_of, read_endpoint, read_kept

__all__ = ["Racks", "safety"]


class Racks:
    """The state of racks, and their emergency stop, with this user's own key."""

    def status(self, rack: Path) -> dict[str, Any]:
        """Return mode, latch, holder of the lease, and instruments by name.

        Without a supervisor ``running`` is False, and ``latched`` is what was kept of the last one.
        Raises :class:`DpemError` where a supervisor does not answer.
        """
        place = place_of(rack)
        if read_endpoint(place) is None:
            kept = read_kept(place)
            return {"running": False, "mode": kept.mode, "latched": kept.latched}
        said: dict[str, Any] = msgspec.structs.asdict(client.status(rack))
        del said["rid"]
        return {"running": True, **said}

    def estop(self, rack: Path, reason: str) -> dict[str, Any]:
        """Stop a rack as ``dpem lab estop`` does; what was read back, by instrument."""
        done = msgspec.structs.asdict(client.estop(rack, reason))
        del done["rid"]
        return done


def safety() -> Racks:
    """Return what the entry point offers."""
    return Racks()

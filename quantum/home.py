"""Where a user's state lies: keys, racks, services."""

import os
from pathlib import Path

__all__ = ["state_home"]


def state_home() -> Path:
    """Return ``$DPEM_STATE``, else ``dpem`` in the user's state folder; it may not exist yet."""
    chosen = os.environ.get("DPEM_STATE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "dpem"

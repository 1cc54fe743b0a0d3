"""The audit log as several threads write it, and what follows where it cannot be written."""

import threading
from collections.abc import Callable
from typing import Any

from backends.supervisor.audit import AuditLog

__all__ = ["Notes"]


class Notes:
    """Writes lines; the first that cannot be written is told to ``on_lost``, if logs must hold."""

    def __init__(self, log: AuditLog, *, strict: bool, on_lost: Callable[[str], None]) -> None:
        self._log, self._strict, self._on_lost = log, strict, on_lost
        self._lock = threading.Lock()
        self.lost = ""

    def note(self, event: str, *, sync: bool = False, **fields: Any) -> None:
        """Write a line; never raises."""
        with self._lock:
            if self.lost:
                return
            try:
                self._log.append(event, sync=sync, **fields)
                return
            except OSError as wrong:
                self.lost = f"the audit log is lost: {wrong.strerror or wrong}"
        if self._strict:
            self._on_lost(self.lost)

    def close(self) -> None:
        """Close the log."""
        with self._lock:
            self._log.close()
            self.lost = self.lost or "the audit log is closed"

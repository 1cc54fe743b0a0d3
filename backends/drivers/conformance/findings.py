"""What a check found."""

from dataclasses import dataclass

__all__ = ["Finding", "Skip"]


class Skip(Exception):
    """A check that cannot be made here; the text says why."""


@dataclass(frozen=True)
class Finding:
    """What one check found; ``detail`` is empty where all is well."""

    check: str
    detail: str = ""
    skipped: str = ""
    """Why the check was not made."""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the driver."""
        return not self.detail

    @property
    def verdict(self) -> str:
        """Return ``ok``, ``failed`` or ``skipped``."""
        return "failed" if self.detail else ("skipped" if self.skipped else "ok")

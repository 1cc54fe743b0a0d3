"""Subcommands of ``dpem`` that need a backend."""

from importlib.metadata import entry_points
from typing import cast

from backends.contract import Backend
from quantum.errors import InputError

__all__ = ["open_backend"]


def open_backend(name: str) -> Backend:
    """Open a backend by the name under which it is installed (entry points ``dpem.backends``)."""
    found = {point.name: point for point in entry_points(group="dpem.backends")}
    if name not in found:
        raise InputError(f"backend {name!r} is unknown; known: {', '.join(sorted(found))}")
    return cast(Backend, found[name].load()())

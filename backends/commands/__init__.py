"""Subcommands of ``dpem`` that need a backend."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from backends.contract import Backend
from quantum.errors import InputError

__all__ = ["open_backend"]


def open_backend(name: str, rack: str | None = None) -> Backend:
    """Open a backend by the name under which it is installed (entry points ``dpem.backends``).

    Only ``lab`` takes the path of a rack file.
    """
    found = {point.name: point for point in entry_points(group="dpem.backends")}
    if name not in found:
        raise InputError(f"backend {name!r} is unknown; known: {', '.join(sorted(found))}")
    if rack is None:
        return cast(Backend, found[name].load()())
    if name != "lab":
        raise InputError(f"rack is for backend lab only, the backend is {name}")
    return cast(Backend, found[name].load()(Path(rack)))

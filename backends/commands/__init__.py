"""Subcommands of ``dpem`` that need a backend."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast

from quantum.errors import InputError
from quantum.words import near

if TYPE_CHECKING:
    from backends.contract import Backend

__all__ = ["open_backend"]


def open_backend(
    name: str, rack: str | None = None, processes: int = 1, link: int | None = None
) -> "Backend":
    """Open a backend by the name under which it is installed (entry points ``dpem.backends``).

    Only ``lab`` takes the path of a rack file and a link of it, only ``aer`` more than one process.
    """
    found = {point.name: point for point in entry_points(group="dpem.backends")}
    if name not in found:
        names = sorted(found)
        meant = near(name, names)
        raise InputError(f"backend {name!r} is unknown{meant}; known: {', '.join(names)}")
    if processes > 1 and name != "aer":
        raise InputError(f"processes are for backend aer only, the backend is {name}")
    if rack is not None and name != "lab":
        raise InputError(f"rack is for backend lab only, the backend is {name}")
    if link is not None and rack is None:
        raise InputError("link is for backend lab only, and needs a rack")
    if processes > 1:
        return cast("Backend", found[name].load()(processes=processes))
    if rack is None:
        return cast("Backend", found[name].load()())
    return cast("Backend", found[name].load()(Path(rack), link=link))

"""Puts the stand-ins where programs import them from, and takes them away again."""

import enum
import importlib.util
import sys
from pathlib import Path

from backends.squid.errors import SquidError
from backends.squid.run import MOST_EVENTS
from backends.squid.standin.finder import Standin, foreign
from backends.squid.standin.names import ROOTS

__all__ = ["Installed", "install", "real_netsquid", "uninstall"]


class Installed(enum.StrEnum):
    """What ``import squidasm`` leads to."""

    STANDIN = "standin"
    """Our own modules: programs run on the executor of this package."""
    NETSQUID = "netsquid"
    """A NetSquid is installed here, so nothing was changed: programs run on it."""


def install(
    engine: str = "aer",
    seed: int | None = None,
    processes: int = 1,
    most_events: int = MOST_EVENTS,
) -> Installed:
    """Let programs written for SquidASM be imported and run here, without NetSquid.

    ``engine`` is ``aer`` or ``numpy``. Without a seed each run draws a fresh one from the operating
    system. May be called again, to choose anew. Raises :class:`SquidError` where other modules of
    these names are imported already.
    """
    from backends.squid.standin.state import STATE

    if real_netsquid() is not None:
        return Installed.NETSQUID
    others = foreign()
    if others:
        raise SquidError(f"{others[0]} is imported already, and not ours: install() comes too late")
    if engine not in ("aer", "numpy"):
        raise SquidError(f"engine must be aer or numpy, got {engine!r}")
    if processes < 1:
        raise SquidError(f"processes must be >= 1, got {processes}")
    if not any(isinstance(finder, Standin) for finder in sys.meta_path):
        sys.meta_path.insert(0, Standin())
    STATE.engine, STATE.processes, STATE.most_events = engine, processes, most_events
    STATE.seed(seed)
    return Installed.STANDIN


def uninstall() -> None:
    """Take the stand-ins away, with everything that they remember."""
    from backends.squid.standin.logs import forget
    from backends.squid.standin.state import STATE, State

    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Standin)]
    others = set(foreign())
    for name in list(sys.modules):
        if name.partition(".")[0] in ROOTS and name not in others:
            del sys.modules[name]
    forget()
    vars(STATE).update(vars(State()))


def real_netsquid() -> str | None:
    """Return the folder of a NetSquid that can be imported.

    Its name alone says nothing: package indices have empty packages called like those of its kin.
    """
    if "netsquid" in sys.modules:
        found = getattr(sys.modules["netsquid"], "__path__", [])
    else:
        try:
            spec = importlib.util.find_spec("netsquid")
        except (ImportError, ValueError):
            return None
        found = [] if spec is None else spec.submodule_search_locations or []
    for folder in found:
        if (Path(folder) / "qubits").is_dir():
            return str(folder)
    return None

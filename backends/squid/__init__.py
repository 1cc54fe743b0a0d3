"""SquidASM applications without NetSquid: NetQASM programs on Qiskit Aer or dense matrices."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.squid.standin.install import Installed

__all__ = ["install", "uninstall"]


def install(engine: str = "aer", seed: int | None = None, processes: int = 1) -> "Installed":
    """Let programs written for SquidASM be imported and run here, without NetSquid.

    See :func:`backends.squid.standin.install.install`; nothing is loaded before.
    """
    from backends.squid.standin.install import install as put_in_place

    return put_in_place(engine, seed, processes)


def uninstall() -> None:
    """Take away what :func:`install` put in place, with everything that it remembers."""
    from backends.squid.standin.install import uninstall as take_away

    take_away()

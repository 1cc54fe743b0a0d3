"""What an engine is, and the choice of one by its name."""

import importlib.util
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Protocol

from quantum.errors import InputError

__all__ = ["ENGINES", "Engine", "check_engine", "chosen_engine"]

ENGINES = ("processes", "ray")


class Engine(Protocol):
    """Does ``work(task)`` for every task; ``finished`` is given each result when it is there.

    The first error that ``work`` raises ends everything and is passed on, and so is an interrupt.
    ``work`` is a function of a module, which other machines find by its name.
    """

    def __call__(
        self,
        work: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        finished: Callable[[Any, Any], None],
    ) -> None: ...


def check_engine(name: str, address: str | None) -> None:
    """Raise InputError where Ray is asked for and not installed, or an address has no use."""
    if name not in ENGINES:
        raise InputError(f"--engine must be {' or '.join(ENGINES)}, got {name!r}")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError("--engine ray needs Ray, which is not installed: pip install 'dpem[ray]'")
    if name != "ray" and address is not None:
        raise InputError(f"--ray-address {address} goes with --engine ray")


def chosen_engine(
    name: str,
    *,
    processes: int | None,
    address: str | None,
    files: Collection[str] = (),
    allocators: Collection[str] = (),
) -> Engine | None:
    """Return the engine of a name, None for processes of this machine.

    Tasks name ``files`` and ``allocators``.

    Raises InputError as :func:`check_engine` does.
    """
    check_engine(name, address)
    if name == "ray":
        from controller.engines.on_ray import spread_on_ray

        return partial(
            spread_on_ray,
            processes=processes,
            address=address,
            files=tuple(files),
            allocators=tuple(allocators),
        )
    return None

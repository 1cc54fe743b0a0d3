"""Makes the modules of :mod:`backends.squid.standin.names` when they are imported."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from backends.squid.standin.names import EAGER, MODULES, ROOTS

__all__ = ["Standin", "contents", "foreign"]


class Standin(MetaPathFinder, Loader):
    """Finds and loads the modules that stand in for SquidASM and what it needs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to make a module; None where its name is nothing of ours.

        Raises ModuleNotFoundError for a submodule that we lack: nobody else has it either.
        """
        if fullname.partition(".")[0] not in ROOTS:
            return None
        if fullname not in MODULES:
            parent = fullname.rpartition(".")[0]
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: {parent} stands in for the original here; "
                f"it has {', '.join(contents(parent)) or 'nothing'}",
                name=fullname,
            )
        return ModuleSpec(fullname, self, is_package=bool(_submodules(fullname)))

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let Python make an empty module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with its names."""
        name = module.__name__
        module.__doc__ = f"Stands in for {name}."
        values = vars(module)
        for source, names in MODULES[name].items():
            ours = importlib.import_module(source)
            for entry in names.split():
                public, _, own = entry.partition("=")
                values[public] = getattr(ours, own or public)
        values["__getattr__"] = _explain(name)
        if name in EAGER:
            for child in _submodules(name):
                importlib.import_module(f"{name}.{child}")


def _is_standin(module: ModuleType) -> bool:
    """Say whether a module was made here."""
    return isinstance(getattr(getattr(module, "__spec__", None), "loader", None), Standin)


def foreign() -> list[str]:
    """Name the modules of other origin that are imported already under one of our names."""
    return sorted(
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ROOTS and module is not None and not _is_standin(module)
    )


def _submodules(name: str) -> list[str]:
    start = f"{name}."
    return [
        other.removeprefix(start)
        for other in MODULES
        if other.startswith(start) and "." not in other.removeprefix(start)
    ]


def contents(name: str) -> list[str]:
    """Return what a module of ours has: its submodules and its names."""
    names = [
        entry.partition("=")[0]
        for entries in MODULES.get(name, {}).values()
        for entry in entries.split()
    ]
    return [*_submodules(name), *names]


def _explain(name: str) -> Any:
    def missing(attribute: str) -> Any:
        # Dunder names are asked for by Python itself, which wants no story.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise AttributeError(
            f"module {name!r} stands in for the original and has no {attribute!r}; "
            f"it has {', '.join(contents(name)) or 'nothing'}",
            name=attribute,
        )

    return missing

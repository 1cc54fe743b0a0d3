"""One file for the machines of a site: which part of it is whose, and which keys are here.

A file is either for one command as a whole, or has the tables ``serve`` (a service and its workers)
and ``run`` (a run, its agents and its workers), so that the same file may lie on every machine.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from controller.security.keyring import read_folder
from controller.security.keys import KeyPair, load_pair, load_public
from quantum.errors import InputError
from quantum.roles import Role

__all__ = ["RUN", "SERVE", "beside", "own_key", "own_names", "part_of", "public_of"]

SERVE, RUN = "serve", "run"
_T = TypeVar("_T", bound=msgspec.Struct)
#: Fields that are paths.
_PATHS = ("keys", "key", "journal", "journals")


def part_of(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the table of a part where the file has such tables, else all of it.

    >>> part_of({"serve": {"a": 1}, "run": {}}, "serve"), part_of({"a": 2}, "serve")
    ({'a': 1}, {'a': 2})
    """
    tables = [part for part in (SERVE, RUN) if isinstance(values.get(part), dict)]
    if not tables:
        return values
    more = sorted(values.keys() - {SERVE, RUN})
    if more:
        raise InputError(
            f"a file with table {tables[0]} has no keys but {SERVE} and {RUN}, got {more[0]}"
        )
    if name not in values:
        raise InputError(f"the file has no table {name}, only {tables[0]}")
    part: dict[str, Any] = values[name]
    return part


def beside(config: _T, path: Path) -> _T:
    """Return a configuration whose paths begin at the folder of its file."""
    there = path.resolve().parent
    moved: dict[str, str] = {}
    for field in _PATHS:
        value = getattr(config, field, None)
        if value:
            moved[field] = str(there / value)
    server = getattr(config, "server_key", None)
    if server and server.endswith(".pub"):
        moved["server_key"] = load_public(there / server).public
    return msgspec.structs.replace(config, **moved)


def own_names(folder: Path, role: Role) -> list[str]:
    """Return the names of the keys of a role whose secret half is in a folder of keys."""
    keys, _ = read_folder(folder)
    return [
        key.name
        for key in keys
        if key.role == role and not key.revoked and (folder / f"{key.name}.key").exists()
    ]


def own_key(folder: Path, role: Role) -> tuple[str, KeyPair]:
    """Return name and pair of the only key of a role whose secret half is in a folder of keys."""
    here = own_names(folder, role)
    if len(here) != 1:
        found = f"there are {', '.join(here)}: say which by --key" if here else "there is none"
        raise InputError(
            f"keys {folder}: one key of role {role} has to be there with its secret half; {found}"
            + ("" if here else f" (dpem keys new NAME --role {role} --folder {folder})")
        )
    return here[0], load_pair(folder / f"{here[0]}.key")


def public_of(folder: Path, name: str, server_key: str | None) -> str:
    """Return a server's public key: the one that is given, else ``name``'s in a folder of keys."""
    return server_key or load_public(folder / f"{name}.pub").public

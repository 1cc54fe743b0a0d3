"""What ``dpem doctor`` finds, and where it is told to look.

Packages that know more than this one register functions that yield :class:`Check`: under
``dpem.checks`` one that is given the endpoints that were named, under ``dpem.files`` one that is
given the file of ``--config``.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from quantum.errors import InputError
from quantum.roles import Role

__all__ = ["Check", "Endpoint", "endpoints_of"]


class Check(msgspec.Struct, frozen=True):
    """One finding: ``warn`` means slower or less, ``fail`` means that DPEM cannot work."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """A broker to be reached (``address``), or a place to listen at, and the keys for it.

    ``server_key`` is z85 or a ``.pub`` file, ``key`` a ``.key`` file, ``keys`` a key folder, in
    which ``server_name`` is whose the server's key is.
    """

    address: str = ""
    server_key: str = ""
    key: Path | None = None
    name: str = ""
    role: Role = "observe"
    listen: str = ""
    keys: Path | None = None
    server_name: str = ""


#: Addresses of a run in its table ``broker``, and who comes there. Telemetry is not asked for: who
#: publishes answers nobody.
_MEETING: dict[str, Role] = {"agents": "agent", "workers": "worker"}
#: Whose key it is that tables with these names, and tables in them, are served with.
_SERVERS = {"serve": "service", "broker": "broker"}


def endpoints_of(path: Path) -> list[Endpoint]:
    """Return the endpoints of a TOML or JSON file: each table that names ``address``, ``listen``
    or ``keys``, and what is in a table ``broker``. Relative paths start at the file's folder.

    Tables in a table have its ``keys`` and ``server_key`` where they name none.

    Raises :class:`InputError` naming file and field.
    """
    try:
        data = path.read_bytes()
        tree = msgspec.json.decode(data) if path.suffix == ".json" else tomllib.loads(data.decode())
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeError, RecursionError) as wrong:
        raise InputError(f"{path}: {str(wrong).splitlines()[0]}") from wrong
    found = list(_tables(tree, path, "", {"server_name": "service"}))
    if not found:
        raise InputError(f"{path}: no table has address, listen or keys")
    return found


def _tables(node: Any, path: Path, name: str, above: dict[str, Any]) -> list[Endpoint]:
    if isinstance(node, list):
        return [end for part in node for end in _tables(part, path, name, above)]
    if not isinstance(node, dict):
        return []
    known = {field: node[field] for field in _FIELDS if field in node}
    for field, value in known.items():
        if not isinstance(value, str):
            # A word of the same name that means something else.
            return _inside(node, path, above)
        if field in ("key", "keys"):
            known[field] = path.parent / value
        if field == "server_key" and value.endswith(".pub"):
            known[field] = str(path.parent / value)
        if field == "role" and value not in get_args(Role):
            raise InputError(f"{path}: role {value!r}: one of {', '.join(get_args(Role))}")
    shared = above | {field: known[field] for field in ("keys", "server_key") if field in known}
    if name in _SERVERS:
        shared["server_name"] = _SERVERS[name]
    own = []
    if {"address", "listen", "keys"} & known.keys():
        role = {"role": _MEETING[name]} if name in _MEETING else {}
        own.append(Endpoint(**(shared | role | known)))
    if name == "broker":
        for word, role_there in _MEETING.items():
            if isinstance(node.get(word), str):
                own.append(Endpoint(**(shared | {"address": node[word], "role": role_there})))
    return [*own, *_inside(node, path, shared)]


def _inside(node: dict[str, Any], path: Path, above: dict[str, Any]) -> list[Endpoint]:
    return [end for name, part in node.items() for end in _tables(part, path, name, above)]


_FIELDS = ("address", "server_key", "key", "name", "role", "listen", "keys")

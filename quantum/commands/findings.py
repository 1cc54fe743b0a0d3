"""What ``dpem doctor`` finds, and where it is told to look.

Packages that know more than this one register a function under ``dpem.checks``: it is given the
endpoints that were named and yields :class:`Check`.
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

    ``server_key`` is z85 or a ``.pub`` file, ``key`` a ``.key`` file, ``keys`` a key folder.
    """

    address: str = ""
    server_key: str = ""
    key: Path | None = None
    name: str = ""
    role: Role = "observe"
    listen: str = ""
    keys: Path | None = None


def endpoints_of(path: Path) -> list[Endpoint]:
    """Return the endpoints of a TOML or JSON file: each table that names ``address``, ``listen``
    or ``keys``. Relative paths start at the file's folder.

    Raises :class:`InputError` naming file and field.
    """
    try:
        data = path.read_bytes()
        tree = msgspec.json.decode(data) if path.suffix == ".json" else tomllib.loads(data.decode())
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeError, RecursionError) as wrong:
        raise InputError(f"{path}: {str(wrong).splitlines()[0]}") from wrong
    found = list(_tables(tree, path))
    if not found:
        raise InputError(f"{path}: no table has address, listen or keys")
    return found


def _tables(node: Any, path: Path) -> list[Endpoint]:
    if isinstance(node, list):
        return [end for part in node for end in _tables(part, path)]
    if not isinstance(node, dict):
        return []
    out = [end for part in node.values() for end in _tables(part, path)]
    known = {field: node[field] for field in Endpoint.__struct_fields__ if field in node}
    if not {"address", "listen", "keys"} & known.keys():
        return out
    for field, value in known.items():
        if not isinstance(value, str):
            # A word of the same name that means something else.
            return out
        if field in ("key", "keys"):
            known[field] = path.parent / value
        if field == "server_key" and value.endswith(".pub"):
            known[field] = str(path.parent / value)
        if field == "role" and value not in get_args(Role):
            raise InputError(f"{path}: role {value!r}: one of {', '.join(get_args(Role))}")
    return [Endpoint(**known), *out]

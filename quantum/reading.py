"""What a person is told when a file does not fit the type it is read into."""

import re
import types
import typing
from typing import Annotated, Any, Union

import msgspec

from quantum.words import near

__all__ = ["told"]

_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`(?: - at `\$?([^`]*)`)?")


def told(wrong: msgspec.ValidationError, kind: Any) -> str:
    """Return what msgspec said of a value of ``kind``, with what is allowed where a key is unknown.

    ``kind`` is the type that the whole was read as: a struct, or a list or union of them.

    >>> class Node(msgspec.Struct, forbid_unknown_fields=True):
    ...     name: str
    ...     qubits: int = 1
    >>> try:
    ...     _ = msgspec.json.decode(b'[{"name": "a", "qubit": 3}]', type=list[Node])
    ... except msgspec.ValidationError as wrong:
    ...     print(told(wrong, list[Node]))
    Object contains unknown field `qubit` - at `$[0]`; did you mean qubits; allowed are name, qubits
    """
    said = " ".join(str(wrong).split())
    found = _UNKNOWN.fullmatch(said)
    if found is None:
        return said
    allowed = list(_fields(_inside(kind, found[2] or "")))
    if not allowed:
        return said
    return f"{said}{near(found[1], allowed)}; allowed are {', '.join(allowed)}"


def _fields(kind: Any) -> list[str]:
    """Return the names of the fields of a struct, or of the structs of a union, as files have."""
    names: dict[str, None] = {}
    for one in _members(kind):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            names |= dict.fromkeys(one.__struct_encode_fields__)
    return list(names)


def _inside(kind: Any, path: str) -> Any:
    """Follow a path such as ``.links[0].a`` into a type; None where it leads nowhere."""
    for field in re.findall(r"\.([^.\[]+)|\[", path.replace("...", "")):
        found: Any = None
        for one in _members(kind):
            if field and isinstance(one, type) and issubclass(one, msgspec.Struct):
                hints = typing.get_type_hints(one, include_extras=True)
                names = dict(zip(one.__struct_encode_fields__, one.__struct_fields__, strict=True))
                found = hints.get(names.get(field, ""), found)
            elif not field and typing.get_args(one):
                # Elements of a list or tuple, values of a mapping.
                given = [each for each in typing.get_args(one) if each is not Ellipsis]
                found = given[-1]
        kind = found
    return kind


def _members(kind: Any) -> list[Any]:
    """Return what a type may be: itself, or the members of a union."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _members(typing.get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return [each for one in typing.get_args(kind) for each in _members(one)]
    return [kind]

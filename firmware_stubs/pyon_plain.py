"""PYON as far as a controller of lights and shutters needs it: plain values, sets and tuples.

Written apart from the reader in the drivers, so that a mistake in one is not hidden by the other.
Version 2 is JSON with ``{"__jsonclass__": [name, arguments]}`` for sets and tuples; of version 1
only what is also JSON is read.
"""

import json
from typing import Any

__all__ = ["read", "write"]


def read(text: str) -> Any:
    """Return the value of a request, tuples as lists; ValueError for what a call cannot carry.

    >>> read('{"args": {"__jsonclass__": ["tuple", [[true]]]}}')
    {'args': [True]}
    """
    try:
        return json.loads(text, object_hook=_plain)
    except RecursionError as wrong:
        raise ValueError("nested too deep") from wrong


def _plain(found: dict[str, Any]) -> Any:
    if "__jsonclass__" not in found:
        return found
    hint = found["__jsonclass__"]
    if isinstance(hint, list) and len(hint) == 2 and hint[0] == "tuple":
        items = hint[1]
        if isinstance(items, list) and len(items) == 1 and isinstance(items[0], list):
            return items[0]
    raise ValueError("only tuples may be in a call to this controller")


def write(value: Any, version: int) -> str:
    """Return a value on one line.

    >>> write({"ping"}, 2), write({"ping"}, 1), write((1.5, None), 1)
    ('{"__jsonclass__":["set",[["ping"]]]}', '{"ping"}', '(1.5, null)')
    """
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(k))}:{write(v, version)}" for k, v in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(item, version) for item in value) + "]"
    if isinstance(value, set | tuple):
        items = sorted(value) if isinstance(value, set) else value
        written = [write(item, version) for item in items]
        name = "set" if isinstance(value, set) else "tuple"
        if version == 2:
            return f'{{"__jsonclass__":["{name}",[[{",".join(written)}]]]}}'
        start, end = "{}" if name == "set" else "()"
        comma = ", " if name == "tuple" and len(written) == 1 else ""
        return f"{start}{', '.join(written)}{comma}{end}"
    return json.dumps(value)

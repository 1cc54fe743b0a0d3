"""PYON, the notation of values in sipyco's PC_RPC, read and written without ever running it.

Version 2 is JSON in which ``{"__jsonclass__": [name, arguments]}`` stands for what JSON lacks;
version 1 looks like Python source (``(1, 2)``, ``{1, 2}``, ``nparray((2,), "<f8", b"...")``). The
reader of version 1 is a small descent over tokens with a limit of depth.
"""

import ast
import base64
import json
import re
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from backends.drivers.pyon_values import PyonError, build
from quantum.errors import InputError

__all__ = ["PyonError", "decode", "encode"]

_HINT = "__jsonclass__"
_DEPTH = 64
_DIGITS = 400

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<bytes>b(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<quoted>'(?:[^'\\\n]|\\.)*')"
    r"|(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?|nan|inf)j?(?![A-Za-z0-9_]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<mark>[()\[\]{},:])"
    r")"
)
_END = re.compile(r"\s*\Z")
_NAMES = {"null": None, "true": True, "false": False, "None": None, "True": True, "False": False}


def decode(text: str, version: int = 2) -> Any:
    """Return the value that a text stands for, or raise :class:`PyonError`.

    >>> decode('{"a": {"__jsonclass__": ["tuple", [[1, 2]]]}}')
    {'a': (1, 2)}
    >>> decode("{'a': (1, 2), 'b': (1+2j)}", version=1)
    {'a': (1, 2), 'b': (1+2j)}
    """
    if version == 1:
        return _Reader(text).whole()
    try:
        return json.loads(text, object_hook=_hook)
    except PyonError:
        raise
    except (ValueError, TypeError, RecursionError) as wrong:
        raise PyonError(f"no PYON: {text[:60]!r}") from wrong


def encode(value: Any, version: int = 2) -> str:
    """Return one line of ASCII; raise :class:`InputError` for a value that PYON cannot carry.

    >>> encode({"a": (1, 2.5)}), encode((1, {3}), version=1)
    ('{"a":{"__jsonclass__":["tuple",[[1,2.5]]]}}', '(1, {3})')
    """
    if version == 1:
        return _write1(value, 0)
    return json.dumps(_hinted(value, 0), separators=(",", ":"))


def _hook(found: dict[str, Any]) -> Any:
    if _HINT not in found:
        return found
    hint = found[_HINT]
    if (
        len(found) != 1
        or not isinstance(hint, list)
        or len(hint) != 2
        or not isinstance(hint[0], str)
        or not isinstance(hint[1], list)
    ):
        raise PyonError(f"PYON hint must be [name, arguments], got {hint!r:.60}")
    return build(hint[0], hint[1])


class _Reader:
    """Version 1, token by token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._kind = ""
        self._token = ""
        self._next()

    def whole(self) -> Any:
        value = self._value(0)
        if self._kind:
            self._fail()
        return value

    def _next(self) -> None:
        if _END.match(self._text, self._place):
            self._kind = self._token = ""
            return
        found = _TOKEN.match(self._text, self._place)
        if found is None:
            self._fail()
        self._place = found.end()
        self._kind = str(found.lastgroup)
        self._token = found[self._kind]

    def _fail(self) -> NoReturn:
        raise PyonError(f"no PYON v1 at character {self._place}: {self._text[:60]!r}")

    def _value(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise PyonError(f"PYON is nested more than {_DEPTH} deep")
        kind, token = self._kind, self._token
        if kind == "mark" and token in "([{":
            self._next()
            return {"(": self._round, "[": self._square, "{": self._curly}[token](depth + 1)
        self._next()
        match kind:
            case "number":
                return _number(token)
            case "text" | "quoted" | "bytes":
                try:
                    return json.loads(token) if kind == "text" else ast.literal_eval(token)
                except (ValueError, SyntaxError) as wrong:
                    raise PyonError(f"no PYON string: {token[:60]!r}") from wrong
            case "name" if token in _NAMES:
                return _NAMES[token]
            case "name":
                return self._call(token, depth + 1)
            case _:
                self._fail()

    def _mark(self, mark: str) -> bool:
        """Skip a mark, and say whether it was there."""
        if self._kind == "mark" and self._token == mark:
            self._next()
            return True
        return False

    def _until(self, end: str, depth: int) -> tuple[list[Any], bool]:
        """Read values up to a mark; say whether a comma came last."""
        values: list[Any] = []
        while not self._mark(end):
            values.append(self._value(depth))
            if not self._mark(","):
                if not self._mark(end):
                    self._fail()
                return values, False
        return values, True

    def _round(self, depth: int) -> Any:
        if self._mark(")"):
            return ()
        first = self._value(depth)
        if self._kind == "number" and self._token[0] in "+-" and self._token.endswith("j"):
            imag = _number(self._token)
            self._next()
            if not isinstance(first, int | float) or not self._mark(")"):
                self._fail()
            return build("complex", [first, imag.imag])
        if self._mark(")"):
            return first
        if not self._mark(","):
            self._fail()
        return (first, *self._until(")", depth)[0])

    def _square(self, depth: int) -> list[Any]:
        return self._until("]", depth)[0]

    def _curly(self, depth: int) -> Any:
        if self._mark("}"):
            return {}
        first = self._value(depth)
        if not self._mark(":"):
            rest = [] if self._mark("}") else self._rest(depth)
            return build("set", [[first, *rest]])
        pairs = [[first, self._value(depth)]]
        while not self._mark("}"):
            if not self._mark(","):
                self._fail()
            if self._mark("}"):
                break
            key = self._value(depth)
            if not self._mark(":"):
                self._fail()
            pairs.append([key, self._value(depth)])
        return build("dict", [pairs])

    def _rest(self, depth: int) -> list[Any]:
        if not self._mark(","):
            self._fail()
        return self._until("}", depth)[0]

    def _call(self, name: str, depth: int) -> Any:
        if not self._mark("("):
            self._fail()
        return build(name, self._until(")", depth)[0])


def _number(token: str) -> Any:
    if len(token) > _DIGITS:
        raise PyonError(f"PYON number has more than {_DIGITS} digits")
    if token.endswith("j"):
        return complex(0.0, float(token[:-1]))
    return int(token) if token.lstrip("+-").isdigit() else float(token)


def _hinted(value: Any, depth: int) -> Any:
    """Turn a value into what JSON can carry."""
    if depth > _DEPTH:
        raise InputError(f"an argument is nested more than {_DEPTH} deep")
    match value:
        case None | bool() | int() | float() | str():
            # numpy's float64 is a float too, and says so by its own hint.
            if not isinstance(value, np.generic):
                return value
        case list():
            return [_hinted(item, depth + 1) for item in value]
        case tuple():
            return _hint("tuple", [[_hinted(item, depth + 1) for item in value]])
        case set() | frozenset():
            return _hint("set", [[_hinted(item, depth + 1) for item in value]])
        case dict():
            if all(isinstance(key, str) for key in value) and _HINT not in value:
                return {key: _hinted(item, depth + 1) for key, item in value.items()}
            pairs = [[_hinted(k, depth + 1), _hinted(v, depth + 1)] for k, v in value.items()]
            return _hint("dict", [pairs])
        case complex() if not isinstance(value, np.generic):
            return _hint("complex", [value.real, value.imag])
        case bytes():
            return _hint("bytes", [base64.b64encode(value).decode()])
        case Fraction():
            return _hint("Fraction", [value.numerator, value.denominator])
        case _:
            pass
    shape, dtype, data = _raw(value)
    return (
        _hint("nparray", [shape, dtype, data])
        if shape is not None
        else _hint("npscalar", [dtype, data])
    )


def _hint(name: str, args: list[Any]) -> dict[str, Any]:
    return {_HINT: [name, args]}


def _raw(value: Any) -> tuple[list[int] | None, str, str]:
    """Return shape (None: a scalar), dtype and base64 of a numpy value of plain numbers."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        plain = np.ascontiguousarray(value)
        data = base64.b64encode(plain.tobytes()).decode()
        return list(value.shape) if isinstance(value, np.ndarray) else None, plain.dtype.str, data
    raise InputError(f"an argument of type {type(value).__name__} cannot be sent")


def _write1(value: Any, depth: int) -> str:
    if depth > _DEPTH:
        raise InputError(f"an argument is nested more than {_DEPTH} deep")

    def several(items: Any) -> str:
        return ", ".join(_write1(item, depth + 1) for item in items)

    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float() | complex() | bytes() if not isinstance(value, np.generic):
            return repr(value)
        case str():
            return json.dumps(value)
        case list():
            return f"[{several(value)}]"
        case tuple():
            return f"({several(value)}, )" if len(value) == 1 else f"({several(value)})"
        case set() | frozenset() if value:
            return f"{{{several(value)}}}"
        case dict():
            pairs = (f"{_write1(k, depth + 1)}: {_write1(v, depth + 1)}" for k, v in value.items())
            return "{" + ", ".join(pairs) + "}"
        case Fraction():
            return f"Fraction({value.numerator}, {value.denominator})"
        case _:
            shape, dtype, data = _raw(value)
            first = "" if shape is None else _write1(tuple(shape), depth + 1) + ", "
            kind = "npscalar" if shape is None else "nparray"
            return f'{kind}({first}"{dtype}", b"{data}")'

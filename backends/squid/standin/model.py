"""What configuration classes have in common: typed fields, files, and errors that say where.

As in SquidASM: unknown keys are ignored, numbers may be strings (YAML reads ``1e3`` as one), and
fields may be assigned later. Unlike there, a field that is assigned is checked at that line, and a
name that is no field is an error.
"""

import math
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from backends.squid.errors import SquidError

__all__ = [
    "Attenuation",
    "Coherence",
    "Count",
    "FieldError",
    "Length",
    "Model",
    "Probability",
    "Speed",
    "Time",
    "told",
]


class FieldError(SquidError):
    """A field is wrong; ``where`` leads to it from outside."""

    def __init__(self, where: tuple[str, ...], what: str) -> None:
        self.where, self.what = where, what
        super().__init__(": ".join((*where[:-1], f"{where[-1]} {what}")) if where else what)

    def inside(self, *outer: str) -> "FieldError":
        """Return the same error told from further outside."""
        return FieldError(outer + self.where, self.what)


class told:  # noqa: N801 - reads as a word: with told("stack Alice")
    """Let errors of fields tell where they are, from further outside."""

    def __init__(self, *where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Tell where an error is; all others go through as they are."""
        if isinstance(error, FieldError):
            raise error.inside(*self._where) from None


@dataclass(frozen=True)
class Range:
    """What a number may be; ``what`` completes "must be"."""

    what: str
    low: float
    high: float = sys.float_info.max


Probability = Annotated[float, Range("a probability, 0 to 1", 0.0, 1.0)]
Time = Annotated[float, Range("a time in ns, >= 0", 0.0)]
Coherence = Annotated[float, Range("a time in ns, >= 0 (0: no decay)", 0.0, math.inf)]
Length = Annotated[float, Range("a length in km, >= 0", 0.0)]
Attenuation = Annotated[float, Range("a loss in dB/km, >= 0", 0.0)]
Speed = Annotated[float, Range("a speed in km/s, > 0", math.ulp(0.0))]
Count = Annotated[int, Range("a whole number, >= 1", 1, 1_000_000)]

_REQUIRED = object()


class Model:
    """Base of all configuration classes: fields are annotations, defaults class attributes."""

    _kinds: ClassVar[dict[str, Any]] = {}
    #: What an error calls one of these in a list, as "stack".
    _noun: ClassVar[str] = "entry"

    def __init_subclass__(cls) -> None:
        cls._kinds = {}

    def __init__(self, **values: Any) -> None:
        with told(type(self).__name__):
            self._fill(values)

    @classmethod
    def from_file(cls, path: str) -> Self:
        """Read a YAML file with the fields of this class.

        Raises :class:`SquidError` that names file and field, and OSError where there is no file.
        """
        values = _load(path)
        if not isinstance(values, dict):
            raise SquidError(f"{path}: must hold fields of {cls.__name__} as 'name: value'")
        return cls.read(values, str(path))

    @classmethod
    def read(cls, values: dict[Any, Any], *where: str) -> Self:
        """Make one of values from a file; errors tell ``where``."""
        made = cls.__new__(cls)
        with told(*where):
            made._fill({str(name): value for name, value in values.items()})
        return made

    @classmethod
    def _fields(cls) -> dict[str, Any]:
        if not cls._kinds:
            hints = get_type_hints(cls, include_extras=True)
            cls._kinds = {n: kind for n, kind in hints.items() if not n.startswith("_")}
        return cls._kinds

    def _fill(self, values: dict[str, Any]) -> None:
        for name in self._fields():
            value = values.get(name, getattr(type(self), name, _REQUIRED))
            if value is _REQUIRED:
                raise FieldError((name,), "is missing")
            self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        kind = self._fields()[name]
        try:
            object.__setattr__(self, name, _checked(kind, value))
        except FieldError as wrong:
            # An entry of a list is named by what it is: "stack Alice", not "stacks: stack Alice".
            raise (wrong if wrong.where else wrong.inside(name)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields():
            known = ", ".join(self._fields()) or "none"
            raise SquidError(f"{type(self).__name__} has no field {name!r}; its fields: {known}")
        with told(type(self).__name__):
            self._set(name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self._told() == other._told()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        name, values = self._told()
        return f"{name}({', '.join(f'{field}={value!r}' for field, value in values.items())})"

    def _told(self) -> tuple[str, dict[str, Any]]:
        return type(self).__name__, {name: getattr(self, name) for name in self._fields()}


def _load(path: str) -> Any:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except OSError as wrong:
        raise SquidError(f"cannot read {path}: {wrong.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise SquidError(f"{path}: no valid YAML: {' '.join(str(wrong).split())}") from None


# ---------------------------------------------------------------------------- values of fields


def _checked(kind: Any, value: Any) -> Any:
    """Return a value as its field wants it; raise :class:`FieldError` if it cannot be."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        kinds = get_args(kind)
        if value is None and type(None) in kinds:
            return None
        return _checked(next(k for k in kinds if k is not type(None)), value)
    if origin is Annotated:
        base, within = get_args(kind)
        return _number(base, within, value)
    if origin is list:
        if not isinstance(value, list):
            raise FieldError((), f"must be a list, got {value!r}")
        (element,) = get_args(kind)
        return [_element(element, index, one) for index, one in enumerate(value)]
    return _PLAIN[kind](value)


def _element(kind: type[Model], index: int, value: Any) -> Model:
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise FieldError((f"{kind._noun} {index}",), f"must be fields, got {value!r}")
    return kind.read(value, f"{kind._noun} {_label(value, index)}")


def _label(values: dict[str, Any], index: int) -> str:
    """Name a stack or a link for a person: by its names, or by its place in the list.

    >>> _label({"stack1": "A", "stack2": "B"}, 0), _label({"name": "A"}, 1), _label({}, 2)
    ('A-B', 'A', '2')
    """
    if "name" in values:
        return str(values["name"])
    ends = [values.get(f"{kind}{end}") for kind in ("stack", "node") for end in (1, 2)]
    return "-".join(str(end) for end in ends if end is not None) or str(index)


def _number(base: type, within: Range, value: Any) -> Any:
    wrong = FieldError((), f"must be {within.what}, got {value!r}")
    if isinstance(value, bool):
        raise wrong
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if not within.low <= number <= within.high or (base is int and number != int(number)):
        raise wrong
    return base(number)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FieldError((), f"must be a text, got {value!r}")
    return str(value)


_TRUTH = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _truth(value: Any) -> bool:
    truth = _TRUTH.get(str(value).lower())
    if truth is None:
        raise FieldError((), f"must be true or false, got {value!r}")
    return truth


_PLAIN: dict[Any, Callable[[Any], Any]] = {str: _text, bool: _truth}

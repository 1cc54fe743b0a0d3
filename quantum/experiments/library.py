"""The experiments that DPEM ships, and those of the user, read from TOML and checked.

A file names itself, says which family its pairs are of, lists its sources, and gives numbers that
hold throughout and those of named operating points, which win::

    name = "my_lab"
    system = "two NV centres"
    family = "memory"

    [sources.us2026]
    cite = "Our notebook, page 12"
    url = "https://example.org/notebook"

    [numbers]
    fidelity = { value = 0.9, plus_minus = 0.01, mark = "verified", source = "us2026" }
    rate_hz = { value = 10, mark = "verified", source = "us2026" }
    success_probability = { reported = false }
    attempt_s = { reported = false }
    t1_s = { reported = false }
    t2_s = { reported = false }
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from quantum.errors import InputError
from quantum.experiments.entry import Entry, Source, check_entry, check_source
from quantum.links.heralded import Family
from quantum.words import near

__all__ = ["Experiment", "Point", "experiment", "names"]

#: What a file may not be silent about, because a link or a memory is made of it.
NEEDED = ("fidelity", "rate_hz", "success_probability", "attempt_s")
NEEDED_MEMORY = ("t1_s", "t2_s")
#: What only a memory has.
MEMORY_ONLY = (*NEEDED_MEMORY, "attempts_1e", "state_decay_hz", "storage_s", "later_t2_s")

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]
State = Literal["pair", "ghz"]


class _Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An operating point as the file has it."""

    note: str = ""
    state: State = "pair"
    numbers: dict[str, Any] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole file."""

    name: Name
    system: str
    family: Family
    sources: dict[Name, Source]
    numbers: dict[str, Any]
    points: dict[Name, _Point] = {}
    default: Name | None = None
    note: str = ""


@dataclass(frozen=True)
class Point:
    """One way in which the experiment ran; ``numbers`` holds also those common to all points."""

    name: str
    note: str
    state: State
    numbers: dict[str, Entry]

    def value(self, quantity: str) -> float | None:
        """Return a number, or None where the file has none or says that none was reported."""
        entry = self.numbers.get(quantity)
        return None if entry is None else entry.value


@dataclass(frozen=True)
class Experiment:
    """A published experiment; what is not said to be at a point is at ``default``."""

    name: str
    system: str
    family: Family
    note: str
    sources: dict[str, Source]
    common: dict[str, Entry]
    """Numbers that hold at all points; those of a point win."""
    points: dict[str, Point]
    default: str

    def point(self, name: str | None = None) -> Point:
        """Return an operating point, the default one where no name is given."""
        wanted = self.default if name is None else name
        if wanted not in self.points:
            raise InputError(
                f"experiment {self.name} has no point {wanted!r}; it has {', '.join(self.points)}"
            )
        return self.points[wanted]


def names() -> tuple[str, ...]:
    """Return the names of the experiments that DPEM ships, sorted.

    >>> "oxford_ion_2020" in names()
    True
    """
    found = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in found if n.endswith(".toml")))


def experiment(name_or_path: str | Path) -> Experiment:
    """Read an experiment: a name of :func:`names`, or the path of a TOML file of your own.

    Raises :class:`InputError` that names the file and the field, see
    :func:`quantum.experiments.entry.check_entry` for what is refused.

    >>> experiment("oxford_ion_2020").point().value("fidelity")
    0.94
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.endswith(".toml"):
        try:
            return _read(Path(name).read_bytes(), f"experiment {name}")
        except OSError as wrong:
            raise InputError(f"cannot read experiment {name}: {wrong.strerror}") from wrong
    if name not in names():
        raise InputError(
            f"experiment {name!r} is unknown{near(name, names())}; known: {', '.join(names())}"
        )
    return _read((_folder() / f"{name}.toml").read_bytes(), f"experiment {name}")


def _folder() -> Traversable:
    return files("quantum") / "data" / "experiments"


def _read(data: bytes, where: str) -> Experiment:
    try:
        file = msgspec.convert(tomllib.loads(data.decode("utf-8")), _File)
        return _experiment(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
        raise InputError(f"{where}: {wrong}") from wrong
    except InputError as wrong:
        raise InputError(f"{where}: {wrong}") from None


def _experiment(file: _File) -> Experiment:
    if not file.sources:
        raise InputError("sources must have at least one entry")
    for key, source in file.sources.items():
        check_source(f"sources.{key}", source)
    common = _numbers("numbers", file.numbers, file.sources)
    points = {}
    for key, point in (file.points or {"main": _Point()}).items():
        own = _numbers(f"points.{key}.numbers", point.numbers, file.sources)
        points[key] = Point(key, point.note, point.state, {**common, **own})
    for key, whole in points.items():
        _check_point(f"points.{key}" if file.points else "numbers", whole, file.family)
    return Experiment(
        name=file.name,
        system=file.system,
        family=file.family,
        note=file.note,
        sources=file.sources,
        common=common,
        points=points,
        default=_default(file.default, points),
    )


def _numbers(where: str, raw: dict[str, Any], sources: dict[str, Source]) -> dict[str, Entry]:
    numbers = {}
    for name, table in raw.items():
        # One by one: msgspec names no keys of a dict in its messages.
        try:
            entry = msgspec.convert(table, Entry)
        except msgspec.ValidationError as wrong:
            raise InputError(f"{where}.{name}: {wrong}") from None
        check_entry(f"{where}.{name}", name, entry, sources)
        numbers[name] = entry
    return numbers


def _check_point(where: str, point: Point, family: Family) -> None:
    needed = NEEDED + (NEEDED_MEMORY if family == "memory" else ())
    for name in needed:
        if name not in point.numbers:
            raise InputError(f"{where} is silent about {name}: give it, or reported = false")
    if family == "photonic":
        for name in MEMORY_ONLY:
            if name in point.numbers:
                raise InputError(f"{where} has {name}, but a photonic link has no memory")
    t1, t2 = point.value("t1_s"), point.value("t2_s")
    if t1 is not None and t2 is not None and t2 > 2.0 * t1:
        raise InputError(f"{where}: t2_s must be <= 2 t1_s = {2.0 * t1:g}, got {t2:g}")


def _default(name: str | None, points: dict[str, Point]) -> str:
    if name is None:
        if len(points) > 1:
            raise InputError(f"default must be one of {', '.join(points)}")
        return next(iter(points))
    if name not in points:
        raise InputError(f"default must be one of {', '.join(points)}, got {name!r}")
    return name

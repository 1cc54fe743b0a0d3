"""What decides the result of a comparison, and digests of it.

Units that were played by other code, other versions or other settings are other units: nobody mixes
them by accident.
"""

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import msgspec

from controller.rivals.allocator import find
from controller.rivals.tuned import tuned
from quantum.errors import InputError
from quantum.kernels import sources_of
from quantum.presets import Cell, sample
from quantum.seeding import generator

__all__ = [
    "Facts",
    "allocator_code",
    "code_digest",
    "facts_of",
    "has_windows",
    "unit_key",
    "versions",
    "with_windows",
]

#: Whose versions can change a number: draws and kernels, the bound, learning.
_PACKAGES = ("dpem", "numpy", "numba", "scipy", "torch")


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison to be played; ``allocators`` have their settings and the digest of their code.

    ``files`` are digests of the user's networks and demands, ``sources`` of the code that plays.
    ``windowed`` are the units that get the windowed bound: numbers of cells, with seeds.
    """

    cells: list[Cell]
    seeds: list[int]
    allocators: dict[str, dict[str, float | str]]
    seconds: float
    warmup_s: float
    versions: dict[str, str]
    sources: str
    files: dict[str, str]
    windowed: list[tuple[int, int]] = []

    @property
    def digest(self) -> str:
        """Digest of all fields."""
        return _digest(self)

    def difference(self, other: "Facts") -> str:
        """Name the first field in which two comparisons differ; empty where they are the same."""
        for name in self.__struct_fields__:
            # As bytes, because the order of allocators counts: the first is judged.
            if _digest(getattr(self, name)) != _digest(getattr(other, name)):
                return name
        return ""


def facts_of(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    allocators: Sequence[str],
    *,
    seconds: float,
    warmup_s: float,
    windowed: int = 0,
) -> Facts:
    """Write down what a comparison is; ``windowed`` of its units get the windowed bound."""
    return Facts(
        cells=list(cells),
        seeds=list(seeds),
        allocators={name: {"code": allocator_code(name), **tuned(name)} for name in allocators},
        seconds=seconds,
        warmup_s=warmup_s,
        versions=versions(),
        sources=_sources(),
        files={name: _file(name) for name in named_files(cells)},
        windowed=with_windows(cells, seeds, windowed),
    )


def with_windows(cells: Sequence[Cell], seeds: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Pick units by key, as (number of the cell, seed): balanced over cells, then over seeds.

    >>> from quantum.presets import cells
    >>> [cell for cell, _ in with_windows(cells("paper"), [0, 1], 9)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    if count < 0:
        raise InputError(f"windowed must be at least 0 units, got {count}")
    orders = [
        generator(number, "windowed").permutation(list(seeds)) for number in range(len(cells))
    ]
    picked: list[tuple[int, int]] = []
    for turn in range(len(seeds)):
        left = count - len(picked)
        if left <= 0:
            break
        some = set(sample(cells, left, seeds[0]))
        picked += [
            (number, int(orders[number][turn])) for number, cell in enumerate(cells) if cell in some
        ]
    return sorted(picked)


def has_windows(facts: Facts, cell: Cell, seed: int) -> bool:
    """Tell whether a unit gets the windowed bound."""
    return any(of == seed and facts.cells[number] == cell for number, of in facts.windowed)


def unit_key(facts: Facts, cell: Cell, seed: int) -> str:
    """Return the key of one unit: a digest of everything that decides what comes out of it."""
    own = [name for name in _names_of(cell) if name in facts.files]
    return _digest(
        [
            cell,
            seed,
            list(facts.allocators.items()),
            facts.seconds,
            facts.warmup_s,
            sorted(facts.versions.items()),
            facts.sources,
            [facts.files[name] for name in own],
            *([True] if has_windows(facts, cell, seed) else []),
        ]
    )[:32]


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what plays, as far as it is installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def code_digest() -> str:
    """Digest all of our code that can change a number, and the versions of what it stands on."""
    return _digest([sorted(versions().items()), _sources()])


@cache
def _sources() -> str:
    """Digest the code that plays a unit, and its data, as they are on disk."""
    import controller.arena.unit as played

    data = [
        path
        for package in ("controller", "quantum")
        for path in _tree(Path(str(files(package).joinpath("data"))))
    ]
    return _of_files([*sources_of(str(played.__file__)), *data])


@cache
def allocator_code(name: str) -> str:
    """Digest the code of an allocator, which a plugin may bring from elsewhere."""
    allocator = find(name)
    function = allocator.play or allocator.rule
    source = inspect.getsourcefile(inspect.unwrap(getattr(function, "func", function)))
    if source is None:
        raise InputError(f"allocator {name}: its source file cannot be found")
    return _of_files(sources_of(source))[:16]


def _of_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _tree(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def named_files(cells: Sequence[Cell]) -> list[str]:
    """Return the files that cells name: networks, demands, outages."""
    names = {name for cell in cells for name in _names_of(cell)}
    return sorted(name for name in names if Path(name).is_file())


def _names_of(cell: Cell) -> list[str]:
    """Return what may be the name of a file."""
    return [cell.topology, cell.demand, *([cell.changes] if cell.changes else [])]


def _file(name: str) -> str:
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()

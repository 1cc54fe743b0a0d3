"""What a page of figures, charts and tables shows: plain values, drawn by ``page/sheet.js``.

A run has a page of its own, with a map and a slider. A service and a comparison have sheets: what
they came to so far, made anew when something changed. Text is text: no value is ever markup.
"""

from typing import Any, Literal, Protocol

import msgspec

__all__ = ["Chart", "Interval", "Intervals", "Key", "Sheet", "Source", "State", "Table", "Tile"]

State = Literal["waiting", "running", "finished", "broken off", "killed", "damaged"]


class Tile(msgspec.Struct, frozen=True):
    """A figure with a label and a few words more."""

    name: str
    label: str
    value: str
    more: str = ""


class Key(msgspec.Struct, frozen=True):
    """A line of a chart; ``name`` is also its class in the style sheet."""

    name: str
    label: str
    kind: Literal["", "steps"] = ""


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of points (x, y) from x = 0 to ``end``; ``across`` is the unit of x."""

    name: str
    title: str
    unit: str
    keys: tuple[Key, ...]
    lines: dict[str, list[tuple[float, float]]]
    end: float
    across: str = " s"
    levels: list[dict[str, Any]] = []
    words: dict[str, str] = {}
    span: tuple[float, float] | None = None
    empty: str = "nothing yet"


class Interval(msgspec.Struct, frozen=True):
    """A value with its interval, and what it belongs to; None where there is no interval yet."""

    label: str
    low: float | None
    best: float
    high: float | None


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """Intervals below each other on one axis, with a line at ``zero``."""

    title: str
    unit: str
    rows: list[Interval]
    zero: float | None
    span: tuple[float, float] | None = None
    note: str = ""
    empty: str = "nothing yet"


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Heads (text, and whether numbers stand below) and rows of text."""

    name: str
    title: str
    heads: list[tuple[str, bool]]
    rows: list[list[str]]
    empty: str = "nothing yet"


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """All that a page shows at a moment."""

    title: str
    subtitle: str
    state: State
    word: str
    tiles: list[Tile]
    charts: list[Chart]
    intervals: Intervals
    tables: list[Table]


class Source(Protocol):
    """Something that is watched: files that grow."""

    def step(self) -> bool:
        """Read on; True where more may be there at once. Called from one thread at a time."""

    @property
    def version(self) -> int:
        """A number that grows with every change of the sheet."""

    def sheet(self) -> Sheet:
        """Return what is to be shown now."""

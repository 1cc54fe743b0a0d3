"""The SCPI text grammar that instruments share: headers, chains, numbers with units.

A frame is a chain of commands joined by ``;``. A header is mnemonics joined by ``:``; each may be
written in its short form (the capitals of ``INPUt``) or in full, in any case, and may carry a
number (``INPU1``). A command without a leading colon continues in the subtree of the one before.
A trailing ``?`` makes it a query. ``*IDN?`` and its kind stand outside the tree.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Command", "Match", "ScpiError", "Tree", "quantity", "short_form", "split"]

Entry = TypeVar("Entry")

_HEADER = re.compile(r"\*?[A-Za-z][A-Za-z0-9]*(:[A-Za-z][A-Za-z0-9]*)*\Z")
_MNEMONIC = re.compile(r"(\*?[A-Z]+)([0-9]{0,4})\Z")
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\Z")

#: SI prefixes. Only milli and mega differ by case; the others are taken in any case.
_PREFIX = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "k": 1e3, "g": 1e9, "t": 1e12}


class ScpiError(Exception):
    """A command that the instrument refuses, with the number that SCPI 1999 (21.8) gives it."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f'{number},"{text}"')
        self.number = number
        self.text = text


@dataclass(frozen=True)
class Command:
    """One command of a chain: full path of mnemonics in capitals, query or set, argument text."""

    path: tuple[str, ...]
    query: bool
    argument: str


def split(frame: str) -> list[Command | ScpiError]:
    """Cut a frame into commands with full paths; a part that is no command becomes its error.

    >>> for command in split("TSCO5:WIND:ENAB OFF;BEGI:DELA?;:INPU1:COUN?"):
    ...     print(":".join(command.path), command.query, repr(command.argument))
    TSCO5:WIND:ENAB False 'OFF'
    TSCO5:WIND:BEGI:DELA True ''
    INPU1:COUN True ''
    """
    commands: list[Command | ScpiError] = []
    subtree: tuple[str, ...] = ()
    for part in frame.split(";"):
        text = part.strip()
        if not text:
            continue
        header, _, argument = text.partition(" ")
        query = header.endswith("?")
        header = header.removesuffix("?")
        rooted = header.startswith(":")
        header = header.removeprefix(":")
        if not _HEADER.match(header):
            commands.append(ScpiError(-102, "Syntax error"))
            continue
        mnemonics = tuple(header.upper().split(":"))
        if header.startswith("*"):
            path = mnemonics
        else:
            path = mnemonics if rooted else subtree + mnemonics
            subtree = path[:-1]
        commands.append(Command(path, query, argument.strip()))
    return commands


def short_form(mnemonic: str) -> str:
    """Return the capitals of a mnemonic.

    >>> short_form("TSCOmbiner")
    'TSCO'
    """
    return "".join(letter for letter in mnemonic if not letter.islower())


@dataclass(frozen=True)
class Match(Generic[Entry]):
    """A header that was found: its one canonical spelling, its first index (0: none), its entry."""

    key: str
    number: int
    entry: Entry


@dataclass
class _Node(Generic[Entry]):
    short: str = ""
    indices: int = 0
    entry: Entry | None = None
    children: dict[str, "_Node[Entry]"] = field(default_factory=dict)


class Tree(Generic[Entry]):
    """Finds headers. Built from patterns such as ``INPUt4:COUNter:MODE``.

    A number in a pattern is the count of blocks: ``INPUt4`` accepts ``INPU1`` to ``INPU4``.

    >>> tree = Tree([("INPUt4:THREshold", "volts")])
    >>> tree.find(("INPUT2", "THRE"))
    Match(key='INPU2:THRE', number=2, entry='volts')
    """

    def __init__(self, patterns: Iterable[tuple[str, Entry]]) -> None:
        self._root: _Node[Entry] = _Node()
        for pattern, entry in patterns:
            node = self._root
            for word in pattern.split(":"):
                name = word.rstrip("0123456789")
                count = int(word[len(name) :] or 0)
                node = self._grow(node, name, count)
            node.entry = entry

    def _grow(self, node: _Node[Entry], name: str, count: int) -> _Node[Entry]:
        short = short_form(name)
        child = node.children.get(short)
        if child is None:
            child = _Node(short=short, indices=count)
            node.children[short] = child
            node.children[name.upper()] = child
        return child

    def find(self, path: tuple[str, ...]) -> Match[Entry]:
        """Return the entry of a path in capitals; a missing number means 1 (SCPI 1999, 6.2.5.2)."""
        node, words, first = self._root, [], 0
        for word in path:
            parts = _MNEMONIC.match(word)
            found = node.children.get(parts[1]) if parts else None
            if parts is None or found is None:
                raise ScpiError(-113, "Undefined header")
            node = found
            if node.indices:
                number = int(parts[2] or 1)
                if not 1 <= number <= node.indices:
                    raise ScpiError(-114, "Header suffix out of range")
                first = first or number
                words.append(f"{node.short}{number}")
            elif parts[2]:
                raise ScpiError(-114, "Header suffix out of range")
            else:
                words.append(node.short)
        if node.entry is None:
            raise ScpiError(-113, "Undefined header")
        return Match(":".join(words), first, node.entry)


def quantity(text: str, unit: str) -> float:
    """Read a number that may carry an SI prefix and its unit; the result is in the bare unit.

    >>> quantity("1000mV", "V"), quantity("3000 GTB", "TB"), quantity("1", "V")
    (1.0, 3000000000000.0, 1.0)
    """
    parts = _QUANTITY.match(text.strip())
    if parts is None:
        raise ScpiError(-104, "Data type error")
    number, suffix = float(parts[1]), parts[2]
    if suffix and not suffix.upper().endswith(unit.upper()):
        raise ScpiError(-131, "Invalid suffix")
    prefix = suffix[: len(suffix) - len(unit)] if suffix else ""
    if prefix == "m":
        scale = 1e-3
    elif prefix == "M":
        scale = 1e6
    elif prefix == "" or prefix.lower() in _PREFIX:
        scale = _PREFIX.get(prefix.lower(), 1.0)
    else:
        raise ScpiError(-131, "Invalid suffix")
    value = number * scale
    if value in (float("inf"), float("-inf")):
        raise ScpiError(-222, "Data out of range")
    return value

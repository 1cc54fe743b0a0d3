"""Reads request traces from CSV files.

The first line names the columns: ``timestamp_s, source, destination, fidelity`` and, if wanted,
``pairs`` (1 where there is none) and ``deadline_s`` (the run's where there is none), in any order.
Times are seconds from the start of the run, warm-up included; source and destination are node
names. Lines need not be in order of time; lines after the end of the run are left out.
"""

import csv
import math
from pathlib import Path
from typing import TextIO

import numpy as np

from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.topologies.entry import near

__all__ = ["is_file", "read_trace"]

_NEEDED = ("timestamp_s", "source", "destination", "fidelity")
_OPTIONAL = ("pairs", "deadline_s")


def is_file(kind: str) -> bool:
    """Say whether a demand is meant as a file and not as a name.

    >>> is_file("trace.csv"), is_file("poisson")
    (True, False)
    """
    return "/" in kind or Path(kind).suffix != ""


def read_trace(path: str, network: Network, *, deadline_s: float, duration_s: float) -> Trace:
    """Read the requests of a CSV file that come before ``duration_s``.

    Raises :class:`InputError` that names the file, the line and the column.
    """
    if Path(path).suffix.lower() != ".csv":
        raise InputError(f"{path}: a demand file must end in .csv")
    index = {name: number for number, name in enumerate(network.nodes)}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = _rows(path, file, index, deadline_s)
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except UnicodeDecodeError:
        raise InputError(f"{path}: the file must be UTF-8 text") from None
    used = sorted((row for row in rows if row[0] < duration_s), key=lambda row: row[0])
    if rows and not used:
        raise InputError(
            f"{path}: all {len(rows)} requests come after the {duration_s:g} s of the run"
        )
    ends = np.array([row[1] for row in used], dtype=np.int64).reshape(-1, 2)
    pairs = np.array([row[3] for row in used], dtype=np.int64)
    commodities, commodity = np.unique(ends, axis=0, return_inverse=True)
    asked = np.bincount(commodity, weights=pairs, minlength=len(commodities))
    time = np.array([row[0] for row in used], dtype=np.float64)
    return Trace(
        name=Path(path).stem,
        commodities=commodities,
        weights=asked / max(1.0, float(asked.sum())),
        load_hz=float(pairs.sum()) / duration_s,
        time_s=time,
        commodity=commodity.astype(np.int64).ravel(),
        pairs=pairs,
        minimum_fidelity=np.array([row[2] for row in used], dtype=np.float64),
        deadline_s=np.array([row[4] for row in used], dtype=np.float64),
        told_s=time,
    )


_Row = tuple[float, tuple[int, int], float, int, float]


def _rows(path: str, file: TextIO, index: dict[str, int], deadline_s: float) -> list[_Row]:
    """Return (time, ends, fidelity, pairs, deadline) of every line."""
    lines = csv.reader(file, strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_header(path, header)
        out = []
        for fields in lines:
            if not fields:
                continue
            where = f"{path}: line {lines.line_num}"
            if len(fields) != len(header):
                raise InputError(f"{where}: must have {len(header)} fields, has {len(fields)}")
            line = {name: text.strip() for name, text in zip(header, fields, strict=True)}
            out.append(_row(where, line, index, deadline_s))
        return out
    except csv.Error as wrong:
        raise InputError(f"{path}: line {lines.line_num}: {wrong}") from None


def _check_header(path: str, header: list[str]) -> None:
    for name in _NEEDED:
        if name not in header:
            raise InputError(
                f"{path}: line 1: there is no column {name!r}; needed are {', '.join(_NEEDED)}, "
                f"optional are {', '.join(_OPTIONAL)}"
            )
    for number, name in enumerate(header):
        if name not in _NEEDED + _OPTIONAL:
            raise InputError(
                f"{path}: line 1: column {name!r} is unknown; allowed are "
                f"{', '.join(_NEEDED + _OPTIONAL)}"
            )
        if name in header[:number]:
            raise InputError(f"{path}: line 1: column {name!r} occurs twice")


def _row(where: str, line: dict[str, str], index: dict[str, int], deadline_s: float) -> _Row:
    ends = []
    for name in ("source", "destination"):
        node = line[name]
        if node not in index:
            raise InputError(
                f"{where}, column {name}: there is no node {node!r}{near(node, list(index))}"
            )
        ends.append(index[node])
    if ends[0] == ends[1]:
        raise InputError(f"{where}, column destination: must differ from the source")
    time = _number(where, "timestamp_s", line["timestamp_s"], ">= 0 seconds")
    fidelity = _number(where, "fidelity", line["fidelity"], "between 0 and 1", most=1.0)
    pairs = line.get("pairs") or "1"
    if not (pairs.isascii() and pairs.isdigit() and 1 <= int(pairs[:10]) <= 1_000_000):
        raise InputError(
            f"{where}, column pairs: must be a number from 1 to 1000000, got {pairs!r}"
        )
    limit = deadline_s
    if line.get("deadline_s"):
        limit = _number(where, "deadline_s", line["deadline_s"], "> 0 seconds")
        if limit == 0.0:
            raise InputError(f"{where}, column deadline_s: must be > 0 seconds, got 0")
    return time, (min(ends), max(ends)), fidelity, int(pairs), limit


def _number(where: str, column: str, text: str, allowed: str, most: float = math.inf) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= most or math.isinf(value):
        raise InputError(f"{where}, column {column}: must be {allowed}, got {text!r}")
    return value

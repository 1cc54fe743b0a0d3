"""Reads request traces from CSV and Parquet files.

The columns are ``timestamp_s, source, destination, fidelity`` and, if wanted, ``pairs`` (1 where
there is none), ``deadline_s`` (the run's where there is none) and ``told_s``, when the application
announces the request (its time where there is none). They come in any order; ``timestamp``,
``deadline`` and ``told`` mean the same. Times are seconds from the start of the run, warm-up
included, and never go backwards; source and destination are node names. Requests after the end of
the run are checked and left out.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.words import near

__all__ = ["SUFFIXES", "is_file", "number_of", "read_trace", "rows_of_csv", "trace_of_rows"]

SUFFIXES = (".csv", ".parquet")
_NEEDED = ("timestamp_s", "source", "destination", "fidelity")
_OPTIONAL = ("pairs", "deadline_s", "told_s")
_SHORT = {"timestamp": "timestamp_s", "deadline": "deadline_s", "told": "told_s"}
_MOST_PAIRS = 1_000_000

#: Where a row stands, for messages, and its values: text in a CSV file, typed in a Parquet file.
_Row = tuple[str, Mapping[str, Any]]
#: Time, ends (the smaller first), fidelity, pairs, deadline, told.
_Request = tuple[float, tuple[int, int], float, int, float, float]


def is_file(kind: str) -> bool:
    """Say whether a demand is meant as a file and not as a name.

    >>> is_file("trace.csv"), is_file("poisson")
    (True, False)
    """
    return "/" in kind or Path(kind).suffix != ""


def read_trace(path: str, network: Network, *, deadline_s: float, duration_s: float) -> Trace:
    """Read the requests of a file that come before ``duration_s``.

    Raises :class:`InputError` that names the file, the row and the column.
    """
    match Path(path).suffix.lower():
        case ".csv":
            rows = rows_of_csv(path, _NEEDED, _OPTIONAL, _SHORT)
        case ".parquet":
            rows = _rows_of_parquet(path)
        case _:
            raise InputError(f"{path}: a demand file must end in {' or '.join(SUFFIXES)}")
    return _trace_of(rows, path, Path(path).stem, network, deadline_s, duration_s)


def trace_of_rows(
    rows: Iterable[Mapping[str, Any]], network: Network, *, deadline_s: float, duration_s: float
) -> Trace:
    """Return the trace of rows that are in memory, with the columns of a file.

    Raises :class:`InputError` that names the row, the first has number 1, and the column.

    >>> from quantum.topology import load_topology
    >>> asked = {"timestamp_s": 0.5, "source": "n0", "destination": "n2", "fidelity": 0.8}
    >>> trace_of_rows([asked], load_topology("line-3", seed=0), deadline_s=1, duration_s=9).pairs
    array([1])
    """
    full: list[_Row] = []
    for number, row in enumerate(rows, 1):
        where, names = f"row {number}", [str(name) for name in row]
        header = _columns(where, names, _NEEDED, _OPTIONAL, _SHORT)
        full.append((where, dict(zip(header, row.values(), strict=True))))
    return _trace_of(full, "demand", "rows", network, deadline_s, duration_s)


def _trace_of(
    rows: Iterable[_Row],
    source: str,
    name: str,
    network: Network,
    deadline_s: float,
    duration_s: float,
) -> Trace:
    index = {name: number for number, name in enumerate(network.nodes)}
    used: list[_Request] = []
    before, size = 0.0, 0
    for where, row in rows:
        request = _request(where, row, index, deadline_s)
        if request[0] < before:
            raise InputError(
                f"{where}, column timestamp_s: times must not go backwards, "
                f"got {request[0]:g} after {before:g}"
            )
        before, size = request[0], size + 1
        if before < duration_s:
            used.append(request)
    if size and not used:
        raise InputError(
            f"{source}: all {size} requests come after the {duration_s:g} s of the run"
        )
    return _trace(name, used, duration_s)


def _trace(name: str, used: list[_Request], duration_s: float) -> Trace:
    ends = np.array([row[1] for row in used], dtype=np.int64).reshape(-1, 2)
    pairs = np.array([row[3] for row in used], dtype=np.int64)
    commodities, commodity = np.unique(ends, axis=0, return_inverse=True)
    asked = np.bincount(commodity.ravel(), weights=pairs, minlength=len(commodities))
    column = np.array([(row[0], row[2], row[4], row[5]) for row in used]).reshape(-1, 4)
    return Trace(
        name=name,
        commodities=commodities,
        weights=asked / max(1.0, float(asked.sum())),
        load_hz=float(pairs.sum()) / duration_s,
        time_s=column[:, 0],
        commodity=commodity.astype(np.int64).ravel(),
        pairs=pairs,
        minimum_fidelity=column[:, 1],
        deadline_s=column[:, 2],
        told_s=column[:, 3],
    )


def rows_of_csv(
    path: str,
    needed: tuple[str, ...],
    optional: tuple[str, ...] = (),
    short: Mapping[str, str] | None = None,
) -> Iterator[_Row]:
    """Read the lines of a CSV file as (where, {column: text}); the first line names the columns.

    ``short`` gives other names that a column may have. Raises :class:`InputError` that names the
    file and the line.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            try:
                header = [name.strip() for name in next(lines, [])]
                header = _columns(f"{path}: line 1", header, needed, optional, short or {})
                for fields in lines:
                    if not fields:
                        continue
                    where = f"{path}: line {lines.line_num}"
                    if len(fields) != len(header):
                        raise InputError(
                            f"{where}: must have {len(header)} fields, has {len(fields)}"
                        )
                    texts = (text.strip() for text in fields)
                    yield where, dict(zip(header, texts, strict=True))
            except csv.Error as wrong:
                raise InputError(f"{path}: line {lines.line_num}: {wrong}") from None
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except UnicodeDecodeError:
        raise InputError(f"{path}: the file must be UTF-8 text") from None


def _rows_of_parquet(path: str) -> Iterator[_Row]:
    """Read the rows of a Parquet file, the first has number 1."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{path}: Parquet files need pyarrow: pip install 'dpem[arena]', or use .csv"
        ) from None
    try:
        with Path(path).open("rb") as raw, parquet.ParquetFile(raw) as file:
            names = file.schema_arrow.names
            header = _columns(path, names, _NEEDED, _OPTIONAL, _SHORT)
            number = 0
            for batch in file.iter_batches():
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield f"{path}: row {number}", dict(zip(header, values, strict=True))
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except pyarrow.ArrowException as wrong:
        raise InputError(f"{path} is no sound Parquet file: {_first_line(wrong)}") from None


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0]


def _columns(
    where: str,
    header: list[str],
    needed: tuple[str, ...],
    optional: tuple[str, ...],
    short: Mapping[str, str],
) -> list[str]:
    """Return the header with the full names of its columns, all of them known and none twice."""
    full = [short.get(name, name) for name in header]
    for name in needed:
        if name not in full:
            also = f", optional are {', '.join(optional)}" if optional else ""
            raise InputError(
                f"{where}: there is no column {name!r}; needed are {', '.join(needed)}{also}"
            )
    for number, name in enumerate(full):
        if name not in needed + optional:
            allowed = ", ".join(needed + optional)
            raise InputError(f"{where}: column {name!r} is unknown; allowed are {allowed}")
        if name in full[:number]:
            raise InputError(f"{where}: column {name!r} occurs twice")
    return full


def _request(
    where: str, row: Mapping[str, Any], index: dict[str, int], deadline_s: float
) -> _Request:
    ends = []
    for name in ("source", "destination"):
        node = str(row[name])
        if node not in index:
            raise InputError(
                f"{where}, column {name}: there is no node {node!r}{near(node, list(index))}"
            )
        ends.append(index[node])
    if ends[0] == ends[1]:
        raise InputError(f"{where}, column destination: must differ from the source")
    time = number_of(where, "timestamp_s", row["timestamp_s"], ">= 0 seconds")
    fidelity = number_of(where, "fidelity", row["fidelity"], "between 0 and 1", most=1.0)
    pairs, limit, told = 1, deadline_s, time
    if row.get("pairs") not in (None, ""):
        allowed = f"a whole number from 1 to {_MOST_PAIRS}"
        value = number_of(where, "pairs", row["pairs"], allowed, least=1.0, most=_MOST_PAIRS)
        if value != int(value):
            raise InputError(f"{where}, column pairs: must be {allowed}, got {row['pairs']!r}")
        pairs = int(value)
    if row.get("deadline_s") not in (None, ""):
        limit = number_of(where, "deadline_s", row["deadline_s"], "> 0 seconds", least=5e-324)
    if row.get("told_s") not in (None, ""):
        told = number_of(where, "told_s", row["told_s"], "between 0 and timestamp_s", most=time)
    return time, (min(ends), max(ends)), fidelity, pairs, limit, told


def number_of(
    where: str, column: str, value: Any, allowed: str, least: float = 0.0, most: float = math.inf
) -> float:
    """Return a finite number in [least, most], from text or a number."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number <= most or math.isinf(number):
        raise InputError(f"{where}, column {column}: must be {allowed}, got {value!r}")
    return number

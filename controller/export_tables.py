"""The tables of a run record: pairs, decisions, federated rounds, and the summary.

A table is columns of equal length; writing them as CSV or Parquet is the work of
:func:`write_table`. Times are seconds of network time, warm-up included; nodes go by name.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.recorded import Results, Round, Slot, read_event
from controller.setting import SLOT_S
from quantum.errors import InputError, RecordError
from quantum.output import write_whole
from quantum.record import Record
from quantum.topologies.entry import Description

__all__ = ["KINDS", "Table", "path_of", "tables_of", "write_table"]

Table = Mapping[str, Sequence[Any]]

#: Assembled pairs by the number of their kind.
KINDS = ("delivered", "tested", "lost", "link test")
_BASES = ("xx", "yy", "zz")
_PAIRS = (
    "slot", "time_s", "kind", "request", "attempt", "hops", "path", "oldest_wait_s", "basis",
    "passed", "fidelity_true", "source",
)  # fmt: skip
_DECISIONS = ("slot", "time_s", "node", "token", "link", "urgency")
_ROUNDS = ("slot", "time_s", "round", "missing")


def tables_of(record: Record) -> dict[str, Table]:
    """Return the tables of a run by name.

    ``pairs`` has a row for each assembled pair: ``kind`` delivered, tested, lost or link test,
    ``request`` (-1 for link tests), ``path`` its nodes joined by ``>``, the wait of its oldest
    link, ``basis`` and ``passed`` where it was tested, and ``fidelity_true`` where a simulator
    knows it. ``decisions`` are the tokens spent, ``rounds`` the federated rounds, ``summary`` keys
    and values. Raises :class:`RecordError` where the events make no sense.
    """
    network = _network(record)
    ends = [(link.a, link.b) for link in network.links]
    incident: dict[str, list[int]] = {node.name: [] for node in network.nodes}
    for number, pair in enumerate(ends):
        for end in pair:
            if end not in incident:
                raise RecordError(
                    f"{record.seal.folder}: network.json: a link ends at {end!r}, which is no node"
                )
            incident[end].append(number)
    names = list(incident)
    pairs: list[list[Any]] = []
    decisions: list[list[Any]] = []
    rounds: list[list[Any]] = []
    rows_of: dict[int, list[list[Any]]] = {}
    for number, raw in enumerate(record.events, 2):
        event = read_event(number, raw)
        try:
            if isinstance(event, Slot):
                time_s = round(event.slot * SLOT_S, 9)
                made = [_pair(event.slot, time_s, row, ends) for row in event.served]
                rows_of[event.slot] = made
                pairs += made
                for node, token, position, urgency in event.acts:
                    name = _at(names, node)
                    link = _at(ends, _at(incident[name], position))
                    decisions.append([event.slot, time_s, name, token, ">".join(link), urgency])
            elif isinstance(event, Results):
                _add_results(rows_of.pop(event.slot, []), event)
            elif isinstance(event, Round):
                time_s = round(event.slot * SLOT_S, 9)
                rounds.append([event.slot, time_s, event.round, event.missing])
        except (IndexError, TypeError, ValueError) as wrong:
            raise RecordError(f"line {number} of the events is malformed: {wrong}") from wrong
    return {
        "pairs": _columns(_PAIRS, pairs),
        "decisions": _columns(_DECISIONS, decisions),
        "rounds": _columns(_ROUNDS, rounds),
        "summary": _columns(("key", "value"), _flat(record.summary or {})),
    }


def write_table(table: Table, path: Path) -> None:
    """Write a table into a ``.csv`` or ``.parquet`` file, whole or not at all.

    Nothing in CSV and null in Parquet are what is not known. Raises :class:`InputError` where the
    file cannot be written, or pyarrow is missing.
    """
    text = io.StringIO()
    if path.suffix == ".csv":
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(table.keys())
        lines.writerows(zip(*table.values(), strict=True))
        write_whole(path, text.getvalue().encode())
        return
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "Parquet files need pyarrow: pip install 'dpem[arena]', or use --format csv"
        ) from None
    buffer = pyarrow.BufferOutputStream()
    parquet.write_table(_arrow_table(table), buffer)
    write_whole(path, buffer.getvalue().to_pybytes())


def _arrow_table(table: Table) -> Any:
    """Return a table as a ``pyarrow.Table``; columns are int64, float64, bool or text."""
    import pyarrow

    kinds = {name: pyarrow.int64() for name in _WHOLE} | {
        name: pyarrow.float64() for name in _NUMBERS
    }
    return pyarrow.table(
        {
            name: pyarrow.array(
                values, type=pyarrow.bool_() if name == "passed" else kinds.get(name)
            )
            if name in kinds or name == "passed"
            else pyarrow.array(values, type=pyarrow.string())
            for name, values in table.items()
        }
    )


_WHOLE = ("slot", "request", "attempt", "hops", "token", "round", "missing")
_NUMBERS = ("time_s", "oldest_wait_s", "fidelity_true", "urgency")


def _network(record: Record) -> Description:
    try:
        return msgspec.json.decode(record.file("network.json"), type=Description)
    except msgspec.DecodeError as wrong:
        raise RecordError(f"{record.seal.folder}: network.json: {wrong}") from wrong


def _pair(slot: int, time_s: float, row: list[Any], ends: list[tuple[str, str]]) -> list[Any]:
    kind, request, attempt, hops, links, waits = row[:6]
    own = kind == KINDS.index("link test")
    path = path_of([_at(ends, link) for link in links])
    oldest = round(max(waits, default=0) * SLOT_S, 9)
    return [
        slot, time_s, _at(KINDS, kind), -1 if own else request, attempt, hops, path, oldest, None,
        None, None, None,
    ]  # fmt: skip


def _at(values: Sequence[Any], number: int) -> Any:
    """Return a value by its number; a record counts from the start, never from the end."""
    if not 0 <= number < len(values):
        raise IndexError(f"{number} is not between 0 and {len(values) - 1}")
    return values[number]


def path_of(links: list[tuple[str, str]]) -> str:
    """Join links, in order, to the nodes that they lead over.

    >>> path_of([("a", "b"), ("c", "b")])
    'a>b>c'
    """
    if not links:
        return ""
    first, second = links[0]
    if len(links) > 1 and first in links[1]:
        first, second = second, first
    nodes = [first, second]
    for a, b in links[1:]:
        nodes.append(b if a == nodes[-1] else a)
    return ">".join(nodes)


def _add_results(rows: list[list[Any]], event: Results) -> None:
    for number, row in enumerate(rows):
        if event.basis[number] >= 0:
            row[_PAIRS.index("basis")] = _BASES[event.basis[number]]
        if event.passed[number] >= 0:
            row[_PAIRS.index("passed")] = event.passed[number] == 1
        if event.fidelity:
            row[_PAIRS.index("fidelity_true")] = event.fidelity[number]
        row[_PAIRS.index("source")] = event.source


def _columns(names: Sequence[str], rows: list[list[Any]]) -> Table:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _flat(value: Mapping[str, Any], before: str = "") -> list[list[Any]]:
    """Turn nested keys into rows such as ``latency_ms.p50``."""
    rows: list[list[Any]] = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            rows += _flat(inner, f"{before}{key}.")
        else:
            rows.append([f"{before}{key}", None if inner is None else str(inner)])
    return rows

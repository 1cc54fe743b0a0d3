"""A run as one HTML file that needs nothing else: no network, no script, no second file."""

import json
import math
from collections.abc import Mapping
from html import escape
from typing import Any

from controller.report_tables import record_tables
from controller.sheet import facts_table, figure, sheet
from controller.table import cell, number, ranking, text_of
from quantum.record import Record

__all__ = ["render"]

_TILES = (
    ("delivery_rate", "delivered of requested", "{:.1%}"),
    ("fraction_of_bound", "of the upper bound", "{:.1%}"),
    ("fidelity", "measured fidelity", "{:.3f}"),
    ("contention", "contention", "{:.4f}"),
    ("latency_ms", "latency p50 (ms)", "{:.0f}"),
)

_IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}


def render(record: Record) -> str:
    """Return a run as a self-contained HTML page.

    ``record.summary`` has the keys of ``dpem run --json``; under ``rivals`` it may hold the same
    figures for other allocators. Every ``.png`` and ``.svg`` of the record is shown; where both
    exist under one name, the drawing (``.svg``) is.
    """
    summary = record.summary or {}
    own = str(summary.get("allocator", "dpem"))
    title = _title(summary, own)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Run record {escape(record.seal.folder.name)}, verified: '
        f"{record.seal.events:,} chained events, {len(record.seal.files):,} files.</p>",
    ]
    if not record.seal.complete:
        parts.append(
            '<p class="warn">The run was interrupted. What is shown is valid, '
            "but it is not the whole run.</p>"
        )
    parts += [_tiles(summary), _comparison(summary), _figures(record)]
    parts += [record_tables(record), _facts(summary)]
    parts.append(_provenance(record))
    return sheet(title, "\n".join(part for part in parts if part))


def _title(summary: Mapping[str, Any], own: str) -> str:
    asked, given = number(summary, "pairs_requested"), number(summary, "pairs_delivered")
    if math.isnan(asked) or math.isnan(given):
        return f"A run of {own} without a result"
    return f"{own} delivered {given:,.0f} of {asked:,.0f} requested pairs"


def _tiles(summary: Mapping[str, Any]) -> str:
    tiles = [
        f'<div class="tile"><b>{form.format(number(summary, key))}</b>{escape(label)}</div>'
        for key, label, form in _TILES
        if not math.isnan(number(summary, key))
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _comparison(summary: Mapping[str, Any]) -> str:
    rivals = summary.get("rivals")
    if not isinstance(rivals, Mapping) or not rivals:
        return ""
    own, rows, columns = ranking(
        summary, {str(name): row for name, row in rivals.items() if isinstance(row, Mapping)}
    )
    head = "".join(f'<th class="n">{escape(label)}</th>' for _, label, _ in columns)
    lines = []
    for name, row in rows.items():
        figures = (cell(key, number(row, key)) for key, _, _ in columns)
        cells = "".join(f'<td class="n">{figure}</td>' for figure in figures)
        mark = ' class="own"' if name == own else ""
        lines.append(f"<tr{mark}><td>{escape(name)}</td>{cells}</tr>\n")
    return (
        '<h2>Beside its rivals, on the same draws</h2>\n<div class="wide"><table>\n'
        f"<tr><th>allocator</th>{head}</tr>\n{''.join(lines)}</table></div>"
    )


def _figures(record: Record) -> str:
    names = set(record.seal.files)
    shown = []
    for name in sorted(names):
        stem, dot, ending = name.rpartition(".")
        kind = _IMAGES.get(dot + ending)
        if kind is None or (ending == "png" and f"{stem}.svg" in names):
            continue
        shown.append(figure(stem, record.file(name), kind, name))
    return "<h2>Pictures</h2>\n" + "\n".join(shown) if shown else ""


def _facts(summary: Mapping[str, Any]) -> str:
    rows = [(k, text_of(v)) for k, v in sorted(summary.items()) if k != "rivals"]
    return "<h2>Everything measured</h2>\n" + facts_table(rows) if rows else ""


def _provenance(record: Record) -> str:
    seal = record.seal
    header = json.dumps(dict(record.header), indent=2, sort_keys=True, ensure_ascii=False)
    rows = [("manifest digest", seal.digest), ("last hash of the chain", seal.last_hash)]
    rows += sorted(seal.files.items())
    return (
        "<h2>Provenance</h2>\n"
        '<p class="soft">SHA-256 of every file. Anyone with the run folder can check them with '
        "<code>dpem replay</code>.</p>\n"
        f"{facts_table(rows)}\n<h2>What was asked</h2>\n<pre>{escape(header)}</pre>"
    )

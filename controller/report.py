"""A run as one HTML file that needs nothing else: no network, no script, no second file."""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from controller.table import cell, number, ranking, text_of
from quantum.record import Record

__all__ = ["render"]

# The browser itself enforces that nothing is loaded from elsewhere.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --page: #fbfbfc; --soft: #6b6b70; --line: #dcdce0;
  --card: #ffffff; --accent: #0072b2; --warn: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --page: #17171a; --soft: #a2a2aa;
  --line: #3a3a40; --card: #212125; --accent: #56b4e9; --warn: #f0a35e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); }
.warn { border-left: 4px solid var(--warn); padding: .4rem .8rem; color: var(--warn); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.tile { flex: 1 1 9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.5rem; color: var(--accent); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.own td { font-weight: 700; color: var(--accent); }
code, pre { font: .85rem/1.45 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; padding: .8rem; }
figure { margin: 1rem 0; }
figure img { width: 100%; height: auto; border-radius: .6rem; background: #ffffff; padding: .5rem; }
figcaption { color: var(--soft); font-size: .88rem; }
"""

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
    parts += [_tiles(summary), _comparison(summary), _figures(record), _facts(summary)]
    parts.append(_provenance(record))
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


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
        data = base64.b64encode(record.file(name)).decode("ascii")
        shown.append(
            f'<figure><img alt="{escape(stem)}" src="data:{kind};base64,{data}">'
            f"<figcaption>{escape(name)}</figcaption></figure>"
        )
    return "<h2>Pictures</h2>\n" + "\n".join(shown) if shown else ""


def _facts(summary: Mapping[str, Any]) -> str:
    rows = [(k, text_of(v)) for k, v in sorted(summary.items()) if k != "rivals"]
    return "<h2>Everything measured</h2>\n" + _table(rows) if rows else ""


def _provenance(record: Record) -> str:
    seal = record.seal
    header = json.dumps(dict(record.header), indent=2, sort_keys=True, ensure_ascii=False)
    rows = [("manifest digest", seal.digest), ("last hash of the chain", seal.last_hash)]
    rows += sorted(seal.files.items())
    return (
        "<h2>Provenance</h2>\n"
        '<p class="soft">SHA-256 of every file. Anyone with the run folder can check them with '
        "<code>dpem replay</code>.</p>\n"
        f"{_table(rows)}\n<h2>What was asked</h2>\n<pre>{escape(header)}</pre>"
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td><code>{escape(value)}</code></td></tr>\n"
        for name, value in rows
    )
    return f'<div class="wide"><table>{lines}</table></div>'

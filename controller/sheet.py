"""A page that needs nothing else (no network, no script, no second file): frame and style."""

import base64
from collections.abc import Iterable
from html import escape

__all__ = ["facts_table", "figure", "sheet"]

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
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
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
th:first-child, td:first-child { white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.own td { font-weight: 700; color: var(--accent); }
code, pre { font: .85rem/1.45 ui-monospace, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; padding: .8rem; }
figure { margin: 1rem 0; }
figure img { width: 100%; height: auto; border-radius: .6rem; background: #ffffff; padding: .5rem; }
figcaption { color: var(--soft); font-size: .88rem; }
"""


def sheet(title: str, body: str) -> str:
    """Return a whole HTML document; ``body`` is markup, the title is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def figure(alt: str, data: bytes, kind: str, caption: str) -> str:
    """Return a picture of the media type ``kind``, with all its bytes in it."""
    inside = base64.b64encode(data).decode("ascii")
    return (
        f'<figure><img alt="{escape(alt)}" src="data:{kind};base64,{inside}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def facts_table(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values, both text."""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td><code>{escape(value)}</code></td></tr>\n"
        for name, value in rows
    )
    return f'<div class="wide"><table>{lines}</table></div>'

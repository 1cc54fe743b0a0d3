"""The report of a comparison as one HTML page: the words of ``report.md``, with figures inside.

Only what our own report writes is read: headings, paragraphs, lists, tables, pictures by name, and
``**strong**``, ``*emphasis*`` and code within a line. Everything else is text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from controller.sheet import facts_table, figure, sheet

__all__ = ["report_page"]

_PICTURE = re.compile(r"!\[([\w-]+)\]\(figures/[\w-]+\.png\)")
_NUMBER = ' class="n"'
_WITHIN = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<b>\1</b>"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])"), r"<i>\1</i>"),
)


def report_page(
    text: str, figures: Mapping[str, bytes], files: Mapping[str, str], asked: Mapping[str, Any]
) -> str:
    """Return the page.

    ``text`` is the report in Markdown, ``figures`` are PNG files by name, ``files`` the SHA-256 of
    what lies beside it, and ``asked`` what was compared.
    """
    blocks = [block for block in text.split("\n\n") if block.strip()]
    title = blocks[0].lstrip("# ").strip()
    body = "\n".join(_blocks(blocks, figures))
    told = json.dumps(dict(asked), indent=2, sort_keys=True, ensure_ascii=False)
    return sheet(
        title,
        f"{body}\n<h2>Provenance</h2>\n"
        '<p class="soft">SHA-256 of the files beside this page. The same command plays what is '
        "missing and comes to the same numbers.</p>\n"
        f"{facts_table(sorted(files.items()))}\n<h2>What was asked</h2>\n"
        f"<pre>{escape(told)}</pre>",
    )


def _blocks(blocks: list[str], figures: Mapping[str, bytes]) -> Iterator[str]:
    rest = iter(blocks)
    for block in rest:
        lines = block.strip("\n").split("\n")
        picture = _PICTURE.fullmatch(block.strip())
        if picture is not None:
            name = picture[1]
            # Its caption is the paragraph that follows.
            yield figure(name, figures[name], "image/png", next(rest, "").strip())
        elif block.startswith("#"):
            level = len(block) - len(block.lstrip("#"))
            yield f"<h{level}>{_inline(block.lstrip('# ').strip())}</h{level}>"
        elif block.startswith("|"):
            yield _table(lines)
        elif block.startswith("- "):
            items = (f"<li>{_inline(line.removeprefix('- '))}</li>" for line in lines)
            yield f"<ul>{''.join(items)}</ul>"
        else:
            yield f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: list[str]) -> str:
    """Return a table; a column is of numbers where its rule ends with a colon."""
    head, rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    numbers = [mark.endswith(":") for mark in rule]

    def row(cells: list[str], tag: str) -> str:
        own = ' class="own"' if tag == "td" and cells[0].startswith("**") else ""
        inside = "".join(
            f"<{tag}{_NUMBER if number else ''}>{_inline(cell)}</{tag}>"
            for cell, number in zip(cells, numbers, strict=True)
        )
        return f"<tr{own}>{inside}</tr>\n"

    body = "".join(row(cells, "td") for cells in rows)
    return f'<div class="wide"><table>\n{row(head, "th")}{body}</table></div>'


def _inline(text: str) -> str:
    """Return a line with its marks as markup; all else is escaped.

    >>> _inline("a < b, **mean-rate** and `x * y`")
    'a &lt; b, <b>mean-rate</b> and <code>x * y</code>'
    """
    marked = escape(text)
    for pattern, markup in _WITHIN:
        marked = pattern.sub(markup, marked)
    return marked

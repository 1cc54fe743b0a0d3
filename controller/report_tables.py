"""Tables of a report that the record alone has: who asked for what, links, federated rounds."""

from collections.abc import Iterable, Sequence
from html import escape

from controller.dashboard import events as e
from controller.dashboard.frame import Frame, frame_of
from controller.dashboard.layout import Layout, read_layout
from controller.dashboard.story import Story
from quantum.errors import RecordError
from quantum.record import Record

__all__ = ["record_tables"]

_NETWORK = "network.json"
_MOST = 40


def record_tables(record: Record) -> str:
    """Return the tables as markup; empty where the record has no network or tells of nothing."""
    if _NETWORK not in record.seal.files:
        return ""
    try:
        layout = read_layout(record.file(_NETWORK))
        story = _story(record, layout)
    except RecordError:
        # A record of something else than a run may have other events.
        return ""
    frame = frame_of(story)
    parts = (_pairs(frame, layout), _links(frame, layout), _rounds(frame))
    return "\n".join(part for part in parts if part)


def _story(record: Record, layout: Layout) -> Story:
    header = e.read(1, dict(record.header))
    if not isinstance(header, e.Header):
        raise RecordError("line 1 of the events is no header")
    story = Story(layout, header)
    for number, event in enumerate(record.events, 2):
        story.take(e.read(number, dict(event)))
    return story


def _pairs(frame: Frame, layout: Layout) -> str:
    rows = [
        (
            f"{layout.nodes[a][0]} → {layout.nodes[b][0]}",
            f"{asked:,}",
            f"{good:,}",
            f"{blocked:,}",
            f"{wanted:.2f}",
            _interval(*measured),
            f"{measured[3]:,}",
        )
        for a, b, asked, good, blocked, wanted, *measured in frame["pairs"]
    ]
    heads = ("from → to", "asked", "in time", "blocked", "fidelity asked", "measured", "tests")
    return _table("Who asked for what", heads, rows, "node pairs, busiest first")


def _links(frame: Frame, layout: Layout) -> str:
    tested = [(each[1], -each[3], k) for k, each in enumerate(frame["links"]) if each[3]]
    rows = []
    for _, _, k in sorted(tested):
        a, b, length, nominal = layout.links[k]
        measured = frame["links"][k]
        name = f"{layout.nodes[a][0]} – {layout.nodes[b][0]}"
        rows.append(
            (name, _interval(*measured), f"{measured[3]:,}", f"{nominal:.3f}", f"{length:.1f}")
        )
    heads = ("link", "measured", "tests", "nominal", "length, km")
    return _table("Links", heads, rows, "tested links, worst first")


def _rounds(frame: Frame) -> str:
    rows = [
        (f"{number}", f"{time_s:.1f}", f"{missing}", "–" if spent is None else f"{spent:.3f}")
        for time_s, number, missing, spent in frame["rounds"]
    ]
    heads = ("federated round", "at, s", "nodes missing", "epsilon after it")
    return _table("Federated rounds", heads, rows, "rounds")


def _interval(low: float, best: float, high: float, shots: int) -> str:
    return f"{best:.3f} [{low:.2f}, {high:.2f}]" if shots else "–"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], what: str) -> str:
    if not rows:
        return ""

    def line(cells: Iterable[str], tag: str) -> str:
        inside = "".join(
            f"<{tag}{_NUMBER if k else ''}>{escape(cell)}</{tag}>" for k, cell in enumerate(cells)
        )
        return f"<tr>{inside}</tr>\n"

    shown = "".join(line(row, "td") for row in rows[:_MOST])
    more = ""
    if len(rows) > _MOST:
        more = f'<p class="soft">The first {_MOST} of {len(rows):,} {what}.</p>\n'
    return (
        f'<h2>{escape(title)}</h2>\n{more}<div class="wide"><table>\n'
        f"{line(heads, 'th')}{shown}</table></div>"
    )


_NUMBER = ' class="n"'

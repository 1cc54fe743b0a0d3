"""From a state to what a page draws: plain values, and the difference to what it already has."""

from itertools import accumulate
from typing import Any

import msgspec

from controller.dashboard.layout import Layout
from controller.dashboard.story import BLOCKED_S, Request, Story
from controller.dashboard.tested import fidelity

__all__ = ["Frame", "difference", "frame_of", "greeting_of"]

#: Sections of a page by name. Lists in ``_ROWS`` are sent row by row, the others whole.
Frame = dict[str, Any]

_ROWS = ("links", "nodes", "pairs")
#: Node pairs in the table of who asked for what, busiest first; and requests in the list.
_MOST_PAIRS, _MOST_REQUESTS = 150, 60
#: Paths that pairs were delivered along a moment ago.
_MOST_GLOW = 40
#: Fidelity over time is pooled over so long, so that an interval says something.
_POOLED_S = 30.0


def greeting_of(story: Story) -> Frame:
    """Return what does not change in a run."""
    layout: Layout = story.layout
    return {
        "run": msgspec.to_builtins(story.header.setting),
        "dpem": story.header.dpem,
        "network": {
            "name": layout.name,
            "nodes": [list(node) for node in layout.nodes],
            "links": [list(link) for link in layout.links],
        },
        "horizon": story.header.horizon,
        "warmup": story.header.warmup_slots,
        "slots": story.header.slots,
        "measured": story.measured,
    }


def frame_of(story: Story) -> Frame:
    """Return everything that changes, as the page shows it."""
    links = range(len(story.layout.links))
    seen, begun = story.seen, story.begun
    return {
        "now": {
            "slot": story.slot,
            "time_s": round(story.slot * story.slot_s, 6),
            "slot_s": story.slot_s,
            "end": story.end,
            "learns": story.header.setting.learn if begun is None else begun.learn,
            "told": begun is not None or story.slot == 0,
        },
        "sums": {
            "requested": seen.requested if seen else 0,
            "delivered": seen.delivered if seen else 0,
            "stored": seen.stored if seen else 0,
            "contention": seen.contention if seen else 0.0,
            "reward": round(seen.reward, 6) if seen else 0.0,
            "bound": begun.bound if begun else None,
            "to_come": begun.pairs_requested if begun else None,
            "executed": story.executed,
            "failed": story.failed,
        },
        "links": [list(story.link_tests.of(link)) for link in links],
        "nodes": _nodes(story),
        "pairs": _pairs(story),
        "requests": _requests(story),
        "glow": [list(along) for _, along in story.glow][-_MOST_GLOW:],
        "series": _series(story),
        "rounds": [list(each) for each in story.rounds],
        "health": {
            "source": story.source,
            "last_fault": story.last_fault[:300],
            "calibration": {str(k): v[:200] for k, v in sorted(story.calibration.items())},
        },
    }


def _nodes(story: Story) -> list[list[Any]]:
    """Pairs that each node asked for, missed, and expects to ask for soon (None: no forecast)."""
    expected = story.forecast or (None,) * len(story.layout.nodes)
    return [
        [asked, blocked, None if soon is None else round(soon, 3)]
        for asked, blocked, soon in zip(story.asked_by, story.blocked_at, expected, strict=True)
    ]


def _pairs(story: Story) -> list[list[Any]]:
    """Source, destination, pairs asked, delivered, blocked, fidelity asked, and measured."""
    busiest = sorted(story.by_pair.items(), key=lambda item: (-item[1].asked, item[0]))
    return [
        [*pair, s.asked, s.delivered, s.blocked, s.fidelity, *story.pair_tests.of(pair)]
        for pair, s in busiest[:_MOST_PAIRS]
    ]


def _requests(story: Story) -> list[list[Any]]:
    """Number, source, destination, pairs, fidelity, arrival (s), received, good or None."""
    fresh = story.slot - BLOCKED_S / story.slot_s
    rows = [_request(story, each) for each in story.live()[: _MOST_REQUESTS // 2]]
    over = list(story.over)[: -_MOST_REQUESTS // 2 - 1 : -1]
    return rows + [[*_request(story, each), each.ask.deadline >= fresh] for each in over]


def _request(story: Story, each: Request) -> list[Any]:
    ask = each.ask
    arrived_s = round(ask.arrival * story.slot_s, 6)
    head = [ask.number, ask.source, ask.destination, ask.pairs, ask.fidelity, arrived_s]
    return [*head, each.received, each.good]


def _series(story: Story) -> Frame:
    """Rates in pairs per second by bin, reward per second, and fidelity of assembled pairs."""
    bins, slot_s = story.series, story.slot_s
    columns, seconds = bins.columns, bins.width * slot_s
    rates = {
        name: [round(value / seconds, 4) for value in columns[name]]
        for name in ("asked", "delivered", "blocked", "reward")
    }
    forecast = [
        round(total / number, 4) if number else None
        for total, number in zip(columns["forecast"], columns["forecasts"], strict=True)
    ]
    pooled = max(1, round(_POOLED_S / seconds))
    measured: list[list[float] | None] = []
    for k in range(bins.size):
        since = slice(max(0, k + 1 - pooled), k + 1)
        passed, failed = sum(columns["passed"][since]), sum(columns["failed"][since])
        found = fidelity(int(passed), int(failed))
        measured.append([found.low, found.best, found.high] if found.shots else None)
    return {
        "bin_s": seconds,
        "pooled_s": pooled * seconds,
        **rates,
        "counted": [int(value) for value in accumulate(columns["counted"])],
        "good": [int(value) for value in accumulate(columns["good"])],
        "forecast": forecast,
        "fidelity": measured,
    }


def difference(old: Frame | None, new: Frame) -> Frame:
    """Return what has to be sent to somebody who has ``old``; all of it where that is None.

    Rows that changed are ``{"rows": {number: row}, "size": n}``, columns that grew or changed
    at their end ``{"from": k, "columns": {...}}``; sections that did not change are left out.

    >>> difference({"now": 1, "links": [[0], [1]]}, {"now": 1, "links": [[0], [2]]})
    {'links': {'rows': {1: [2]}, 'size': 2}}
    """
    if old is None:
        return new
    changed: Frame = {}
    for name, value in new.items():
        before = old.get(name)
        if value == before:
            continue
        if name in _ROWS and before is not None:
            rows = {k: row for k, row in enumerate(value) if k >= len(before) or row != before[k]}
            changed[name] = {"rows": rows, "size": len(value)}
        elif name == "series" and before is not None and value["bin_s"] == before["bin_s"]:
            changed[name] = _grown(before, value)
        else:
            changed[name] = value
    return changed


def _grown(old: Frame, new: Frame) -> Frame:
    """Return the end of series from the first bin that is not as it was."""
    columns = {name: value for name, value in new.items() if isinstance(value, list)}
    first = len(columns["asked"])
    for name, value in columns.items():
        before = old[name]
        same = min(len(before), len(value))
        first = min(first, next((k for k in range(same) if before[k] != value[k]), same))
    tails = {name: value[first:] for name, value in columns.items()}
    return {"from": first, "columns": tails}

"""From the units of a comparison so far to its sheet: pure.

Figures of a comparison that still plays are for watching. Whoever stops it as soon as an interval
leaves out nothing has tested many times; the report tests once, when all units are there.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from controller.arena.facts import Facts
from controller.arena.unit import Unit
from controller.dashboard.comparison_tables import (
    allocator_table,
    best_rival,
    cell_table,
    contrast_table,
    facts_table,
    left_out_table,
    mean_of,
    points_text,
    range_text,
    share_text,
)
from controller.dashboard.sheet import (
    Chart,
    Interval,
    Intervals,
    Key,
    Sheet,
    State,
    Tile,
)
from controller.statistics import paired
from controller.statistics.differences import Paired
from quantum.seeding import generator

__all__ = ["Progress", "comparison_sheet", "contrasts_of", "left_s"]

_MOST_POINTS = 400
_NOTE = (
    "Of the units that are there so far, on the same draws; resampled over networks and seeds. "
    "For watching: the report tests once, at the end."
)


class Progress(NamedTuple):
    """How a comparison stands, and when units came.

    ``there`` units were there when the watching began; ``arrived`` are (seconds since then, units
    in all), and ``watched_s`` is now.
    """

    state: State
    word: str
    folder: str
    there: int = 0
    arrived: Sequence[tuple[float, int]] = ()
    watched_s: float = 0.0


def contrasts_of(facts: Facts, units: Sequence[Unit]) -> dict[str, Paired]:
    """Compare the first allocator with each other one, in fractions of the bound so far.

    Takes some milliseconds for each rival: to be kept until another unit comes.
    """
    names = list(facts.allocators)
    played = [unit for unit in units if unit.note is None]
    clusters = [f"{unit.cell.topology} {unit.seed}" for unit in played]
    return {name: _against(played, clusters, names[0], name) for name in names[1:] if played}


def comparison_sheet(
    facts: Facts, units: Sequence[Unit], contrasts: dict[str, Paired], progress: Progress
) -> Sheet:
    """Return the sheet of a comparison; ``contrasts`` are those of :func:`contrasts_of`."""
    names = list(facts.allocators)
    played = [unit for unit in units if unit.note is None]
    total = len(facts.cells) * len(facts.seeds)
    counted = f"{len(facts.cells)} cells × {len(facts.seeds)} seeds × {len(names)} allocators"
    return Sheet(
        title=f"{names[0]} against {len(names) - 1} others" if len(names) > 1 else names[0],
        subtitle=f"{counted}, {facts.seconds:g} s that count each; folder {progress.folder}",
        state=progress.state,
        word=progress.word,
        tiles=_tiles(names, units, played, contrasts, total, progress),
        charts=_charts(names, played, total, progress),
        intervals=_intervals(names[0], contrasts),
        tables=[
            allocator_table(names, played),
            contrast_table(contrasts),
            cell_table(facts, units),
            left_out_table(units),
            facts_table(facts, progress.folder),
        ],
    )


def left_s(total: int, progress: Progress) -> float | None:
    """Return about how many seconds are left, by the pace since the watching began; None: unknown.

    >>> left_s(10, Progress("running", "", "", 2, ((10.0, 3), (20.0, 4)), 20.0))
    60.0
    """
    done = progress.arrived[-1][1] if progress.arrived else progress.there
    fresh = done - progress.there
    if progress.state != "running" or fresh < 1 or done >= total:
        return None
    return progress.watched_s / fresh * (total - done)


def _against(units: Sequence[Unit], clusters: list[str], judged: str, rival: str) -> Paired:
    ours, theirs = (
        [unit.allocators[name].fraction_of_bound for unit in units] for name in (judged, rival)
    )
    return paired(ours, theirs, clusters, rng=generator(0, "watched", rival))


def _tiles(
    names: Sequence[str],
    units: Sequence[Unit],
    played: Sequence[Unit],
    contrasts: dict[str, Paired],
    total: int,
    progress: Progress,
) -> list[Tile]:
    judged, best = names[0], best_rival(names, played)
    rest = left_s(total, progress)
    fresh = len(units) - progress.there
    pace = f"{60 * fresh / progress.watched_s:.1f} units a minute" if rest is not None else ""
    tiles = [
        Tile(
            "units", "units done", f"{len(units)} of {total}", f"{100 * len(units) / total:.0f} %"
        ),
        Tile("left", "time left, about", "–" if rest is None else _duration(rest), pace),
        Tile(
            "judged",
            f"{judged}, of the bound",
            share_text(mean_of(played, judged, "fraction_of_bound")),
        ),
    ]
    if best is not None:
        contrast = contrasts[best]
        tiles += [
            Tile(
                "rival",
                f"best rival, {best}",
                share_text(mean_of(played, best, "fraction_of_bound")),
            ),
            Tile("difference", "difference, points", points_text(contrast), range_text(contrast)),
        ]
    skipped = len(units) - len(played)
    return [
        *tiles,
        Tile("skipped", "units left out", f"{skipped}", "nobody could deliver anything"),
    ]


def _duration(seconds: float) -> str:
    """Write a time that is left.

    >>> _duration(42.0), _duration(200.0), _duration(9000.0)
    ('42 s', '3 min', '2.5 h')
    """
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400.0 else f"{seconds / 3600:.1f} h"


def _charts(
    names: Sequence[str], played: Sequence[Unit], total: int, progress: Progress
) -> list[Chart]:
    best = best_rival(names, played)
    lines = {"judged": _running(played, names[0])}
    keys = [Key("judged", names[0])]
    if best is not None:
        lines["rival"] = _running(played, best)
        keys.append(Key("rival", best))
    start = [(0.0, float(progress.there))]
    done = start + [(at_s, float(number)) for at_s, number in progress.arrived]
    now_s = max(1.0, progress.watched_s)
    if done[-1][0] < now_s:
        done.append((now_s, done[-1][1]))
    return [
        Chart(
            name="fraction",
            title="Fraction of the bound so far",
            unit="mean over the units played",
            keys=tuple(keys),
            lines=lines,
            end=float(max(1, total)),
            across=" units",
            span=(0.0, 1.0),
            words={name: f"{points[-1][1]:.3f}" for name, points in lines.items() if points},
            empty="no unit was played yet",
        ),
        Chart(
            name="units",
            title="Units done",
            unit="since this page was opened",
            keys=(Key("delivered", "done", "steps"),),
            lines={"delivered": _thinned(done)},
            end=now_s,
            levels=[{"name": "bound", "label": "all", "value": float(total)}],
        ),
    ]


def _running(played: Sequence[Unit], name: str) -> list[tuple[float, float]]:
    """Return the mean of an allocator after each unit that was played."""
    points, total = [], 0.0
    for number, unit in enumerate(played, 1):
        total += unit.allocators[name].fraction_of_bound
        points.append((float(number), round(total / number, 6)))
    return _thinned(points)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most so many points, evenly, the last one among them."""
    step = -(-len(points) // _MOST_POINTS)
    if step <= 1:
        return points
    return [*points[:-1:step], points[-1]]


def _intervals(judged: str, contrasts: dict[str, Paired]) -> Intervals:
    rows = []
    for name, found in sorted(contrasts.items(), key=lambda item: item[1].difference):
        known = math.isfinite(found.t_low) and math.isfinite(found.t_high)
        rows.append(
            Interval(
                name,
                100 * found.t_low if known else None,
                100 * found.difference,
                100 * found.t_high if known else None,
            )
        )
    return Intervals(
        title=f"{judged} against each",
        unit="points of the bound, 95 % so far",
        rows=rows,
        zero=0.0,
        note=_NOTE,
        empty="No rival, or no unit was played yet.",
    )

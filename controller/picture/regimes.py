"""The regime map: which allocator wins where, and by how much."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.patches import Rectangle

from controller.picture.cast import Row, cast, half_width, load_axis, means
from controller.picture.style import INK, check_format, headline, look, new_figure, to_bytes

__all__ = ["Regime", "regime_figure", "regimes"]

_ROWS = (
    ("topology", "{}"),
    ("deadline_s", "deadline {:g} s"),
    ("cutoff_s", "cutoff {:g} s"),
    ("qubits", "{} qubits"),
    ("service_s", "service {:g} s"),
)
#: Allocators that know the future are no choice that anybody has.
_NO_CHOICE = ("oracle",)
#: More kinds of rows than these are averaged over, the first ones first.
_MOST_ROWS = 40


@dataclass(frozen=True)
class Regime:
    """Who wins in some cells: ``margin`` in fractions of the bound over ``second``.

    ``sure``: the 95 % interval of the margin, by Student's t over networks and seeds, is above 0.
    """

    row: str
    column: str
    winner: str
    second: str
    margin: float
    sure: bool


def regimes(rows: Sequence[Row]) -> list[Regime]:
    """Return the winner of every regime; what varies too much for a page is averaged over.

    The oracle takes no part where others play.
    """
    rows = [row for row in rows if row["allocator"] not in _NO_CHOICE] or rows
    kinds = [pair for pair in _ROWS if len({row.get(pair[0]) for row in rows}) > 1]
    while kinds and len({tuple(row[k] for k, _ in kinds) for row in rows}) > _MOST_ROWS:
        kinds.pop(0)
    label, load = load_axis(rows)
    unit = " %" if "%" in label else ""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: [str(row["demand"]), load(row)]):
        side = ", ".join(form.format(row[key]) for key, form in kinds) or "all"
        top = f"{str(row['demand']).rpartition('/')[2]} {load(row):g}{unit}"
        groups.setdefault((side, top), []).append(row)
    return [_winner(side, top, inside) for (side, top), inside in groups.items()]


def _winner(side: str, top: str, rows: Sequence[Row]) -> Regime:
    of = means(rows, lambda row: row["allocator"], "fraction_of_bound")
    order = sorted(of, key=lambda name: (-of[name], name))
    first, second = order[0], order[1] if len(order) > 1 else ""
    if not second:
        return Regime(side, top, first, second, math.nan, False)
    gaps: dict[tuple[str, int], float] = {}
    for name, sign in ((first, 1.0), (second, -1.0)):
        mine = [row for row in rows if row["allocator"] == name]
        by = means(mine, lambda row: (row["topology"], row["seed"]), "fraction_of_bound")
        for key, value in by.items():
            gaps[key] = gaps.get(key, 0.0) + sign * value
    margin = of[first] - of[second]
    return Regime(side, top, first, second, margin, margin > half_width(list(gaps.values())))


def regime_figure(rows: Sequence[Row], judged: str, *, kind: str = "png") -> bytes:
    """Draw who has the largest fraction of the bound in each regime, with the margin in points.

    Strong colour: the winner and the second are told apart; pale: they are not.
    """
    check_format(kind)
    found, looks = regimes(rows), cast(rows, judged)
    sides = list(dict.fromkeys(regime.row for regime in found))
    tops = list(dict.fromkeys(regime.column for regime in found))
    with look():
        wide = max(7.0, 2.6 + 1.02 * len(tops))
        figure = new_figure(wide, 1.9 + 0.46 * len(sides))
        axes = figure.subplots()
        for regime in found:
            x, y = tops.index(regime.column), sides.index(regime.row)
            colour = looks[regime.winner].colour
            axes.add_patch(
                Rectangle((x, y), 0.96, 0.94, color=colour, alpha=0.62 if regime.sure else 0.2)
            )
            text = _folded(regime.winner)
            if regime.second:
                text += f"\n+{100 * regime.margin:.1f}"
            axes.text(x + 0.48, y + 0.47, text, ha="center", va="center", fontsize=7.5, color=INK)
        axes.set_xlim(0, len(tops))
        axes.set_ylim(len(sides), 0)
        axes.set_xticks(
            [x + 0.48 for x in range(len(tops))], [t.replace(" ", "\n", 1) for t in tops]
        )
        axes.set_yticks([y + 0.47 for y in range(len(sides))], sides)
        axes.tick_params(length=0, labelsize=8.5)
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel(f"demand and {load_axis(rows)[0]}", fontsize=9.5)
        axes.set_title(
            "margin to the second in points of the bound; pale: not told apart; no oracle"
        )
        wins = sum(regime.winner == judged for regime in found)
        headline(figure, f"{judged} is first in {wins} of {len(found)} regimes")
        return to_bytes(figure, kind)


def _folded(name: str) -> str:
    return name.replace("-", "-\n", 1) if len(name) > 11 else name

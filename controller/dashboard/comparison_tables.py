"""The tables of a comparison's sheet, and the words for its figures: pure."""

import math
from collections.abc import Sequence

import msgspec

from controller.arena.cells import label
from controller.arena.facts import Facts
from controller.arena.unit import Unit
from controller.dashboard.sheet import Table
from controller.statistics.differences import Paired

__all__ = [
    "allocator_table",
    "best_rival",
    "cell_table",
    "contrast_table",
    "facts_table",
    "left_out_table",
    "mean_of",
    "points_text",
    "range_text",
    "share_text",
]

_MOST_ROWS = 200


def mean_of(units: Sequence[Unit], name: str, field: str) -> float | None:
    """Return the mean of a figure over the units that have it; None where none has."""
    values = [getattr(unit.allocators[name], field) for unit in units]
    have = [value for value in values if value is not None]
    return math.fsum(have) / len(have) if have else None


def best_rival(names: Sequence[str], played: Sequence[Unit]) -> str | None:
    """Return the rival with the largest fraction of the bound so far."""
    rivals = {name: mean_of(played, name, "fraction_of_bound") or 0.0 for name in names[1:]}
    return max(rivals, key=lambda name: rivals[name]) if rivals and played else None


def share_text(value: float | None) -> str:
    """Write a share in per cent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def points_text(contrast: Paired) -> str:
    """Write a difference in points of the bound."""
    return f"{100 * contrast.difference:+.2f}"


def range_text(contrast: Paired) -> str:
    """Write the interval of a difference."""
    if not (math.isfinite(contrast.t_low) and math.isfinite(contrast.t_high)):
        return "no interval before two networks or seeds"
    return f"95 %: [{100 * contrast.t_low:+.2f}, {100 * contrast.t_high:+.2f}]"


def allocator_table(names: Sequence[str], played: Sequence[Unit]) -> Table:
    """Means of every allocator over the units played, the best first."""

    def row(name: str) -> list[str]:
        means = {
            field: mean_of(played, name, field)
            for field in (
                "fraction_of_bound",
                "delivery_rate",
                "contention",
                "fidelity",
                "latency_ms",
            )
        }
        forms = ("{:.3f}", "{:.3f}", "{:.4f}", "{:.4f}", "{:.0f}")
        told = [
            "–" if value is None else form.format(value)
            for value, form in zip(means.values(), forms, strict=True)
        ]
        return [name, f"{len(played)}", *told]

    ranked = sorted(names, key=lambda name: -(mean_of(played, name, "fraction_of_bound") or 0.0))
    return Table(
        name="allocators",
        title="Allocators so far",
        heads=[
            ("allocator", False),
            ("units", True),
            ("of the bound", True),
            ("delivered", True),
            ("contention", True),
            ("fidelity", True),
            ("latency, ms", True),
        ],
        rows=[row(name) for name in ranked] if played else [],
        empty="No unit was played yet.",
    )


def contrast_table(contrasts: dict[str, Paired]) -> Table:
    """The first allocator against each other one."""
    rows = [
        [name, f"{points_text(found)}", range_text(found), f"{100 * found.p_improvement:.0f} %"]
        for name, found in sorted(contrasts.items(), key=lambda item: item[1].difference)
    ]
    return Table(
        name="contrasts",
        title="Against each",
        heads=[
            ("rival", False),
            ("points of the bound", True),
            ("so far", False),
            ("better in", True),
        ],
        rows=rows,
        empty="No rival, or no unit was played yet.",
    )


def cell_table(facts: Facts, units: Sequence[Unit]) -> Table:
    """What is done of each cell."""
    by_cell: dict[bytes, list[Unit]] = {}
    for unit in units:
        by_cell.setdefault(msgspec.json.encode(unit.cell), []).append(unit)
    judged, rows = next(iter(facts.allocators)), []
    for cell in facts.cells:
        mine = by_cell.get(msgspec.json.encode(cell), [])
        played = [unit for unit in mine if unit.note is None]
        best = best_rival(list(facts.allocators), played)
        rows.append(
            [
                label(cell),
                f"{len(mine)} of {len(facts.seeds)}",
                share_text(mean_of(played, judged, "fraction_of_bound")),
                "–"
                if best is None
                else f"{share_text(mean_of(played, best, 'fraction_of_bound'))} {best}",
            ]
        )
    # Cells that play are of more interest than those that wait.
    rows.sort(key=lambda row: row[1].startswith("0 "))
    return Table(
        name="cells",
        title="Cells",
        heads=[("cell", False), ("units", True), (judged, True), ("best rival", False)],
        rows=rows[:_MOST_ROWS],
    )


def left_out_table(units: Sequence[Unit]) -> Table:
    """Units in which nobody could deliver anything."""
    return Table(
        name="skipped",
        title="Left out",
        heads=[("cell", False), ("seed", True), ("why", False)],
        rows=[
            [label(unit.cell), f"{unit.seed}", unit.note] for unit in units if unit.note is not None
        ][:_MOST_ROWS],
        empty="Every unit that came was played.",
    )


def facts_table(facts: Facts, folder: str) -> Table:
    """What is compared."""
    rows = [
        ["folder", folder],
        ["allocators", ", ".join(facts.allocators)],
        ["topologies", ", ".join(dict.fromkeys(cell.topology for cell in facts.cells))],
        ["demands", ", ".join(dict.fromkeys(cell.demand for cell in facts.cells))],
        ["seeds", ", ".join(str(seed) for seed in facts.seeds)],
        ["network time", f"{facts.seconds:g} s that count, after {facts.warmup_s:g} s of warm-up"],
        *([name, version] for name, version in facts.versions.items()),
    ]
    return Table(name="facts", title="This comparison", heads=[("", False), ("", False)], rows=rows)

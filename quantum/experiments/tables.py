"""Published experiments as tables for people."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantum.experiments.entry import QUANTITIES, Entry
from quantum.experiments.library import Experiment
from quantum.experiments.show import number

__all__ = ["print_list", "print_whole"]


def print_list(found: list[Experiment]) -> None:
    """List experiments, every point in a line, the default first."""
    table = Table(
        "experiment", "point", "family", "fidelity", "rate (/s)", box=None, pad_edge=False
    )
    for one in found:
        for point in sorted(one.points.values(), key=lambda each: each.name != one.default):
            default = point.name == one.default
            table.add_row(
                f"[bold]{one.name}[/]" if default else "",
                point.name if len(one.points) > 1 else "",
                one.family if default else "",
                _marked(point.numbers.get("fidelity")),
                _marked(point.numbers.get("rate_hz")),
            )
    console = Console()
    console.print(table)
    console.print(
        "Default points come first. v verified, m from memory, d derived, u uncertain, - not "
        "reported.\n"
        "dpem presets NAME shows the system, all numbers, their sources and definitions."
    )


def _marked(entry: Entry | None) -> str:
    """Write a number with the first letter of its mark."""
    if entry is None or entry.value is None:
        return "-"
    letter = "m" if entry.mark == "from memory" else (entry.mark or "?")[0]
    return f"{number(entry)} {letter}"


def print_whole(one: Experiment) -> None:
    """Show all numbers of an experiment with their sources."""
    console = Console()
    console.print(Text(f"{one.name}: {one.system}", style="bold"))
    console.print(f"family {one.family}", highlight=False)
    if one.note:
        console.print(Text(one.note))
    if len(one.points) > 1:
        console.print(_table("at all points", one.common))
    for point in one.points.values():
        own = point.numbers
        if len(one.points) > 1:
            own = {n: e for n, e in own.items() if one.common.get(n) is not e}
        title = f"point {point.name}" if len(one.points) > 1 else None
        if title and point.name == one.default:
            title += " (default)"
        table = _table(title, own)
        table.caption = point.note or None
        console.print(table)
    for key, source in one.sources.items():
        console.print(Text(f"{key}: {source.cite}, {source.where}"), soft_wrap=True)


def _table(title: str | None, numbers: dict[str, Entry]) -> Table:

    table = Table("quantity", "value", "mark", "source", "what it is", title=title)
    for column in table.columns:
        column.overflow = "fold"
    for name in (each for each in QUANTITIES if each in numbers):
        entry = numbers[name]
        table.add_row(
            name, number(entry), entry.mark or "", entry.source or "", _meaning(name, entry)
        )
    return table


def _meaning(name: str, entry: Entry) -> str:
    said = entry.definition or QUANTITIES[name].meaning
    return f"{said} = {entry.how}" if entry.how else said

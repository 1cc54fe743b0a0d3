"""Numbers of experiments as text, for the terminal and for the documentation."""

from collections.abc import Iterator

from quantum.experiments.entry import Entry
from quantum.experiments.library import Experiment, Point

__all__ = ["COLUMNS", "markdown", "number", "rows"]

#: Quantities that a list of experiments shows.
COLUMNS = ("distance_km", "fibre_km", "fidelity", "rate_hz", "success_probability", "attempt_s")

_BOUNDS = {"at least": "≥ ", "at most": "≤ ", "about": "~ ", None: ""}


def number(entry: Entry) -> str:
    """Write a number with its bound and its uncertainty.

    >>> number(Entry(0.88, minus=0.047, plus=0.022, bound="at most"))
    '≤ 0.88 -0.047 +0.022'
    >>> number(Entry(reported=False))
    'not reported'
    """
    if entry.value is None:
        return "not reported"
    said = f"{_BOUNDS[entry.bound]}{_plain(entry.value)}"
    if entry.plus_minus is not None:
        said += f" ± {_plain(entry.plus_minus)}"
    if entry.minus is not None and entry.plus is not None:
        said += f" -{_plain(entry.minus)} +{_plain(entry.plus)}"
    return f"{said} ({entry.of})" if entry.of != "pair" else said


def rows(experiment: Experiment) -> Iterator[tuple[Point, dict[str, str]]]:
    """Yield each operating point with its number and mark for every quantity of COLUMNS.

    A quantity of which the file has nothing to say is empty.
    """
    for point in experiment.points.values():
        yield point, {name: _cell(point.numbers.get(name)) for name in COLUMNS}


def markdown(experiments: list[Experiment]) -> str:
    """Return the table of the documentation, one line for each operating point."""
    head = ["experiment", "point", "system", "family", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for experiment in experiments:
        for point, cells in rows(experiment):
            star = " (default)" if point.name == experiment.default else ""
            name = f"{point.name}{star}" if len(experiment.points) > 1 else ""
            start = [f"`{experiment.name}`", name, experiment.system, experiment.family]
            lines.append(f"| {' | '.join([*start, *cells.values()])} |")
    return "\n".join(lines) + "\n"


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return number(entry) if entry.mark is None else f"{number(entry)}, {entry.mark}"


def _plain(value: float) -> str:
    """Write a value as people do: 500000, 0.0111, 4e-05.

    >>> _plain(500000.0), _plain(0.9984), _plain(0.000218)
    ('500,000', '0.9984', '0.000218')
    """
    return f"{value:,.0f}" if 1e4 <= value < 1e7 and value == int(value) else f"{value:.6g}"

"""``dpem bench``: performance, each figure with a reference measured in the same run."""

import inspect
import os
import platform
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json
from quantum.words import near

GROUP = "dpem.benchmarks"


@click.command("bench")
@click.argument("name")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="FILE",
    help="Judge this policy too, or several trainings together (benchmark policy); repeatable.",
)
@json_option
def command(name: str, policies: tuple[str, ...], json_path: str | None) -> None:
    """Measure the performance of a part of DPEM by NAME.

    Every benchmark measures its reference in the same run and prints the ratio, because rates
    alone say more about the machine than about the code.
    """
    measure = load(name)
    if policies and "policies" not in inspect.signature(measure).parameters:
        raise InputError(f"--policy: benchmark {name} does not use it")
    result = {**(measure(policies=policies) if policies else measure()), "machine": machine()}
    write_json(result, json_path)
    if json_path != "-":
        _show(result)


def load(name: str) -> Callable[..., dict[str, Any]]:
    """Return an installed benchmark: ``function() -> {name, results, reference, ratio}``.

    One that judges files of policies takes them as ``policies``. A ``table`` with ``title``,
    ``columns`` and ``rows`` of texts is shown as it is.
    """
    found: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        meant = near(name, sorted(found))
        raise InputError(f"benchmark {name!r} is unknown{meant}; known: {', '.join(sorted(found))}")
    return cast(Callable[..., dict[str, Any]], found[name].load())


def machine() -> dict[str, Any]:
    """Describe where a figure was measured, and how busy that was."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    where = result["machine"]
    table = Table("", "figure", "value", title=f"bench {result['name']}")
    for part in ("results", "reference", "ratio"):
        for key, value in result[part].items():
            table.add_row(part, key, _text(value))
    console = Console()
    console.print(table)
    if "table" in result:
        side = result["table"]
        beside = Table(*side["columns"], title=side["title"])
        for row in side["rows"]:
            beside.add_row(*row)
        console.print(beside)
    console.print(
        f"{where['processor']}, {where['cores']} cores, Python {where['python']}, "
        f"load {where['load_1min']}"
    )


def _text(value: Any) -> str:
    """Write a number with four digits that count.

    >>> _text(51234.5), _text(0.25), _text("direct")
    ('51,230', '0.25', 'direct')
    """
    if not isinstance(value, float):
        return str(value)
    return f"{float(f'{value:.4g}'):,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

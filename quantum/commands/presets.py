"""``dpem presets``: published experiments that can be simulated, and where each number is from."""

from typing import TYPE_CHECKING, Any

import click

from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from quantum.experiments.library import Experiment

__all__ = ["command"]


@click.command("presets")
@click.argument("name", required=False)
@json_option
def command(name: str | None, json_path: str | None) -> None:
    """List published experiments, or show all numbers of the one of NAME with their sources.

    NAME may also be a TOML file of your own, which is checked.
    """
    # Heavy, and dpem --help loads this file for one line of text.
    from quantum.experiments.library import experiment, names
    from quantum.experiments.tables import print_list, print_whole

    if name is None:
        found = [experiment(each) for each in names()]
        write_json([_summary(each) for each in found], json_path)
        if json_path != "-":
            print_list(found)
    else:
        one = experiment(name)
        write_json(_whole(one), json_path)
        if json_path != "-":
            print_whole(one)


def _summary(one: "Experiment") -> dict[str, Any]:
    shown = ("distance_km", "fidelity", "rate_hz")
    numbers = one.point().numbers
    return {
        "name": one.name,
        "system": one.system,
        "family": one.family,
        "points": list(one.points),
        "default": one.default,
        **{name: numbers.get(name) for name in shown},
    }


def _whole(one: "Experiment") -> dict[str, Any]:
    return {
        "name": one.name,
        "system": one.system,
        "family": one.family,
        "note": one.note,
        "sources": one.sources,
        "default": one.default,
        "points": {
            point.name: {"note": point.note, "state": point.state, "numbers": point.numbers}
            for point in one.points.values()
        },
    }

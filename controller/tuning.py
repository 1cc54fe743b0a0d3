"""The same search for every allocator: its levers, on networks that no preset plays.

Coordinate descent from the defaults: lever after lever, every value is tried with the others as
they are, and the best one is kept if it gains enough; again from the first lever until nothing
changes or the budget of trials is spent. A trial is the mean fraction of the bound over the
training units: a balanced sample of the cells of ``paper``, ``metro`` and ``fast`` on networks 4 to
7, with seeds from 1000 on. Every trial is written down at once, so a search that was ended goes on
where it stopped.

``python -m controller.tuning`` writes ``controller/data/tuned.toml``.
"""

import json
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from controller.game import Game, Plans, flows_of, play, prepare
from controller.rivals.allocator import find
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.presets import NETWORKS, Cell, build, cells, sample

__all__ = [
    "Found",
    "Journal",
    "TrainingUnit",
    "Trial",
    "descend",
    "toml_of",
    "training_units",
    "trial",
]

Settings = dict[str, float]
#: Scores settings; several at a time, so that they can be played side by side.
Scorer = Callable[[Sequence[Settings]], list[float]]

#: A lever is moved only if the mean fraction of the bound rises by more than this: less is luck.
WORTH = 5e-4
#: Seeds of training runs start here; comparisons use those below 100.
FIRST_SEED = 1000
_PRESETS = ("paper", "metro", "fast")


class TrainingUnit(msgspec.Struct, frozen=True):
    """A cell on a training network."""

    cell: Cell
    number: int
    seed: int


class Trial(msgspec.Struct, frozen=True):
    """What some settings of an allocator reached on a unit, and the time it took."""

    fraction_of_bound: float
    cpu_s: float


class Found(msgspec.Struct, frozen=True):
    """What a search found: the settings that differ from the defaults, and the scores."""

    settings: Settings
    before: float
    after: float
    trials: int


def training_units(size: int, *, key: int = 0) -> list[TrainingUnit]:
    """Return ``size`` units: as many cells of each preset as of the others, balanced by key.

    >>> [(unit.cell.preset, unit.number, unit.seed) for unit in training_units(3)]
    [('paper', 4, 1000), ('metro', 5, 1001), ('fast', 6, 1002)]
    """
    if size < 1:
        raise InputError(f"units must be at least 1, got {size}")
    sizes = [(size + 2 - place) // 3 for place in range(3)]
    chosen = [
        cell
        for preset, count in zip(_PRESETS, sizes, strict=True)
        if count
        for cell in sample(cells(preset), count, key)
    ]
    return [
        TrainingUnit(cell, NETWORKS + index % NETWORKS, FIRST_SEED + index)
        for index, cell in enumerate(chosen)
    ]


_plans: Callable[[], Plans] = lru_cache(maxsize=1)(dict)


@lru_cache(maxsize=64)
def _game(unit: TrainingUnit, seconds: float) -> Game:
    plans, rounds = _plans(), unit.cell.distillation_rounds

    def knee(network: Network, trace: Trace) -> float:
        return flows_of(network, trace, plans, max_rounds=rounds).knee_hz

    scenario = build(unit.cell, unit.seed, seconds=seconds, knee=knee, number=unit.number)
    return prepare(scenario, plans, max_rounds=rounds, drift=unit.cell.drift)


def trial(name: str, settings: Settings, unit: TrainingUnit, seconds: float) -> Trial:
    """Play a unit by an allocator with some settings; games are kept for the next trial."""
    make = find(name).make
    if make is None:
        raise InputError(f"allocator {name} has no levers")
    game = _game(unit, seconds)
    begun = time.process_time()
    result = play(game, make(**settings), with_losses=False)
    return Trial(result.fraction_of_bound, time.process_time() - begun)


def descend(levers: Mapping[str, Sequence[float]], score: Scorer, *, budget: int) -> Found:
    """Search by coordinate descent from the defaults, with at most ``budget`` trials.

    >>> hill = lambda many: [4.0 - (one.get("x", 0.0) - 2.0) ** 2 for one in many]
    >>> descend({"x": (0.0, 1.0, 2.0, 3.0)}, hill, budget=10)
    Found(settings={'x': 2.0}, before=0.0, after=4.0, trials=5)
    """
    if budget < 1:
        raise InputError(f"budget must be at least 1 trial, got {budget}")
    best: Settings = {}
    before = top = score([best])[0]
    trials, unchanged = 1, 0
    names = list(levers)
    place = 0
    while names and unchanged < len(names) and trials < budget:
        lever = names[place % len(names)]
        place += 1
        values = [v for v in levers[lever] if v != best.get(lever)][: budget - trials]
        options = [{**best, lever: value} for value in values]
        scores = score(options)
        trials += len(options)
        unchanged += 1
        if scores and max(scores) > top + WORTH:
            top = max(scores)
            best = options[scores.index(top)]
            unchanged = 1
    return Found(best, before, top, trials)


class Journal:
    """Remembers trials in a file, a line each; a torn last line is forgotten."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Trial] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                key, fraction, cpu_s = json.loads(line)
            except ValueError:
                continue
            self.known[key] = Trial(fraction, cpu_s)
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    @staticmethod
    def key(name: str, settings: Settings, unit: TrainingUnit, seconds: float) -> str:
        """Return what a trial depends on, as text."""
        whole = [name, dict(sorted(settings.items())), msgspec.to_builtins(unit), seconds]
        return json.dumps(whole)

    def add(self, key: str, found: Trial) -> None:
        """Write a trial down."""
        self.known[key] = found
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, found.fraction_of_bound, found.cpu_s]) + "\n")


def toml_of(
    found: Mapping[str, Found], units: Sequence[TrainingUnit], *, command: str, old: str = ""
) -> str:
    """Write ``tuned.toml``: settings and searches of ``found``; others stay as in ``old``.

    A setting that the search did not move is not written.
    """
    tables: dict[str, dict[str, dict[str, Any]]] = {"settings": {}, "search": {}}
    for part, names in tomllib.loads(old).items():
        tables.setdefault(part, {}).update(names)
    presets = [unit.cell.preset for unit in units]
    for name, one in found.items():
        tables["settings"].pop(name, None)
        if one.settings:
            tables["settings"][name] = dict(sorted(one.settings.items()))
        tables["search"][name] = {
            "before": round(one.before, 5),
            "after": round(one.after, 5),
            "trials": one.trials,
            "cells": ", ".join(f"{presets.count(p)} {p}" for p in dict.fromkeys(presets)),
            "seeds": [units[0].seed, units[-1].seed],
            "command": command,
            "versions": ", ".join(f"{lib} {version(lib)}" for lib in ("dpem", "numpy", "numba")),
        }
    lines = [
        "# Settings of allocators that differ from their defaults, and the searches that chose",
        "# them: mean fraction of the bound before and after, on networks 4 to 7 of each kind,",
        "# which no preset plays. Written by `python -m controller.tuning`; do not edit.",
    ]
    for part in ("settings", "search"):
        for name in sorted(tables[part]):
            lines += ["", f"[{part}.{name}]"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in tables[part][name].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    # The command imports this module.
    import_module("controller.commands.tune").command()

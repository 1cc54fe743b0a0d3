"""Everything needed to play a unit again, in a folder; and playing it again.

``unit.json`` says what was played and by which versions, with a decision digest for each
allocator; ``network.json`` is the topology, ``requests.parquet`` and ``commodities.parquet`` the
demand, ``tokens.parquet`` the draws (generation tokens of every node over the bound's horizon; all
others follow from the seed). A folder for each allocator holds its decisions, see
:mod:`controller.decisions`. Playing it again reads these files and nothing else.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from controller.arena.facts import versions
from controller.arena.tables import write_parquet
from controller.decisions import ACTS, FORECASTS, SERVED, Decisions, record
from controller.game import Game, prepare
from controller.rivals.allocator import find
from quantum.bound import horizon
from quantum.changes import NO_CHANGES, read_changes, to_csv
from quantum.demand import Trace
from quantum.errors import InputError, RecordError
from quantum.ledger import token_totals
from quantum.output import write_whole
from quantum.presets import Cell
from quantum.scenario import Scenario
from quantum.topology import load_topology, to_json

__all__ = ["Kept", "Replayed", "is_kept", "keep_unit", "play_again"]

_UNIT, _NETWORK, _CHANGES = "unit.json", "network.json", "changes.csv"
_REQUEST = ("time_s", "commodity", "pairs", "minimum_fidelity", "deadline_s", "told_s")


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was played; ``digests`` are the allocators' decisions."""

    cell: Cell
    seed: int
    demand: str
    load_hz: float
    seconds: float
    warmup_s: float
    slot_s: float
    test_share: float
    service_s: float
    bound: float
    digests: dict[str, str]
    versions: dict[str, str]


class Replayed(msgspec.Struct, frozen=True):
    """What was verified: allocators whose every decision came out again."""

    seed: int
    slots: int
    allocators: list[str]
    decisions: int


def keep_unit(
    folder: Path, cell: Cell, seed: int, game: Game, decisions: Mapping[str, Decisions]
) -> None:
    """Write the folder of a unit, all of it or nothing. Raises InputError without pyarrow."""
    scenario, part = game.scenario, folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    trace = scenario.trace
    write_whole(part / _NETWORK, to_json(scenario.network))
    if len(scenario.changes.time_s):
        write_whole(part / _CHANGES, to_csv(scenario.changes, scenario.network))
    _table(part / "requests.parquet", {name: getattr(trace, name) for name in _REQUEST})
    ends = trace.commodities.reshape(-1, 2)
    _table(
        part / "commodities.parquet",
        {"source": ends[:, 0], "destination": ends[:, 1], "weight": trace.weights},
    )
    _table(part / "tokens.parquet", {"tokens": _tokens(game)})
    for name, made in decisions.items():
        own = part / name
        own.mkdir()
        _table(own / "acts.parquet", dict(zip(ACTS, made.acts.T, strict=True)))
        _table(own / "served.parquet", dict(zip(SERVED, made.served.T, strict=True)))
        if len(made.forecasts):
            columns: dict[str, Any] = dict(zip(FORECASTS, made.forecasts.T, strict=True))
            _table(own / "forecasts.parquet", {**columns, "pairs": made.foreseen})
    kept = Kept(
        cell=cell,
        seed=seed,
        demand=trace.name,
        load_hz=trace.load_hz,
        seconds=scenario.seconds,
        warmup_s=scenario.warmup_s,
        slot_s=scenario.slot_s,
        test_share=scenario.test_share,
        service_s=scenario.service_s,
        bound=game.bound,
        digests={name: made.digest for name, made in decisions.items()},
        versions=versions(),
    )
    write_whole(part / _UNIT, msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def is_kept(folder: Path) -> bool:
    """Tell whether a folder holds a kept unit."""
    return (folder / _UNIT).is_file()


def play_again(folder: Path) -> Replayed:
    """Play a kept unit from its files; :class:`RecordError` where anything comes out otherwise."""
    try:
        kept = msgspec.json.decode((folder / _UNIT).read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError) as wrong:
        raise InputError(f"{folder} holds no kept unit: {wrong}") from wrong
    game = _game(folder, kept)
    if not np.array_equal(_read(folder / "tokens.parquet")["tokens"], _tokens(game)):
        raise RecordError(f"{folder}: the tokens are drawn otherwise by these versions")
    if abs(game.bound - kept.bound) > 1e-6 * max(1.0, kept.bound):
        raise RecordError(f"{folder}: the bound is {game.bound:.6g}, and was {kept.bound:.6g}")
    rows = 0
    for name, digest in kept.digests.items():
        _, made = record(game, find(name))
        if made.digest != digest:
            raise RecordError(f"{folder}: {_where(folder / name, name, made)}")
        rows += len(made.acts) + len(made.served)
    return Replayed(kept.seed, game.world.horizon, list(kept.digests), rows)


def _game(folder: Path, kept: Kept) -> Game:
    requests, ends = _read(folder / "requests.parquet"), _read(folder / "commodities.parquet")
    trace = Trace(
        name=kept.demand,
        commodities=np.column_stack([ends["source"], ends["destination"]]).astype(np.int64),
        weights=ends["weight"],
        load_hz=kept.load_hz,
        **{name: requests[name] for name in _REQUEST},
    )
    network, changes = load_topology(str(folder / _NETWORK), seed=0), folder / _CHANGES
    scenario = Scenario(
        network=network,
        trace=trace,
        seed=kept.seed,
        seconds=kept.seconds,
        warmup_s=kept.warmup_s,
        slot_s=kept.slot_s,
        test_share=kept.test_share,
        service_s=kept.service_s,
        changes=read_changes(str(changes), network) if changes.is_file() else NO_CHANGES,
    )
    return prepare(
        scenario,
        max_rounds=kept.cell.distillation_rounds,
        drift=kept.cell.drift,
        measured_belief=kept.cell.measured_belief,
    )


def _where(folder: Path, name: str, made: Decisions) -> str:
    """Say in which slot the decisions part from those that were kept."""
    acts = _read(folder / "acts.parquet")
    old = np.column_stack([acts[column] for column in ACTS])
    size = min(len(old), len(made.acts))
    differ = np.flatnonzero((old[:size] != made.acts[:size]).any(axis=1))
    slot = f" from slot {made.acts[differ[0], 0]} on" if len(differ) else ""
    return f"{name} decides otherwise{slot}"


def _tokens(game: Game) -> np.ndarray:
    world = game.world
    mean = np.ascontiguousarray(world.node.generation)
    totals: np.ndarray = token_totals(world.seed, mean, *horizon(game.scenario))
    return totals


def _table(path: Path, columns: Mapping[str, Any]) -> None:
    if not write_parquet(path, columns):
        raise InputError("--keep needs pyarrow: pip install 'dpem[arena]' adds it")


def _read(path: Path) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except OSError as wrong:
        raise RecordError(f"cannot read {path}: {wrong}") from wrong
    return {name: table[name].to_numpy() for name in table.column_names}

"""A comparison's folder as others read it: what is compared, and the units that are there."""

from pathlib import Path
from typing import Any

import msgspec

from controller.arena.facts import Facts, unit_key
from controller.arena.folder import units_in
from controller.arena.page import report_page
from controller.arena.report import digests_of, draw, report_text
from controller.arena.summary import summarise
from controller.arena.unit import Unit
from quantum.errors import InputError

__all__ = ["read_comparison", "render"]

_FACTS, _UNITS, _RESULT = "comparison.json", "units.jsonl", "result.json"


def read_comparison(folder: Path) -> tuple[Facts, list[Unit]]:
    """Return what is compared and its units so far, in the order of cells and seeds.

    A last line that is being written is left out. Raises :class:`InputError` for what is no
    comparison of this version, and for a damaged one.
    """
    path = folder / _FACTS
    try:
        facts = msgspec.json.decode(path.read_bytes(), type=Facts)
        data = (folder / _UNITS).read_bytes() if (folder / _UNITS).exists() else b""
    except OSError as wrong:
        raise InputError(f"cannot read {wrong.filename}: {wrong.strerror}") from wrong
    except msgspec.MsgspecError as wrong:
        raise InputError(f"{path} is no comparison of this version: {wrong}") from wrong
    there = dict(units_in(data[: data.rfind(b"\n") + 1].splitlines(), folder / _UNITS))
    keys = (unit_key(facts, cell, seed) for cell in facts.cells for seed in facts.seeds)
    return facts, [there[key] for key in keys if key in there]


def render(folder: Path) -> str:
    """Return the page of a comparison as one HTML text, of all its units or of those so far."""
    facts, units = read_comparison(folder)
    total = len(facts.cells) * len(facts.seeds)
    if not any(unit.note is None for unit in units):
        raise InputError(f"{folder} has no unit that was played: there is nothing to report yet")
    asked: dict[str, Any] = {}
    if (folder / _RESULT).is_file():
        result = msgspec.json.decode((folder / _RESULT).read_bytes(), type=dict[str, Any])
        told = ("preset", "topology", "demand", "changes", "sample", "service_ms", "windowed")
        asked = {name: result[name] for name in told if name in result}
    what = asked.get("topology") or asked.get("preset") or folder.resolve().name
    title = f"{what}: {len(facts.cells)} cells, {len(facts.seeds)} seeds"
    if len(units) < total:
        title += f"; only {len(units)} of {total} units so far, so its tests decide nothing"
    names = list(facts.allocators)
    found = summarise(str(asked.get("preset", what)), names, facts.seeds, units)
    drawn = draw(found)
    asked |= {"seconds": facts.seconds, "warmup_s": facts.warmup_s, "seeds": facts.seeds}
    asked |= {"allocators": names, "versions": facts.versions}
    return report_page(report_text(found, title, list(drawn)), drawn, digests_of(folder), asked)

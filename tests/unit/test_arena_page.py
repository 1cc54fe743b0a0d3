"""The arena's page: its table is that of the installed allocators, and its plugin plays."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from controller.arena.roster import chosen, installed, page_with_roster, roster
from controller.arena.unit import play_unit
from controller.rivals.allocator import find, known
from quantum.errors import InputError
from quantum.presets import Cell

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "arena.md").read_text(encoding="utf-8")


def block(name):
    """Return the block that the page tells its reader to save."""
    fence = rf"[Ss]ave\s+as\s+`{re.escape(name)}`:\n\n```\w+\n(.*?)^```"
    return re.search(fence, PAGE, re.S | re.M)[1]


def test_the_table_of_rivals_is_that_of_the_installed_ones():
    """Otherwise: python -m controller.arena.roster."""
    assert page_with_roster(PAGE, list(installed()[0].values())) == PAGE
    for one in installed()[0].values():
        assert f"| `{one.name}` |" in roster([one]) and one.sentence in PAGE
    with pytest.raises(InputError, match="roster: begin"):
        page_with_roster("nothing", [])


def test_all_is_every_other_installed_one():
    names = list(installed()[0])
    # Rungs that learn cost as much as dpem: they have to be named.
    usual = [name for name in names if name not in ("dpem-alone", "dpem-federated")]
    assert len(usual) == len(names) - 2
    assert chosen("all") == usual
    assert names[0] == "dpem"
    assert chosen("uniform,all") == ["uniform", *(n for n in usual if n != "uniform")]
    assert chosen("dpem-alone,all") == ["dpem-alone", *usual]
    assert set(names) | set(installed()[1]) == set(known())


def test_the_plugin_of_the_page_plays(tmp_path, monkeypatch):
    source, project = block("even_stock.py"), tomllib.loads(block("pyproject.toml"))
    assert len(source.splitlines()) <= 30
    (tmp_path / "even_stock.py").write_text(source)
    about = tmp_path / "even_stock-1.0.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: even-stock\nVersion: 1.0\n")
    points = project["project"]["entry-points"]["dpem.allocators"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    about.joinpath("entry_points.txt").write_text("\n".join(["[dpem.allocators]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert find("even-stock").name == "even-stock" and "even-stock" in chosen("all")
        cell = Cell(
            preset="paper",
            topology="geometric-10",
            demand="poisson",
            deadline_s=0.5,
            cutoff_s=1.0,
            qubits=8,
            load_hz=6.0,
        )
        unit = play_unit(cell, 0, ["even-stock", "uniform"], seconds=3.0, warmup_s=1.0)
        assert 0.0 < unit.allocators["even-stock"].fraction_of_bound <= 1.0
    finally:
        sys.modules.pop("even_stock", None)

"""Bounds beside the fluid one in a comparison: time windows for some units, fair shares for all."""

import json
from dataclasses import replace

import msgspec
import pytest
from click.testing import CliRunner

from controller.arena.facts import facts_of, unit_key, with_windows
from controller.arena.unit import Unit, play_unit
from controller.commands.compare import command
from quantum.errors import AllocatorError, InputError
from quantum.presets import Cell, cells

CELL = Cell(
    preset="paper",
    topology="ring-8",
    demand="poisson",
    deadline_s=0.4,
    cutoff_s=0.6,
    qubits=6,
    load_hz=12.0,
)
TIMES = {"seconds": 14.0, "warmup_s": 2.0}
#: One that swaps ahead, which has a windowed bound of its own.
NAMES = ["mean-rate", "on-demand", "max-weight"]


@pytest.fixture(scope="module")
def unit() -> Unit:
    return play_unit(CELL, 3, NAMES, windowed=True, **TIMES)


def test_the_windowed_bound_lies_between_every_allocator_and_the_fluid_one(unit):
    assert 0.0 < unit.windowed <= unit.windowed_fluid < unit.bound
    assert unit.windowed <= unit.windowed_requested < unit.pairs_requested
    for figures in unit.allocators.values():
        assert 0.0 < figures.fraction_of_windowed <= 1.0
    # Tighter, so more of it is reached; deadlines of 0.4 s make it bite.
    assert unit.windowed < 0.95 * unit.windowed_fluid


def test_shares_are_below_the_fair_one_and_the_fair_total_below_the_bound(unit):
    assert 0.0 < unit.fair_share < 1.0
    assert 0.0 < unit.fair_total <= unit.bound
    for figures in unit.allocators.values():
        assert 0.0 <= figures.least_share <= unit.fair_share


def test_units_without_it_are_the_same_but_for_it(unit):
    plain = play_unit(CELL, 3, NAMES, **TIMES)
    assert plain.windowed is None
    assert plain.allocators["mean-rate"].fraction_of_windowed is None
    nothing = dict.fromkeys(("windowed", "windowed_fluid", "windowed_requested"))
    same = {
        name: msgspec.structs.replace(figures, fraction_of_windowed=None)
        for name, figures in unit.allocators.items()
    }
    assert msgspec.structs.replace(unit, allocators=same, **nothing) == plain


@pytest.mark.parametrize(
    ("bound", "change", "said"),
    [
        (
            "windowed_of",
            {"total": 1.0},
            r"mean-rate failed on .*but the bound in time windows is 1",
        ),
        ("fair_of", {"share": -1.0}, r"mean-rate failed on .*but the fair share is -1"),
    ],
)
def test_more_than_a_bound_ends_the_unit(monkeypatch, bound, change, said):
    """As if an allocator had too much: the bound is lowered instead."""
    import controller.game as game

    real = getattr(game, bound)
    monkeypatch.setattr(game, bound, lambda *of, **more: replace(real(*of, **more), **change))
    with pytest.raises(AllocatorError, match=said):
        play_unit(CELL, 3, ["mean-rate"], windowed=True, **TIMES)


def test_units_are_picked_by_key_over_cells_first():
    of = cells("metro")
    few, more = with_windows(of, range(4), 12), with_windows(of, range(4), 300)
    assert len(few) == len(set(few)) == 12
    assert len({number for number, _ in few}) == 12
    assert len({seed for _, seed in few}) > 1
    assert len(set(more)) == 300 and {number for number, _ in more} == set(range(288))
    assert with_windows(of, range(4), 12) == few
    assert len(with_windows(of[:2], [5], 9)) == 2
    with pytest.raises(InputError, match="windowed must be at least 0 units, got -1"):
        with_windows(of, [0], -1)


def test_only_units_with_windows_have_other_keys():
    of = [CELL, msgspec.structs.replace(CELL, load_hz=6.0)]
    one, other = (facts_of(of, [0, 1], ["uniform"], windowed=n, **TIMES) for n in (0, 1))
    same = [unit_key(one, c, s) == unit_key(other, c, s) for c in of for s in (0, 1)]
    assert sorted(same) == [False, True, True, True]


def test_it_is_in_json_report_tables_and_figure(tmp_path):
    line = ["--topology", "ring-8", "--demand", "poisson", "--sample", "1", "--seeds", "2"]
    line += ["--seconds", "12", "--warmup", "2", "--allocators", "mean-rate,uniform"]
    line += ["--processes", "1", "--windowed", "1", "--out", str(tmp_path / "x")]
    run = CliRunner().invoke(command, line)
    assert run.exit_code == 0, run.output
    assert "bound in time windows for 1 of the units" in run.stderr.replace("\n", " ")
    assert "In time windows (1 unit, ten seconds each)" in " ".join(run.stdout.split())
    result = json.loads((tmp_path / "x" / "result.json").read_text())
    assert result["windowed"] == 1
    assert 0.0 < result["bounds"]["windowed"] <= 1.0
    assert 0.0 < result["bounds"]["fair_share"] <= 1.0
    report = (tmp_path / "x" / "report.md").read_text()
    assert "Of the bound in time windows, for its requests: " in report
    assert "Every node pair can have" in report
    heading = (tmp_path / "x" / "units.csv").read_text().splitlines()[0].split(",")
    assert {"windowed", "windowed_fluid", "fair_share", "least_share"} <= set(heading)

"""Comparisons: paired, in a fixed order whatever the processes, with the keys people script."""

import io
import itertools
import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from controller.arena.cells import chosen_cells
from controller.arena.roster import LADDER, installed
from controller.arena.text import show
from controller.commands.compare import command
from controller.experiment import compare, play_unit, summarise
from quantum.errors import InputError
from quantum.presets import Cell, cells

RIVALS = ["mean-rate", "on-demand", "uniform"]
SMALL = ["--topology", "geometric-10", "--demand", "poisson", "--seeds", "2", "--seconds", "3"]


def small(load_hz=6.0, demand="poisson"):
    return Cell(
        preset="paper",
        topology="geometric-10",
        demand=demand,
        deadline_s=0.5,
        cutoff_s=1.0,
        qubits=8,
        load_hz=load_hz,
    )


@pytest.fixture(scope="module")
def comparison():
    both = [small(), small(3.0, "scheduled")]
    return compare(both, RIVALS, [0, 1, 5], seconds=4.0, warmup_s=1.0, processes=1)


def test_units_are_in_order_and_means_are_over_them(comparison):
    places = [(row["demand"], row["seed"], row["network"]) for row in comparison.cells]
    kinds = ("poisson", "scheduled")
    assert places == [(kind, seed, seed % 4) for kind in kinds for seed in (0, 1, 5)]
    for name in RIVALS:
        played = [row for row in comparison.cells if row["note"] is None]
        rates = [row["allocators"][name].delivery_rate for row in played]
        assert comparison.allocators[name].delivery_rate == pytest.approx(np.mean(rates))


def test_pairs_are_the_first_against_the_others(comparison):
    assert list(comparison.paired) == ["mean-rate vs on-demand", "mean-rate vs uniform"]
    ours, theirs = (comparison.allocators[n].delivery_rate for n in ("mean-rate", "on-demand"))
    delivery = comparison.paired["mean-rate vs on-demand"]["delivery"]
    assert delivery["relative"] == pytest.approx(ours / theirs - 1.0)
    assert delivery["low"] <= delivery["relative"] <= delivery["high"]
    assert delivery["clusters"] == 3
    assert delivery["p_holm"] >= delivery["p"]
    assert comparison.anova is not None and comparison.anova.F > 0.0


def test_allocators_play_the_same_draws(comparison):
    alone = play_unit(small(), 0, ["uniform"], seconds=4.0, warmup_s=1.0)
    assert alone.allocators["uniform"] == comparison.cells[0]["allocators"]["uniform"]


def test_processes_change_nothing(comparison):
    both = [small(), small(3.0, "scheduled")]
    told = []
    again = compare(
        both, RIVALS, [0, 1, 5], seconds=4.0, warmup_s=1.0, processes=2, progress=told.append
    )
    assert msgspec.json.encode(again) == msgspec.json.encode(comparison)
    assert sorted((unit.cell.demand, unit.seed) for unit in told) == sorted(
        (kind, seed) for kind in ("poisson", "scheduled") for seed in (0, 1, 5)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": []}, "cell"),
        ({"allocators": []}, "at least one"),
        ({"allocators": ["uniform", "uniform"]}, "different"),
        ({"allocators": ["means"]}, "unknown; it is"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
    ],
)
def test_bad_wishes_are_refused(change, message):
    wish = {"cells": [small()], "allocators": ["uniform"], "seeds": [0], **change}
    with pytest.raises(InputError, match=message):
        compare(**wish, seconds=1.0, processes=1)


def test_an_error_in_a_process_is_the_users(tmp_path):
    lost = msgspec.structs.replace(small(), topology=str(tmp_path / "gone.json"))
    with pytest.raises(InputError, match=r"gone\.json"):
        compare([lost, small()], ["uniform"], [0], seconds=1.0, processes=2)


@pytest.fixture
def one_core(monkeypatch):
    """Play in this process: starting others is tested elsewhere and takes seconds."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Comparisons leave a folder where they are made."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("one_core")
def test_command_writes_the_documented_keys():
    done = CliRunner().invoke(command, [*SMALL, "--allocators", ",".join(RIVALS), "--json", "-"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {
        "preset", "seeds", "allocators", "paired", "anova", "convergence", "cells"
    } <= set(found)  # fmt: skip
    assert found["preset"] == "paper" and found["seeds"] == [0, 1]
    assert found["convergence"] is None
    assert {"F", "df", "p", "eta_squared", "correction"} <= set(found["anova"])
    figures = {"delivery_rate", "fraction_of_bound", "contention", "contention_loss"}
    assert set(found["allocators"]) == set(RIVALS)
    assert figures | {"fidelity", "latency_ms"} <= set(found["allocators"]["uniform"])
    for pair in ("mean-rate vs on-demand", "mean-rate vs uniform"):
        for kind in ("delivery", "contention"):
            assert {"relative", "low", "high", "p_improvement"} <= set(found["paired"][pair][kind])
    assert set(found["cells"][0]["allocators"]) == set(RIVALS)
    assert {row["topology"] for row in found["cells"]} == {"geometric-10"}


@pytest.mark.usefixtures("one_core")
def test_command_prints_a_table(tmp_path):
    path = tmp_path / "out.json"
    one = ["--allocators", "uniform,on-demand", "--json", str(path)]
    done = CliRunner().invoke(command, [*SMALL, *one])
    assert done.exit_code == 0, done.output
    assert "uniform against each" in done.output and "of bound" in done.output
    assert json.loads(path.read_text())["demand"] == "poisson"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (["--preset", "papr"], "paper, metro, fast, fidelity"),
        (["--demand", "poison"], "poisson, scheduled"),
        (["--topology", "surfnett"], "surfnet"),
        (["--allocators", "means"], "mean-rate, "),
        (["--seeds", "0"], "at least 1"),
        (["--seed", "-1"], "between 0 and 2^62"),
        (["--seconds", "nan"], "seconds"),
        (["--sample", "0"], "at least 1"),
        (["--topology", "mesh,mesh"], "--topology must be different"),
        (["--demand", "poisson,poison"], "poisson, scheduled"),
        (["--allocators", "all,all"], "'all' twice"),
        (["--warmup", "-1"], "--warmup"),
        (["--processes", "0"], "--processes"),
    ],
)
def test_command_refuses_with_one_line(wish, message):
    done = CliRunner().invoke(command, wish)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_own_network_and_demand_replace_those_of_the_cells():
    """Loads are those of 100 nodes: 0.2, 0.6 and 1.2 pairs/s a node."""
    own = chosen_cells("paper", None, "line-10", "poisson", 0)
    assert [cell.load_hz for cell in own] == pytest.approx([2.0, 6.0, 12.0])
    assert len(chosen_cells("metro", None, None, "poisson", 0)) == 72
    assert len(chosen_cells("metro", 12, None, None, 0)) == 12
    assert chosen_cells("paper", None, None, None, 0) == cells("paper")


def test_lists_of_networks_and_demands_multiply_the_cells():
    found = chosen_cells("paper", None, "line-10,line-20", "poisson,hotspot", 0)
    assert len(found) == 2 * 2 * 3
    loads = {(cell.topology, round(cell.load_hz, 6)) for cell in found}
    assert loads == {
        *(("line-10", load) for load in (2.0, 6.0, 12.0)),
        *(("line-20", load) for load in (4.0, 12.0, 24.0)),
    }


def test_a_ladder_compares_each_rung_with_the_one_below(comparison):
    """What --ladder adds: steps, on the same units, with their own family of p values."""
    units = [play_unit(small(), seed, RIVALS, seconds=4.0, warmup_s=1.0) for seed in (0, 1)]
    found = summarise("paper", RIVALS, [0, 1], units, ladder=True)
    assert list(found.steps) == [f"{a} vs {b}" for a, b in itertools.pairwise(RIVALS)]
    first = f"{RIVALS[0]} vs {RIVALS[1]}"
    assert (
        found.steps[first]["delivery"]["relative"] == (found.paired[first]["delivery"]["relative"])
    )
    assert comparison.steps == {}
    with io.StringIO() as said:
        show(found, "ladder", Console(file=said, width=100))
        assert "what each rung adds" in said.getvalue()
        assert f"{RIVALS[1]} vs {RIVALS[2]}" in said.getvalue()


def test_the_rungs_are_installed():
    """From on-demand to dpem; a rung that is gone would be found here."""
    assert set(LADDER) <= set(installed()[0])
    assert LADDER[0] == "dpem"
    assert LADDER[-1] == "on-demand"


def test_beliefs_are_compared_in_the_same_cells():
    """Links as tested beside links as specified: by hand from the two halves of the units."""
    wanders = msgspec.structs.replace(small(), drift=True, fidelities=(0.8, 0.9))
    follows = msgspec.structs.replace(wanders, measured_belief=True)
    two = RIVALS[:2]
    found = compare([wanders, follows], two, [0, 1], seconds=4.0, warmup_s=1.0, processes=1)
    assert list(found.beliefs) == [
        "mean-rate tested vs mean-rate nominal",
        "on-demand tested vs on-demand nominal",
        "mean-rate tested vs on-demand nominal",
        "mean-rate tested vs on-demand tested",
    ]
    halves = {
        believed: {
            name: np.mean(
                [
                    row["allocators"][name].delivery_rate
                    for row in found.cells
                    if row["measured_belief"] == believed
                ]
            )
            for name in two
        }
        for believed in (False, True)
    }
    delivery = found.beliefs["mean-rate tested vs on-demand nominal"]["delivery"]
    assert delivery["relative"] == pytest.approx(
        halves[True]["mean-rate"] / halves[False]["on-demand"] - 1.0
    )
    assert delivery["clusters"] == 2
    with io.StringIO() as said:
        show(found, "beliefs", Console(file=said, width=100))
        assert "on-demand: tested vs nominal" in said.getvalue()
        assert "vs on-demand nominal" in said.getvalue()
    assert compare([wanders], two, [0], seconds=2.0, warmup_s=1.0, processes=1).beliefs == {}


def test_beliefs_are_named():
    assert [cell.measured_belief for cell in chosen_cells("fidelity", 1, None, None, 0)] == [False]
    both = chosen_cells("fidelity", 2, None, None, 0, beliefs=(False, True))
    assert [cell.measured_belief for cell in both] == [False, True, False, True]
    for wrong in ("tested", "measured,measured", ""):
        asked = ["--belief", wrong, "--preset", "fidelity"]
        with pytest.raises(InputError, match="--belief must be nominal, measured or both"):
            CliRunner().invoke(command, asked, catch_exceptions=False, standalone_mode=False)

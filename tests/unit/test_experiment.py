"""Comparisons: paired, in a fixed order whatever the processes, with the keys people script."""

import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from controller.arena.cells import chosen_cells
from controller.commands.compare import command
from controller.experiment import compare, play_unit
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

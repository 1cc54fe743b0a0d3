"""The evolution strategy: ranks, steps, games of training only, and kills that change nothing."""

import json
from dataclasses import replace
from importlib.resources import files
from operator import neg
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from controller import policy_file
from controller.checkpoint import load
from controller.commands.train import command
from controller.evolution.games import Trial, game_of, policy_units, try_all, units_of
from controller.evolution.start import AXES, axes
from controller.evolution.strategy import Strides, begin, candidates, noise_of, shaped, step
from controller.evolution.training import Plan, evolve
from controller.game import play
from controller.parallel import kept_workers
from controller.policy_file import (
    actor_of,
    heuristic_weights,
    start_weights,
    state_path,
    weights_from,
)
from controller.policy_games import evaluation_units, measure
from controller.policy_trainings import judged, named_weights
from controller.rivals.allocator import find
from quantum.errors import InputError
from quantum.presets import NETWORKS, run_cell

CELL = run_cell("grid-3x4", "poisson", load_hz=12.0)

CROWDED = run_cell("grid-3x4", "poisson", load_hz=90.0)


def small_plan(**more):
    units = tuple(msgspec.structs.replace(u, seconds=2.0, warmup_s=0.5) for u in units_of(CELL, 3))
    return Plan(units=units, **{"pairs": 2, "games": 2, **more})


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_only_the_order_of_fitness_counts(values):
    fitness = np.array(values)
    ranks = shaped(fitness)
    assert ranks.sum() == pytest.approx(0.0, abs=1e-9) and np.abs(ranks).max() <= 0.5
    order = np.unique(fitness, return_inverse=True)[1].astype(float)
    np.testing.assert_array_equal(ranks, shaped(np.exp(order / len(values)) - 7.0))


def test_candidates_come_in_opposite_pairs():
    search, strides = begin(np.arange(4.0)), Strides(np.array([0.1, 0.2, 0.3, 0.4]))
    tried = candidates(search, strides, noise_of(1, 0, 3, 4))
    np.testing.assert_allclose(tried[:3] + tried[3:], np.tile(2.0 * np.arange(4.0), (3, 1)))
    assert not np.array_equal(noise_of(1, 0, 3, 4), noise_of(1, 1, 3, 4))


def test_it_climbs_a_hill_through_noise():
    """To within two spreads of the top, from forty away, with ranks hidden by noise."""
    top, rng = np.full(20, 5.0), np.random.default_rng(0)
    search, strides = begin(np.zeros(20)), Strides(np.full(20, 0.5))
    for generation in range(120):
        noise = noise_of(3, generation, 8, 20)
        tried = candidates(search, strides, noise)
        fitness = -np.square(tried - top).sum(axis=1) + rng.normal(0.0, 5.0, 16)
        search = step(search, strides, noise, fitness)
    assert np.abs(search.average - top).mean() < 1.0
    assert search.generation == 120


def test_equal_fitness_moves_nothing():
    search, strides = begin(np.ones(3)), Strides(np.ones(3))
    after = step(search, strides, noise_of(0, 0, 2, 3), np.full(4, 0.7))
    np.testing.assert_array_equal(after.mean, search.mean)
    with pytest.raises(InputError, match="fitness must be finite"):
        step(search, strides, noise_of(0, 0, 2, 3), np.full(4, np.nan))


def test_no_comparison_plays_a_training_game():
    units = policy_units(120, seed=2)
    assert len({unit.seed for unit in units}) == 120
    assert all(unit.seed >= 3000 and NETWORKS <= unit.number < 2 * NETWORKS for unit in units)
    assert {unit.seed for unit in units}.isdisjoint(u.seed for u in policy_units(120, seed=3))
    presets = [unit.cell.preset for unit in units]
    assert [presets.count(p) for p in ("paper", "metro", "fast")] == [20, 60, 40]
    for factor in ("topology", "demand", "deadline_s", "cutoff_s"):
        levels = [getattr(u.cell, factor) for u in units if u.cell.preset == "metro"]
        counts = [levels.count(level) for level in set(levels)]
        assert max(counts) - min(counts) <= 4


def test_fitness_is_the_gain_over_mean_rate_on_the_same_draws():
    unit = msgspec.structs.replace(small_plan().units[0], cell=CROWDED)
    game = game_of(unit)
    rival = play(game, find("mean-rate"), with_losses=False).fraction_of_bound
    start = heuristic_weights(0)
    wild = start + np.random.default_rng(0).normal(0.0, 3.0, len(start))
    gains, weight = try_all(Trial(unit, np.stack([start, wild])))
    assert 0.0 < weight == game.bound / (game.bound + 100.0)
    assert gains[0] == 0.0 and 0.0 < rival <= 1.0
    assert gains[1] != 0.0


def test_a_killed_evolution_goes_on_bit_for_bit(tmp_path):
    plan, start = small_plan(), heuristic_weights(4)
    whole, halves = tmp_path / "whole.safetensors", tmp_path / "halves.safetensors"
    one = evolve(plan, start, 3, whole, seed=4)
    evolve(plan, start, 2, halves, seed=4)
    two = evolve(plan, start, 3, halves, seed=4, resume=halves)
    assert one.digest == two.digest and one.generations == two.generations
    assert whole.read_bytes() == halves.read_bytes()
    assert state_path(whole).read_bytes() == state_path(halves).read_bytes()
    done = evolve(plan, start, 3, halves, seed=4, resume=halves)
    assert done.digest == two.digest
    assert np.isfinite(weights_from(whole)).all() and not np.array_equal(weights_from(whole), start)
    with pytest.raises(InputError, match="trained with --seed 4, not 5"):
        evolve(plan, start, 4, halves, seed=5, resume=halves)
    with pytest.raises(InputError, match="on other games"):
        evolve(replace(plan, games=1), start, 4, halves, seed=4, resume=halves)


def test_kept_processes_do_the_same():
    with kept_workers(2) as play_many:
        assert play_many(neg, [1, 2, 3], [0, 1, 0]) == [-1, -2, -3]
        assert play_many(neg, [5], [7]) == [-5]


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"games": 4}, "games must be between 1 and the 3 units, got 4"),
    ],
)
def test_plans_that_make_no_search_are_refused(how, complaint):
    with pytest.raises(InputError, match=complaint):
        small_plan(**how)


OWN = ["--topology", "grid-3x4", "--demand", "poisson", "--seconds", "1"]


def test_command_evolves_then_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = [*OWN, "--method", "es+ppo", "--units", "2", "--generations", "1", "--episodes", "1"]
    result = CliRunner().invoke(command, [*both, "--json", "-"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["evolution"]["policy"] == "policy.warm.safetensors"
    assert len(found["evolution"]["generations"]) == len(found["ppo"]["episodes"]) == 1
    warm, learned = (
        weights_from(Path("policy.warm.safetensors")),
        start_weights("policy.safetensors"),
    )
    assert 0.0 < np.abs(warm - learned).max() < 1.0
    again = CliRunner().invoke(
        command, [*both, "--resume", "policy.safetensors", "--json", "-"], catch_exceptions=False
    )
    assert json.loads(again.stdout) == found


def test_several_trainings_are_averaged_and_go_on_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = [*OWN[:-2], "--method", "es", "--units", "2", "--generations", "1", "--seed", "5"]

    def run(*more):
        return CliRunner().invoke(command, [*short, *more, "--json", "-"], catch_exceptions=False)

    found = json.loads(run("--trainings", "3").stdout)
    files = [Path(f"policy-{seed}.safetensors") for seed in (5, 6, 7)]
    assert [one["policy"] for one in found["trainings"].values()] == [str(path) for path in files]
    each = [weights_from(path) for path in files]
    mean = start_weights("policy.safetensors")
    assert np.array_equal(mean, np.mean(each, axis=0)) and not np.array_equal(each[0], each[1])
    # Each of them is the training that its seed makes alone.
    run("--out", "alone.safetensors")
    assert np.array_equal(weights_from(Path("alone.safetensors")), each[0])
    for lost in ("policy", "policy-7", "policy-7.state"):
        Path(f"{lost}.safetensors").unlink()
    # What was made is not overwritten, and what was lost comes again.
    with pytest.raises(InputError, match=r"policy-5.safetensors exists: go on with --resume"):
        run("--trainings", "3")
    again = json.loads(run("--trainings", "3", "--resume", "policy.safetensors").stdout)
    assert again["trainings"] == found["trainings"]
    assert np.array_equal(start_weights("policy.safetensors"), mean)
    with pytest.raises(InputError, match=r"there is no other-5.safetensors beside it"):
        run("--trainings", "2", "--resume", "other.safetensors")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--method", "es", "--trainings", "0"], "trainings must be between 1 and 64, got 0"),
        (["--trainings", "2"], "--trainings: --method ppo does not use it"),
        (["--method", "es", "--device", "cuda"], "es plays its games on the CPU"),
        (["--presets", "metro", "--topology", "mesh"], "not both"),
        (["--method", "es", "--presets", "slow"], "presets must be of paper, metro, fast"),
        (["--method", "es", "--processes", "0"], "processes must be between 1 and 64"),
        (["--method", "es", "--engine", "threads"], "--engine must be processes or ray"),
        (["--method", "es", "--ray-address", "a:1"], "a:1 goes with --engine ray"),
        (["--method", "es", "--units", "2"], "units must be between 3 and"),
        (["--method", "es", "--generations", "0"], "generations must be at least 1"),
        (["--start", "nowhere.safetensors"], "cannot read nowhere.safetensors"),
    ],
)
def test_command_refuses_in_one_line(options, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, options)
    assert isinstance(result.exception, InputError)
    assert complaint in str(result.exception) and "\n" not in str(result.exception)


def test_the_bench_plays_what_training_has_not_seen():
    units = evaluation_units()
    assert all(unit.seed < 100 and unit.number == unit.seed % NETWORKS for unit in units)
    assert evaluation_units() == units
    small = [msgspec.structs.replace(u, seconds=2.0, warmup_s=0.5, cell=CROWDED) for u in units[:3]]
    fractions, played = measure({"start": axes(), "again": axes()}, small)
    assert played == small and set(fractions) == {"mean-rate", "start", "again"}
    np.testing.assert_array_equal(fractions["start"], fractions["again"])
    assert all((values > 0.0).all() and (values <= 1.0).all() for values in fractions.values())


def test_trainings_are_judged_together_on_the_same_units(tmp_path):
    files = []
    for name, change in (("one", 0.0), ("two", 0.0), ("wild", 3.0)):
        files.append(str(tmp_path / f"{name}.safetensors"))
        weights = axes() + change * np.random.default_rng(1).normal(size=len(axes()))
        policy_file.write_policy(Path(files[-1]), weights, seed=1, round_index=1, notes={})
    given = named_weights(files)
    assert list(given) == ["one", "two", "wild"]
    units = [
        msgspec.structs.replace(u, seconds=2.0, warmup_s=0.5, cell=CROWDED, seed=seed)
        for seed, u in enumerate(evaluation_units()[:4])
    ]
    found = judged(given, units)
    row = found["regimes"][0]
    # Policies that decide as the heuristic does gain nothing, and a mean is one of the three.
    assert row["regime"] == "all" and row["units"] == 4
    assert row["one"] == row["two"] == [0.0, 0.0, 0.0] and row["wild"][0] != 0.0
    assert row["trainings"][0] == pytest.approx(row["wild"][0] / 3.0, abs=1e-4)
    assert row["trainings"][1] < row["trainings"][0] < row["trainings"][2]
    assert row["one more training"][1] > row["over trainings"][1]
    assert found["ratio"]["mean of weights_minus_heuristic"] == row["mean of weights"]
    assert len(found["table"]["rows"][0]) == len(found["table"]["columns"])
    alone = judged({"one": given["one"]}, units[:2])
    assert "trainings" not in alone["regimes"][0] and "mean of weights" not in alone["results"]


def test_files_of_policies_are_refused_by_name(tmp_path):
    path = tmp_path / "one.safetensors"
    policy_file.write_policy(path, axes(), seed=1, round_index=1, notes={})
    with pytest.raises(InputError, match="two files are called one"):
        named_weights([str(path), str(path)])
    with pytest.raises(InputError, match="has the name of a policy that is played anyway"):
        named_weights([str(tmp_path / "shipped.safetensors")])
    with pytest.raises(InputError, match="cannot read"):
        named_weights([str(tmp_path / "none.safetensors")])


def test_evolution_starts_as_the_heuristic():
    hidden = len(AXES)
    assert axes().shape == heuristic_weights(0).shape
    assert not axes()[-2 * hidden :].any() and np.count_nonzero(axes()) == hidden
    unit = msgspec.structs.replace(small_plan().units[0], cell=CROWDED)
    gains, _ = try_all(Trial(unit, np.stack([axes(), heuristic_weights(0)])))
    assert gains[0] == gains[1]


@pytest.mark.parametrize("name", ["shipped", "ppo"])
def test_policies_in_the_package_say_how_they_were_made(name):
    path = Path(str(files("controller").joinpath("data", policy_file._FILES[name])))
    found = load(path)
    assert found.notes["command"].startswith("dpem train ")
    assert {"dpem", "numpy", "numba", "torch", "python"} <= set(found.notes["versions"])
    assert path.stat().st_size < 10_000
    assert actor_of(start_weights(name), 120).w1.shape[0] == 120

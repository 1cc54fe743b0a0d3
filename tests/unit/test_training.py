"""Training over episodes: resumable bit for bit, and a policy file that fits any network."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from controller.checkpoint import load, save
from controller.commands import train as train_command
from controller.commands.train import command
from controller.decide import FEATURES
from controller.game import play, prepare
from controller.policy import initial_actor, parameters
from controller.policy_file import actor_of, start_weights, state_path, weights_from, write_policy
from controller.privacy import epsilon
from controller.rivals import dpem
from controller.rivals.allocator import find
from controller.setting import Setting, scenario_of
from controller.training import course_of
from controller.training import train as train_on
from quantum.cli import main
from quantum.errors import InputError
from quantum.ledger import new_ledger

# Twelve nodes: averaged, with noise. Three rounds an episode.
SETTING = Setting(topology="grid-3x4", demand="poisson", seconds=6.0, seed=5)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(setting, episodes, out, **more):
    return train_on(
        course_of(setting),
        episodes,
        out,
        seed=setting.seed,
        federation=setting.federation,
        **more,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four episodes in one go."""
    return train(SETTING, 4, tmp_path_factory.mktemp("whole") / "policy.safetensors")


def test_four_episodes_are_two_and_two_more(whole, tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    half = train(SETTING, 2, first, planned=4)
    rest = train(SETTING, 2, second, resume=first)
    assert rest.digest == whole.digest != half.digest
    assert rest.episodes == whole.episodes
    assert second.read_bytes() == Path(whole.policy).read_bytes()
    assert state_path(second).read_bytes() == Path(whole.state).read_bytes()


def test_episodes_are_the_runs_of_the_next_seeds(whole):
    assert [e.seed for e in whole.episodes] == [5, 6, 7, 8]
    last = whole.episodes[-1]
    game = prepare(scenario_of(msgspec.structs.replace(SETTING, seed=8)))
    rival = play(game, find("mean-rate"), with_losses=False)
    assert last.rival_delivery_rate == rival.score.delivery_rate
    assert last.rival_fraction_of_bound == rival.fraction_of_bound
    assert last.pairs_requested == rival.score.pairs_requested
    assert all(0.0 < e.fraction_of_bound <= 1.0 and e.reward > 0.0 for e in whole.episodes)


def test_what_was_learned_goes_on(whole, tmp_path):
    """A fourth episode after three is not the same run from the start."""
    alone = train(msgspec.structs.replace(SETTING, seed=8), 1, tmp_path / "p.safetensors")
    assert alone.episodes[0].pairs_requested == whole.episodes[3].pairs_requested
    assert not np.array_equal(weights_from(Path(alone.policy)), weights_from(Path(whole.policy)))
    start = parameters(initial_actor(1, len(FEATURES), seed=5))[0]
    assert 0.0 < np.abs(weights_from(Path(whole.policy)) - start).max() < 1.0


def test_all_rounds_are_accounted_for(whole):
    rounds = sum(e.rounds for e in whole.episodes)
    assert rounds == 12 and {e.updates for e in whole.episodes} == {3}
    assert (whole.delta, whole.privacy, whole.federated_rounds) == (1e-3, "central", 12)
    noise = whole.episodes[0].noise_multiplier
    assert whole.epsilon == pytest.approx(epsilon(noise, 1e-3, rounds), abs=1e-6)
    # All four together are made to cost 8 (the default).
    assert 7.9 < whole.epsilon <= 8.0


def test_few_nodes_have_no_guarantee_and_learn_alike(tmp_path):
    small = msgspec.structs.replace(SETTING, topology="star-5", seconds=6.0)
    found = train(small, 1, tmp_path / "p.safetensors")
    assert (found.epsilon, found.delta, found.episodes[0].rounds) == (None, None, 0)
    assert found.episodes[0].updates == 3
    start = parameters(initial_actor(1, len(FEATURES), seed=5))[0]
    assert not np.array_equal(weights_from(Path(found.policy)), start)


def test_policy_fits_any_number_of_nodes(whole):
    actor = actor_of(weights_from(Path(whole.policy)), 30)
    assert actor.w1.shape == (30, len(FEATURES), 8)
    np.testing.assert_array_equal(parameters(actor)[29], weights_from(Path(whole.policy)))
    assert set(load(Path(whole.policy)).arrays) == {"policy"}


def test_averaging_starts_from_the_policy(whole):
    """A change is added to what the nodes acted with, not to a fresh policy."""
    game = prepare(scenario_of(msgspec.structs.replace(SETTING, topology="ring-12")))
    weights = weights_from(Path(whole.policy))
    twin = dpem.Twin(game, new_ledger(game.world), actor=actor_of(weights, 12))
    np.testing.assert_array_equal(twin.dispatch.rounds.current, weights)
    twin(252)  # one round is over
    assert twin.dispatch.rounds.done == 1
    assert 0.0 < np.abs(twin.dispatch.rounds.current - weights).max() < 0.5


def test_twin_leaves_its_events_to_the_scorer():
    game = prepare(scenario_of(msgspec.structs.replace(SETTING, seconds=2.0, warmup_s=2.0)))
    result = play(game, dpem.allocator, with_losses=False)
    assert result.score.pairs_delivered > 0
    assert result.fidelity is not None and 0.75 <= result.fidelity <= 0.99


def test_other_nodes_take_over_the_policy_only(whole, tmp_path):
    ring = msgspec.structs.replace(SETTING, topology="ring-14")
    out = tmp_path / "p.safetensors"
    with pytest.raises(InputError, match="budget is for 4 episodes, these would be 5"):
        train(ring, 1, out, resume=Path(whole.policy))
    found = train(ring, 1, out, resume=Path(whole.policy), planned=5)
    # What was spent is told, also beyond the budget; nothing is averaged away.
    assert found.epsilon > 8.0
    assert [e.nodes for e in found.episodes] == [12, 12, 12, 12, 14]
    assert found.episodes[-1].seed == 9


def test_resume_says_what_is_missing_or_foreign(whole, tmp_path):
    out = tmp_path / "o.safetensors"
    lonely = tmp_path / "lonely.safetensors"
    lonely.write_bytes(Path(whole.policy).read_bytes())
    with pytest.raises(InputError, match=r"learning state .*lonely\.state\.safetensors is missing"):
        train(SETTING, 1, out, resume=lonely)
    other = msgspec.structs.replace(SETTING, seed=6)
    with pytest.raises(InputError, match="trained with --seed 5, not 6"):
        train(other, 1, out, resume=Path(whole.policy))
    write_policy(state_path(lonely), np.zeros(112), seed=5, round_index=1, notes={})
    with pytest.raises(InputError, match="is no learning state"):
        train(SETTING, 1, out, resume=lonely)
    assert not out.exists()


@pytest.mark.parametrize(
    "arrays",
    [{"weights": np.zeros(112)}, {"policy": np.zeros((2, 112))}, {"policy": np.zeros(113)}],
)
def test_what_is_no_policy_is_refused(arrays, tmp_path):
    path = tmp_path / "p.safetensors"
    save(path, arrays, seed=0, round_index=0, notes={"features": list(FEATURES)})
    with pytest.raises(InputError, match="polic"):
        weights_from(path)


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        (None, "it names none, this version has 12"),
        ([*FEATURES[:-1], "phase of the moon"], "it reads 'phase of the moon'"),
        (list(FEATURES[:-1]), "it does not read 'no stock'"),
        ([*FEATURES[1:], FEATURES[0]], "they are in another order"),
    ],
)
def test_a_policy_of_other_features_is_refused_in_one_line(features, complaint, tmp_path):
    path = tmp_path / "p.safetensors"
    notes = {} if features is None else {"features": features}
    save(path, {"policy": np.zeros(112)}, seed=0, round_index=0, notes=notes)
    with pytest.raises(InputError, match=complaint) as refused:
        weights_from(path)
    assert "\n" not in str(refused.value)


def test_no_episodes_are_refused(tmp_path):
    with pytest.raises(InputError, match="episodes must be at least 1, got 0"):
        train(SETTING, 0, tmp_path / "p.safetensors")


NET = ["--topology", "grid-3x4", "--demand", "poisson"]
SHORT = [*NET, "--seconds", "1", "--episodes", "1"]


def test_command_writes_policy_and_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, [*SHORT, "--json", "-"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["policy"] == "policy.safetensors" and Path("policy.safetensors").exists()
    assert found["digest"] == load(Path("policy.state.safetensors")).digest
    (episode,) = found["episodes"]
    assert {"delivery_rate", "reward", "fraction_of_bound", "rival_delivery_rate", "rounds"} <= set(
        episode
    )
    more = ["--resume", "policy.safetensors", "--planned-episodes", "2"]
    again = CliRunner().invoke(command, [*SHORT, *more], catch_exceptions=False)
    assert "Policy: policy.safetensors (central: epsilon" in again.stdout
    assert load(Path("policy.safetensors")).round == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="says no where there is no device")
def test_a_device_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, [*SHORT, "--device", "cuda"])
    assert str(result.exception) == (
        "--device cuda: this machine has no CUDA device; use --device cpu"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_learns_what_a_cpu_does(tmp_path):
    small = msgspec.structs.replace(SETTING, seconds=3.0)
    cpu = train(small, 1, tmp_path / "cpu.safetensors")
    cuda = train(small, 1, tmp_path / "cuda.safetensors", device="cuda")
    start = start_weights("heuristic", small.seed)
    ours, theirs = (weights_from(Path(one.policy)) - start for one in (cpu, cuda))
    np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-5 * np.abs(ours).max())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--device", "tpu"], "--device tpu is not offered here; it is cpu or cuda"),
        (["--out", "taken.safetensors"], "taken.safetensors exists: go on with --resume"),
        (["--out", "policy.npz"], "must end in .safetensors"),
        (["--out", "none/p.safetensors"], "none is no folder"),
        (["--episodes", "0"], "episodes must be at least 1"),
        (["--seconds", "nan"], "seconds must be between"),
    ],
)
def test_command_refuses_in_one_line(options, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("taken.safetensors").touch()
    monkeypatch.setattr("sys.argv", ["dpem", "train", *SHORT, *options])
    with pytest.raises(SystemExit) as left:
        main()
    error = capsys.readouterr().err
    assert left.value.code == 2 and complaint in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--method", "es", "--seconds", "60"], "--seconds: --method es does not use it"),
        (["--method", "es", "--episodes", "4"], "--episodes: --method es does not use it"),
        (
            ["--method", "es", "--planned-episodes", "3", "--privacy", "none"],
            "--planned-episodes, --privacy: --method es does not use it",
        ),
        (["--method", "es", "--stale-rounds", "1"], "--stale-rounds: --method es does not use it"),
        (["--generations", "40"], "--generations: --method ppo does not use it"),
        (
            ["--units", "8", "--processes", "2"],
            "--units, --processes: --method ppo does not use it",
        ),
        (["--engine", "processes"], "--engine: --method ppo does not use it"),
        (["--ray-address", "a:1"], "--ray-address: --method ppo does not use it"),
    ],
)
def test_options_that_reach_nothing_are_refused_also_with_their_defaults(
    options, complaint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, [*NET, *options])
    assert isinstance(result.exception, InputError) and str(result.exception) == complaint
    assert not list(tmp_path.iterdir())


def test_every_method_uses_its_options():
    """No option is unused by all methods, and es+ppo uses all."""
    names = {option.name for option in command.params}
    assert all(set(unused) <= names for unused in train_command._UNUSED.values())
    assert not set(train_command._UNUSED["es"]) & set(train_command._UNUSED["ppo"])
    assert "es+ppo" not in train_command._UNUSED

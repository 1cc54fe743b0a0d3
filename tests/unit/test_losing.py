"""A controller that is gone: who depends on it gets nothing, who does not goes on."""

import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from controller.commands.lost import command
from controller.game import prepare
from controller.losing import PLAYS, Loss, WithoutAggregator, check, play_losses
from controller.loss_numbers import curves, numbers
from controller.plan import delay_slots
from controller.policy import parameters
from controller.rivals.allocator import find
from controller.setting import Setting, scenario_of
from quantum.errors import InputError
from quantum.ledger import new_ledger
from quantum.ledger.places import is_sound

SETTING = Setting(
    topology="grid-3x3", demand="poisson", load_hz=20.0, seconds=12.0, warmup_s=2.0, seed=5
)
LOSS = Loss(4.0, 4.0)


@pytest.fixture(scope="module")
def plays():
    setting = msgspec.structs.replace(SETTING, learn=False)
    return dict(play_losses(setting, LOSS, "mean-rate"))


def inside(outcome, start_s, stop_s):
    chosen = (outcome.arrival_s >= start_s) & (outcome.arrival_s < stop_s)
    return int(outcome.good[chosen].sum()), int(outcome.pairs[chosen].sum())


def longest_s():
    scenario = scenario_of(SETTING)
    return float(scenario.trace.deadline_s.max())


def test_all_play_the_same_requests(plays):
    assert set(plays) == set(PLAYS)
    first = plays["dpem"]
    for outcome in plays.values():
        assert np.array_equal(outcome.arrival_s, first.arrival_s)
        assert np.array_equal(outcome.pairs, first.pairs)
        assert (outcome.good <= outcome.pairs).all()


def test_nobody_is_served_while_the_controller_is_gone(plays):
    # Whoever asks early enough has no time left when it is back.
    stop_s = LOSS.at_s + LOSS.for_s - longest_s() - 0.1
    assert stop_s > LOSS.at_s
    for name in ("central", "filling"):
        good, asked = inside(plays[name], LOSS.at_s, stop_s)
        assert good == 0 and asked > 5
    assert inside(plays["central whole"], LOSS.at_s, stop_s)[0] > 0
    assert inside(plays["dpem"], LOSS.at_s, stop_s)[0] > 0


def test_what_ended_before_the_loss_is_as_without_it(plays):
    until_s = LOSS.at_s - longest_s() - 0.1
    whole = plays["central whole"]
    early = whole.arrival_s < until_s
    for name in ("central", "filling"):
        assert np.array_equal(plays[name].good[early], whole.good[early])
    assert early.any()


def test_the_controller_takes_up_its_work_again(plays):
    good, asked = inside(plays["central"], LOSS.at_s + LOSS.for_s + 1.0, SETTING.seconds)
    assert good > 0.3 * asked > 0


def test_nodes_that_do_not_learn_lose_nothing(plays):
    assert np.array_equal(plays["dpem"].good, plays["dpem whole"].good)


def test_policies_stand_still_while_the_aggregator_is_gone():
    setting = Setting(
        topology="abilene", demand="poisson", seconds=20.0, warmup_s=2.0, load_hz=20.0
    )
    game, allocator = prepare(scenario_of(setting)), find("dpem")
    world = game.heard_by(allocator).world
    delay = delay_slots(game.scenario, central=False)
    ledger = new_ledger(world, delay_slots=delay, events=8192)
    rule = allocator.rule(game.scenario, game.plan)
    # A round every 250 slots: that of slot 500 is missed, those of 250 and 750 are not.
    twin = WithoutAggregator(game, ledger, learn=True, rule=rule, gone=range(300, 700))
    policies = []
    for stop in (251, 300, 700, 752):
        twin(stop)
        policies.append(parameters(twin.mind.actor).copy())
    assert not np.array_equal(policies[0], policies[3])
    assert np.array_equal(policies[1], policies[2])
    assert twin.dispatch.rounds.done == 2 and is_sound(world, ledger)
    assert ledger.request.good.sum() > 0


def test_numbers_and_curves_count_every_request_once(plays):
    found = numbers([plays, plays], LOSS, SETTING.seconds)
    for name, outcome in plays.items():
        phases = [found[name][phase] for phase in ("before", "meanwhile", "after")]
        assert sum(phase["requested"] for phase in phases) == 2 * outcome.pairs.sum()
        assert sum(phase["delivered"] for phase in phases) == 2 * outcome.good.sum()
        assert all(phase["half_width"] == 0.0 for phase in phases)
        share = {play: found[play]["meanwhile"]["share"] for play in ("dpem", name)}
        lead = pytest.approx(share["dpem"] - share[name], abs=2e-4)
        assert found[name]["lead"] == {"mean": lead, "half_width": 0.0}
    middles, shares = curves([plays], SETTING.seconds, 1.0)
    assert middles[0] == 0.5 and len(middles) == 12 == len(shares["dpem"])
    good, asked = inside(plays["dpem"], 3.0, 4.0)
    assert shares["dpem"][3] == (round(good / asked, 4) if asked else None)


@pytest.mark.parametrize(
    ("loss", "central", "said"),
    [
        (Loss(12.0, 1.0), "mean-rate", "--lost-at must be between 0 and --seconds"),
        (Loss(10.0, 3.0), "mean-rate", "--lost-for must be .* and end within --seconds"),
        (Loss(1.0, 0.0), "mean-rate", r"--lost-for must be >= 0.02 \(a slot\)"),
        (Loss(1.0, 0.009), "mean-rate", "--lost-for must be >= 0.02"),
        (Loss(1.0, 1.0), "dpem", "--central must be an allocator with a controller"),
    ],
)
def test_what_cannot_be_played_names_its_option(loss, central, said):
    with pytest.raises(InputError, match=said):
        check(SETTING, loss, central)


def test_the_command_writes_figure_and_numbers(tmp_path):
    words = ["--topology", "line-3", "--load", "10", "--seconds", "3", "--warmup", "1", "--seeds"]
    words += ["2", "--lost-at", "1", "--lost-for", "1", "--no-learn", "--out", str(tmp_path / "x")]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert [line.split("  ")[0] for line in done.output.splitlines()[1:6]] == list(PLAYS.values())
    folder = tmp_path / "x"
    assert (folder / "lost.png").read_bytes()[1:4] == b"PNG"
    assert "<svg" in (folder / "lost.svg").read_text()
    whole = json.loads((folder / "lost.json").read_text())
    assert whole["plays"].keys() == PLAYS.keys() and len(whole["time_s"]) == 3

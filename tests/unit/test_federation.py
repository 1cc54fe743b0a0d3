"""Rounds with each option: what one client can do, who is late or lies, and the audit's teeth."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import averaging, federated, learning_round
from controller.audit import audit, central_worlds, local_worlds
from controller.averaging import Average
from controller.commands.federate import command
from controller.federation import Federation, Scheme, noise_of
from quantum.errors import InputError, WireError

NONE = Federation(privacy="none")


def scheme(federation, noise=0.0, clients=20):
    return Scheme(federation, clients, clip_norm=0.5, noise_multiplier=noise)


@given(st.integers(0, 10**6), st.integers(0, 19), st.sampled_from(["fixed", "adaptive"]))
@settings(max_examples=60, deadline=None)
def test_one_client_moves_the_mean_by_its_share_whatever_it_sends(seed, who, clipping):
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.0, 10.0 ** rng.integers(-3, 2), (20, 6))
    other = rows.copy()
    other[who] = 0.0
    ends = []
    for sent in (rows, other):
        average = Average(scheme(Federation(clipping=clipping)), np.zeros(6), seed=1)
        average.close(np.arange(20), sent)
        ends.append(average.current)
    assert np.linalg.norm(ends[0] - ends[1]) <= 0.5 / 20 * (1.0 + 1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300, 1e3])
@pytest.mark.parametrize("name", ["mean", "median", "trimmed-mean", "krum"])
def test_hostile_rows_are_dropped_and_counted(bad, name):
    rows = np.full((20, 3), 0.1)
    rows[4, 1] = bad
    how = Federation(privacy="none", aggregator=name)
    average = Average(scheme(how), np.zeros(3), seed=1)
    assert average.close(np.arange(20), rows).dropped == 1
    np.testing.assert_allclose(average.current, 0.095 if name == "mean" else 0.1)
    with pytest.raises(InputError, match="shape"):
        average.close(np.arange(20), rows[:, :2])


def test_adaptive_clipping_finds_the_median_length():
    average = Average(scheme(Federation(privacy="none", clipping="adaptive")), np.zeros(2), seed=0)
    rows = np.zeros((20, 2))
    rows[:, 0] = np.linspace(0.1, 0.3, 20)
    for _ in range(60):
        average.close(np.arange(20), rows)
    assert average.clip_norm == pytest.approx(0.2, abs=0.02)


def test_options_that_do_not_go_together_are_refused():
    for wrong, complaint in (
        ({"aggregator": "median"}, "goes with privacy local or none"),
        ({"privacy": "off"}, "privacy must be central, local or none, got 'off'"),
        ({"privacy": "local", "clipping": "adaptive"}, "not with local"),
        ({"delta": 0.5}, "delta must be between"),
        ({"participation": float("nan")}, "participation must be between"),
    ):
        with pytest.raises(InputError, match=complaint):
            Federation(**wrong).check()


@pytest.mark.parametrize("privacy", ["central", "local"])
def test_audit_stays_below_what_is_stated_and_has_teeth(privacy, monkeypatch):
    how = Federation(privacy=privacy, epsilon=1.0)
    noisy = Scheme(how, 20, noise_multiplier=noise_of(how, 20, 3))
    play = (central_worlds if privacy == "central" else local_worlds)(noisy, 3)
    stated = {"privacy": privacy, "epsilon": noisy.epsilon(3), "delta": 1e-3, "trials": 600}
    assert audit(play, **stated).holds

    with monkeypatch.context() as broken:
        broken.setattr(federated, "clip", lambda rows, norm: rows)
        assert not audit(play, **stated).holds
    with monkeypatch.context() as broken:
        if privacy == "central":
            whole = federated.aggregate
            broken.setattr(
                averaging, "aggregate", lambda *a, **k: whole(*a, **(k | {"noise_multiplier": 0.0}))
            )
        else:
            whole = federated.privatise
            broken.setattr(
                federated, "privatise", lambda *a, **k: whole(*a, **(k | {"noise_multiplier": 0.0}))
            )
        assert not audit(play, **stated).holds


def test_command_shows_privacy_and_liars():
    given_ = ["--task", "forecast", "--clients", "12", "--rounds", "2", "--poison", "0.1"]
    result = CliRunner().invoke(command, [*given_, "--json", "-"], catch_exceptions=False)
    found = json.loads(result.stdout)
    rows = {row["scheme"]: row for row in found["rows"]}
    assert rows["central"]["epsilon"] <= 8.0 and rows["central"]["delta"] == 1e-3
    assert rows["no privacy"]["epsilon"] is None and rows["no privacy"]["loss"] == 0.0
    assert {"liars, plain mean", "liars, trimmed-mean"} <= rows.keys()


class _Run:
    """The little that rounds need to know of a run of 20 nodes in two groups."""

    def __init__(self, federation):
        self.world = SimpleNamespace(n=20, seed=3, fork=0, before=3)
        self.groups = (tuple(range(10)), tuple(range(10, 20)))
        self.federation, self.clip_norm, self.noise_multiplier = federation, 0.5, 0.0
        self.secret, self.learn, self.round_slots = False, True, 10


def rounds_of(federation, monkeypatch):
    monkeypatch.setattr(learning_round, "seed_at", lambda *_: 3)
    return learning_round.Rounds(_Run(federation), np.zeros(2))


def test_late_changes_wait_for_their_node_or_are_dropped(monkeypatch):
    row = np.tile([0.1, 0.0], (10, 1)).astype("<f8").tobytes()
    for stale, late, dropped in ((1, 4, 0), (0, 0, 4)):
        how = Federation(privacy="none", stale_rounds=stale)
        rounds = rounds_of(how, monkeypatch)
        here = np.ones(20, dtype=bool)
        here[:4] = False
        for slot, present in ((10, here), (20, np.ones(20, dtype=bool))):
            for group in (0, 1):
                rounds.check(group, row, slot)
                rounds.add(group, row, 1, slot)
            with pytest.raises(WireError, match="asked for"):
                rounds.check(0, row, slot)
            rounds.end_of_slot(lambda _: None, slot, present)
        assert (rounds.done, rounds.missing, rounds.late, rounds.dropped) == (2, 4, late, dropped)
        waited = 4 * 2**-0.5 if stale else 0.0
        assert rounds.current[0] == pytest.approx(0.1 * (16 + 20 + waited) / 20)


def test_rounds_close_without_those_who_do_not_answer(monkeypatch):
    row = np.tile([0.1, 0.0], (10, 1)).astype("<f8").tobytes()
    rounds = rounds_of(NONE, monkeypatch)
    with pytest.raises(WireError, match="asked for"):
        rounds.check(0, row, 9)
    rounds.add(0, row, 1, 10)
    rounds.end_of_slot(lambda _: None, 10)
    rounds.check(1, row, 13)
    rounds.add(1, row, 1, 13)
    rounds.end_of_slot(lambda _: None, 20)
    assert (rounds.done, rounds.missing, rounds.late) == (2, 10 + 10, 10)
    assert rounds.current[0] == pytest.approx(0.1 * (10 + 10 * 2**-0.5) / 20)


def test_accounting_of_adaptive_clipping_adds_up():
    """Sum and centred count together cost what one Gaussian of the stated noise costs."""
    found = scheme(Federation(clipping="adaptive"), noise=2.0)
    together = found.sum_noise**-2 + (2.0 * found.count_noise) ** -2
    assert together == pytest.approx(2.0**-2)

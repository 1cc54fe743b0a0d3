"""Who learns a policy soonest: the statistic, the central learner, and the command."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands.federate import command
from controller.gae import advantages
from controller.policy import Actor, from_parameters, initial_actor, parameters
from controller.pooled import PooledLearner, pooled
from controller.ppo import Learner
from controller.rollout import Rollout
from controller.statistics import sooner
from quantum.errors import InputError


def rollout_of(seed, nodes=4, steps=6, candidates=3, features=5):
    rng = np.random.default_rng(seed)
    taken = rng.integers(0, steps + 1, nodes)
    taken[0] = steps
    valid = np.arange(steps)[None] < taken[:, None]
    shape = (nodes, steps)
    return Rollout(
        features=rng.normal(size=(*shape, candidates, features)),
        mask=np.ones((*shape, candidates), dtype=bool),
        base=rng.normal(size=(*shape, candidates)),
        action=rng.integers(0, candidates, shape),
        log_probability=np.full(shape, -np.log(candidates)),
        reward=rng.normal(size=shape),
        discount=rng.uniform(0.5, 1.0, shape),
        terminated=np.zeros(shape, dtype=bool),
        valid=valid,
        last_features=rng.normal(size=(nodes, candidates, features)),
        last_mask=np.ones((nodes, candidates), dtype=bool),
    )


def advantages_of(rollout, value, after):
    return advantages(
        np.where(rollout.valid, rollout.reward, 0.0),
        value,
        after,
        discount=np.where(rollout.valid, rollout.discount, 0.0),
        terminated=rollout.terminated,
        valid=rollout.valid,
        lam=0.95,
    )


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_pooled_decisions_have_the_advantages_of_each_node_alone(seed):
    rollout, rng = rollout_of(seed), np.random.default_rng(seed + 1)
    value, after = rng.normal(size=rollout.valid.shape), rng.normal(size=len(rollout.valid))
    apart = advantages_of(rollout, value, after)
    # What stands after the last node's last decision must have no effect.
    joined = pooled(rollout, after)
    together = advantages_of(joined, value[rollout.valid][None], np.array([1e6]))
    np.testing.assert_allclose(together[0], apart[rollout.valid], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(joined.features[0], rollout.features[rollout.valid])


def test_a_central_learner_of_one_node_is_that_node():
    rollout = rollout_of(3, nodes=1)
    alone, central = Learner(1, 5, seed=2), PooledLearner(1, 5, seed=2)
    for _ in range(3):
        alone.update(rollout)
        central.update(rollout)
    np.testing.assert_allclose(
        parameters(alone.actor()), parameters(central.actor()), rtol=1e-9, atol=1e-12
    )


def test_all_nodes_act_by_the_one_set_of_weights_of_a_central_learner():
    central = PooledLearner(4, 5, seed=2)
    before = parameters(central.actor())
    central.update(rollout_of(5))
    after = parameters(central.actor())
    assert after.shape == (4, before.shape[1])
    assert np.ptp(after, axis=0).max() == 0.0
    assert np.abs(after - before).max() > 0.0
    several = from_parameters(after + np.arange(4)[:, None], 5, 8)
    with pytest.raises(InputError, match="one set of weights"):
        central.load_actor(several)
    central.load_actor(Actor(*initial_actor(4, 5, 8, seed=1)))
    with pytest.raises(InputError, match="values are those of one agent"):
        Learner(2, 5).values(np.zeros((1, 3, 5)), np.ones((1, 3), dtype=bool))


def test_sooner_counts_the_same_runs_of_both():
    """Known curves: one is there after 1 step, the other after 3, whatever a run's own level."""
    quick, slow = np.array([0.0, 10.0, 10.0, 10.0, 10.0]), np.array([0.0, 1.0, 2.0, 9.9, 10.0])
    level = np.array([1.0, 1.1, 0.9, 1.3])[:, None]
    rng = np.random.default_rng(0)
    found = sooner(level * quick, 0.5 * level * slow, np.arange(5.0), rng=rng)
    assert (found.fewer, found.fewer_low, found.fewer_high) == (2.0, 2.0, 2.0)
    assert found.higher == pytest.approx(0.5 * 10.0 * np.mean([1.0, 1.1]))
    assert found.higher_low < found.higher < found.higher_high
    assert np.isnan(sooner(quick[None], slow[None], np.arange(5.0), rng=rng).fewer_low)
    with pytest.raises(InputError, match="the same runs"):
        sooner(level * quick, quick[None], np.arange(5.0), rng=rng)


def test_command_learns_by_every_scheme_and_draws_it(tmp_path):
    figure = tmp_path / "found.svg"
    asked = ["--convergence", "--clients", "10", "--rounds", "2", "--seeds", "2"]
    asked += ["--load", "10", "--figure", str(figure), "--json", "-"]
    result = CliRunner().invoke(command, asked, catch_exceptions=False)
    found = json.loads(result.stdout)
    curves = {one["scheme"]: np.array(one["performances"]) for one in found["curves"]}
    assert list(curves) == ["federated", "independent", "central", "private"]
    for one in found["curves"]:
        assert np.shape(one["performances"]) == (2, 3)
        assert 0.0 <= one["to_final"]["steps"] <= 2.0
        assert (one["epsilon"] is not None) == (one["scheme"] == "private")
    # All start alike, and part company when they have learned something.
    starts = {tuple(table[:, 0]) for table in curves.values()}
    assert len(starts) == 1
    assert len({table.tobytes() for table in curves.values()}) == 4
    assert all(table.min() > 0.0 and table.max() <= 100.0 for table in curves.values())
    assert [one["against"] for one in found["beside"]] == ["independent", "central", "private"]
    assert figure.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    "more", [["--poison", "0.1"], ["--audit"], ["--task", "forecast"], ["--aggregator", "none"]]
)
def test_command_refuses_what_convergence_does_not_use(more):
    with pytest.raises(InputError, match="--convergence compares its own schemes"):
        CliRunner().invoke(
            command, ["--convergence", *more], catch_exceptions=False, standalone_mode=False
        )

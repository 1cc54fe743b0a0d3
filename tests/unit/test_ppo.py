"""PPO on stacked agents: each check is one that a wrong implementation fails."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rollouts import C, F, acted, disturbed, experience

from controller.adam import Adam
from controller.policy import Actor, from_parameters, initial_actor, parameters
from controller.ppo import Learner, PPOConfig, Rollout
from quantum.errors import InputError


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def one_node(rollout: Rollout, node: int) -> Rollout:
    parts = {name: getattr(rollout, name)[node : node + 1] for name in vars(rollout)}
    return Rollout(**parts)


def test_first_minibatch_sees_the_acting_policy() -> None:
    """Ratio 1 and nothing clipped: kernels and learner agree on every log-probability."""
    learner = Learner(4, F, seed=1, config=PPOConfig(temperature=0.7))
    learner.load_actor(disturbed(4))
    metrics = learner.update(experience(learner.actor(), t=0.7))
    assert metrics.first_ratio_error < 1e-12
    assert metrics.first_clip_fraction == 0.0
    assert metrics.approximate_kl > 0.0


def test_a_stale_actor_is_seen_in_the_first_minibatch() -> None:
    learner = Learner(4, F, seed=1)
    rollout = experience(disturbed(4))
    assert learner.update(rollout).first_ratio_error > 1e-3


def test_stacked_nodes_are_separate_nodes() -> None:
    """Three updates of 5 stacked nodes equal those of 5 learners of one node each."""
    actor = disturbed(5)
    stacked = Learner(5, F, seed=3)
    stacked.load_actor(actor)
    alone = [Learner(1, F, seed=3) for _ in range(5)]
    for n, learner in enumerate(alone):
        learner.load_actor(Actor(*(part[n : n + 1] for part in actor)))
    for round_ in range(3):
        rollout = experience(stacked.actor(), seed=round_)
        if round_ == 1:
            rollout.valid[0] = False  # one node has nothing to learn from and must not drift
            rollout.valid[1, 2:] = False  # another has fewer decisions than minibatches
        stacked.update(rollout)
        for n, learner in enumerate(alone):
            learner.update(one_node(rollout, n))
    together = stacked.state()
    for n, learner in enumerate(alone):
        state = learner.state()
        np.testing.assert_allclose(together["parameters"][n], state["parameters"][0], atol=1e-9)
        assert together["adam.steps"][n] == state["adam.steps"][0]


def test_a_node_without_decisions_stays_as_it_is() -> None:
    learner = Learner(3, F)
    learner.update(experience(learner.actor()))
    before = learner.state()
    rollout = experience(learner.actor(), seed=5)
    rollout.valid[1] = False
    learner.update(rollout)
    after = learner.state()
    assert np.array_equal(before["parameters"][1], after["parameters"][1])
    assert not np.array_equal(before["parameters"][0], after["parameters"][0])


def test_padding_has_no_effect() -> None:
    """Padded steps full of garbage, before and behind, change nothing but the order of sums.

    Which depends on the size of a batch and on the processor.
    """
    actor = disturbed(3)
    plain = experience(actor, steps=20)
    wide = {}
    for name, part in vars(plain).items():
        if name.startswith("last"):
            wide[name] = part
            continue
        garbage = {"f": np.nan, "b": True, "i": 77}[part.dtype.kind]
        pad = np.full((3, 4, *part.shape[2:]), garbage, dtype=part.dtype)
        wide[name] = np.concatenate([pad, part, pad], axis=1)
    wide["valid"][:, :4] = wide["valid"][:, -4:] = False
    a, b = Learner(3, F), Learner(3, F)
    for learner, rollout in ((a, plain), (b, Rollout(**wide))):
        learner.load_actor(actor)
        learner.update(rollout)
    np.testing.assert_allclose(
        a.state()["parameters"], b.state()["parameters"], rtol=0.0, atol=1e-12
    )


def test_masked_candidates_have_no_gradient() -> None:
    """What stands in a masked candidate, NaN included, changes not one bit."""
    plain = experience(disturbed(3))
    garbage = replace(
        plain,
        features=np.where(plain.mask[..., None], plain.features, np.nan),
        base=np.where(plain.mask, plain.base, np.inf),
        last_features=np.where(plain.last_mask[..., None], plain.last_features, -np.inf),
    )
    a, b = Learner(3, F), Learner(3, F)
    a.update(plain)
    b.update(garbage)
    assert np.array_equal(a.state()["parameters"], b.state()["parameters"])


def test_a_cut_bootstraps_and_an_end_does_not() -> None:
    """The last view matters only where the rollout was cut."""
    config = PPOConfig(epochs=1, minibatches=1)
    for terminated in (False, True):
        states = []
        for shift in (0.0, 1.0):
            learner = Learner(1, F, config=config)
            rollout = experience(learner.actor(), steps=6)
            rollout.valid[:] = True
            rollout.terminated[:] = False
            rollout.terminated[:, -1] = terminated
            rollout.last_features[:] += shift
            learner.update(rollout)
            states.append(learner.state()["parameters"])
        assert np.array_equal(*states) == terminated


def test_same_seed_same_bytes_and_the_seed_matters() -> None:
    rollout = experience(disturbed(3))
    states = []
    for seed in (4, 4, 5):
        learner = Learner(3, F, seed=seed)
        learner.load_actor(disturbed(3))
        learner.update(rollout)
        states.append(learner.state()["parameters"].tobytes())
    assert states[0] == states[1] != states[2]


def test_learning_resumes_where_it_stopped() -> None:
    whole, first, second = (Learner(3, F, seed=s) for s in (1, 1, 8))
    for learner in (whole, first):
        learner.update(experience(initial_actor(3, F, seed=1)))
    second.load_state(first.state())
    for learner in (whole, second):
        learner.update(experience(whole.actor() if learner is whole else second.actor(), seed=2))
    for name, part in whole.state().items():
        assert np.array_equal(part, second.state()[name]), name


def test_a_federated_round_keeps_the_moments() -> None:
    learner = Learner(3, F)
    learner.update(experience(learner.actor()))
    before = learner.state()
    mean = np.tile(parameters(learner.actor()).mean(axis=0), (3, 1))
    learner.load_actor(from_parameters(mean, F, 8))
    after = learner.state()
    assert np.array_equal(parameters(learner.actor()), mean)
    assert np.array_equal(before["adam.mean"], after["adam.mean"])
    critic = parameters(learner.actor()).shape[1]
    assert np.array_equal(before["parameters"][:, critic:], after["parameters"][:, critic:])


def bandit(*, shuffle: bool) -> tuple[float, float]:
    """Reward the candidate marked by feature 0; return its probability before and after."""
    nodes, steps = 4, 128
    config = PPOConfig(learning_rate=3e-3, leash_coefficient=0.0, entropy_coefficient=0.0)
    learner = Learner(nodes, F, config=config, seed=2)
    rng = np.random.default_rng(7)
    x = np.zeros((nodes, steps, C, F))
    x[..., range(C), range(C)] = 1.0
    yes = np.ones((nodes, steps), dtype=bool)
    history = []
    for round_ in range(16):
        rollout = Rollout(
            features=x,
            mask=np.ones((nodes, steps, C), dtype=bool),
            base=np.zeros((nodes, steps, C)),
            action=np.zeros((nodes, steps), dtype=np.int64),
            log_probability=np.zeros((nodes, steps)),
            reward=np.zeros((nodes, steps)),
            discount=np.zeros((nodes, steps)),
            terminated=yes,
            valid=yes,
            last_features=x[:, 0],
            last_mask=yes[:, :C],
        )
        rollout = acted(learner.actor(), rollout, 1.0, round_)
        reward = (rollout.action == 0).astype(np.float64)
        history.append(float(reward.mean()))
        learner.update(replace(rollout, reward=rng.permuted(reward, axis=1) if shuffle else reward))
    return history[0], history[-1]


def test_reward_moves_the_policy_and_shuffled_reward_does_not() -> None:
    start, end = bandit(shuffle=False)
    assert start < 0.35  # one of four candidates
    assert end > 0.8
    assert bandit(shuffle=True)[1] < 0.45


def test_the_leash_holds_the_policy_at_the_heuristic() -> None:
    distances = []
    for leash in (0.0, 100.0):
        learner = Learner(3, F, config=PPOConfig(leash_coefficient=leash, learning_rate=1e-2))
        for round_ in range(5):
            metrics = learner.update(experience(learner.actor(), seed=round_))
        distances.append(metrics.kl_to_base)
    assert distances[1] < 0.3 * distances[0]


def test_gradient_norm_is_clipped_per_node() -> None:
    """A node with huge rewards does not shrink the step of another."""
    calm = experience(disturbed(2))
    wild = replace(calm, reward=calm.reward * np.array([[1.0], [1e6]]))
    a, b = Learner(2, F), Learner(2, F)
    a.update(calm)
    b.update(wild)
    one, two = a.state()["parameters"], b.state()["parameters"]
    assert np.array_equal(one[0], two[0])
    assert np.all(np.isfinite(two[1])) and not np.array_equal(one[1], two[1])


def test_adam_is_the_library_adam_when_all_rows_are_active() -> None:
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(3, 7)))
    mine, theirs = start.clone(), start.clone().requires_grad_()
    ours = Adam(mine, learning_rate=0.01, epsilon=1e-5)
    reference = torch.optim.Adam([theirs], lr=0.01, eps=1e-5)
    for _ in range(20):
        gradient = torch.from_numpy(rng.normal(size=(3, 7)))
        ours.step(gradient, torch.ones(3, dtype=torch.bool))
        theirs.grad = gradient.clone()
        reference.step()
    np.testing.assert_allclose(mine.numpy(), theirs.detach().numpy(), atol=1e-13)


def test_an_empty_rollout_changes_nothing() -> None:
    learner = Learner(2, F)
    before = learner.state()["parameters"]
    for steps in (0, 3):
        rollout = experience(learner.actor(), steps=max(steps, 1))
        parts = {k: v if k.startswith("last") else v[:, :steps] for k, v in vars(rollout).items()}
        parts["valid"] = np.zeros((2, steps), dtype=bool)
        assert learner.update(Rollout(**parts)).decisions == 0
    assert np.array_equal(before, learner.state()["parameters"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reward", np.nan, "rollout.reward must be finite"),
        ("features", np.inf, "rollout.features must be finite"),
        ("discount", 1.5, "rollout.discount"),
        ("action", C, "rollout.action"),
        ("log_probability", np.nan, "rollout.log_probability"),
    ],
)
def test_bad_rollouts_are_refused(name: str, value: float, message: str) -> None:
    rollout = experience(disturbed(2))
    part = getattr(rollout, name).copy()
    part[np.nonzero(rollout.valid)] = value
    with pytest.raises(InputError, match=message):
        replace(rollout, **{name: part})


def test_a_masked_action_is_refused() -> None:
    rollout = experience(disturbed(2))
    mask = np.zeros_like(rollout.mask)
    with pytest.raises(InputError, match="not masked"):
        replace(rollout, mask=mask)


def test_bad_states_and_settings_are_refused() -> None:
    learner = Learner(2, F)
    with pytest.raises(InputError, match="features"):
        learner.update(experience(disturbed(3)))
    state = learner.state()
    with pytest.raises(InputError, match="parameters"):
        Learner(3, F).load_state(state)
    with pytest.raises(InputError, match=r"mean is missing"):
        learner.load_state({k: v for k, v in state.items() if k != "adam.mean"})
    with pytest.raises(InputError, match="clip"):
        PPOConfig(clip=0.0)
    with pytest.raises(InputError, match="learning_rate"):
        PPOConfig(learning_rate=float("nan"))
    with pytest.raises(InputError, match="epochs"):
        PPOConfig(epochs=0)


@pytest.mark.parametrize(("shift", "moves"), [(1.0, False), (-1.0, True)])
def test_the_clip_stops_what_has_gone_far_enough_and_nothing_else(
    shift: float, moves: bool
) -> None:
    """A choice that paid and is e times likelier than it was gives no push; the reverse does."""
    config = PPOConfig(epochs=1, minibatches=1, entropy_coefficient=0.0, leash_coefficient=0.0)
    learner = Learner(1, F, config=config)
    rollout = experience(learner.actor(), steps=8)
    rollout.valid[:] = True
    rollout = acted(learner.actor(), rollout, 1.0, seed=1)
    rollout.discount[:] = 0.0
    paid = np.where(np.arange(8) % 2 == 0, 1.0, -1.0)[None]
    rollout.reward[:] = 1000.0 * paid
    rollout.log_probability[:] -= shift * paid
    before = learner.actor()
    metrics = learner.update(rollout)
    assert metrics.first_clip_fraction == 1.0
    assert np.array_equal(before.w2, learner.actor().w2) != moves

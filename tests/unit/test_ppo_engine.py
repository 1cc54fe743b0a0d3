"""The algorithm on plain networks, and what all networks share: the leash and the pace."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rollouts import C, F, acted, disturbed, experience

from controller.adam import Adam
from controller.candidate_network import CandidateNetwork, pool, pool_by_tensors
from controller.mlp import Experience, MLPLearner, MLPNetwork
from controller.policy import Actor, initial_actor, parameters
from controller.ppo import Learner, PPOConfig
from controller.ppo_bench.looped import Loop
from quantum.errors import InputError

D, A = 6, 5


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def learner_of(agents: int, *, seed: int = 0, **settings: object) -> MLPLearner:
    config = PPOConfig(**{"normalise_minibatches": True, "leash_coefficient": 0.0} | settings)  # type: ignore[arg-type]
    return MLPLearner(MLPNetwork(agents, D, A, 16, seed=seed), seed=seed, config=config)


def drawn(learner: MLPLearner, *, copies: int = 3, length: int = 16, seed: int = 0) -> Experience:
    """Return random experience with ends, cuts and masks, acted by the learner."""
    rng = np.random.default_rng(seed)
    shape = (learner.network.agents, copies, length)
    observation = rng.normal(size=(*shape, D)).astype(np.float32)
    mask = rng.random((*shape, A)) < 0.6
    mask[..., 0] = True
    flat = (shape[0], copies * length)
    action, log_p = learner.act(observation.reshape(*flat, D), mask.reshape(*flat, A), rng)
    return Experience(
        observation=observation,
        mask=mask,
        action=action.reshape(shape),
        log_probability=log_p.reshape(shape),
        reward=rng.normal(size=shape),
        terminated=rng.random(shape) < 0.1,
        truncated=rng.random(shape) < 0.1,
        final=rng.normal(size=(*shape, D)).astype(np.float32),
        last=rng.normal(size=(*shape[:2], D)).astype(np.float32),
    )


def test_stacked_agents_are_a_loop_of_modules() -> None:
    """Weights after 48 steps agree to 1e-6 with modules that share no code with the engine."""
    learner = learner_of(4)
    loop = Loop(learner.network, learner.config, seed=0)
    np.testing.assert_array_equal(loop.parameters(), learner.network.flat.numpy())
    start = loop.parameters()
    for round_ in range(3):
        seen = drawn(learner, seed=round_)
        learner.update(seen)
        loop.update(seen)
    assert np.abs(learner.network.flat.numpy() - start).max() > 1e-3
    np.testing.assert_allclose(learner.network.flat.numpy(), loop.parameters(), atol=1e-6, rtol=0)


def test_the_first_minibatch_sees_the_acting_policy() -> None:
    learner = learner_of(3)
    for round_ in range(3):
        metrics = learner.update(drawn(learner, seed=round_))
        assert metrics.first_ratio_error < 1e-5  # float32
        assert metrics.first_clip_fraction == 0.0
        assert metrics.kl_to_base == 0.0  # no anchor


def test_masked_actions_are_never_taken_and_push_nothing() -> None:
    learner = learner_of(2)
    network = learner.network
    observation = np.random.default_rng(0).normal(size=(2, 500, D)).astype(np.float32)
    mask = np.zeros((2, 500, A), dtype=bool)
    mask[..., [1, 3]] = True
    action, log_p = learner.act(observation, mask, np.random.default_rng(1))
    assert set(np.unique(action)) == {1, 3}
    logits = network.logits(torch.from_numpy(observation), torch.from_numpy(mask))
    chance = torch.softmax(logits, dim=-1)
    assert not chance[..., [0, 2, 4]].detach().any()
    entropy = -(chance * torch.log_softmax(logits, -1)).sum()
    (gradient,) = torch.autograd.grad(entropy, [network.leaves[4]])
    assert not gradient[..., [0, 2, 4]].any()
    assert gradient[..., [1, 3]].any()
    assert np.all(log_p < 0.0)
    seen = drawn(learner)
    with pytest.raises(InputError, match=r"experience\.action"):
        replace(seen, mask=np.zeros_like(seen.mask))


@pytest.mark.parametrize("end", ["terminated", "truncated", "last"])
def test_cuts_bootstrap_and_ends_do_not(end: str) -> None:
    """What was seen after an episode matters where it was cut, and only there."""
    weights = []
    for shift in (0.0, 1.0):
        learner = learner_of(1, epochs=1, minibatches=1, normalise_minibatches=False)
        seen = drawn(learner, copies=1, length=8)
        seen.terminated[:], seen.truncated[:] = end == "terminated", end == "truncated"
        seen.final[:] += shift
        if end != "last":
            seen.last[:] += shift
        learner.update(seen)
        weights.append(learner.network.flat.numpy().copy())
    assert np.array_equal(*weights) == (end != "truncated")


def test_an_episode_after_a_cut_is_another_one() -> None:
    """Rewards behind a cut do not reach the step before it."""
    weights = []
    for reward in (0.0, 9.0):
        learner = learner_of(1, epochs=1, minibatches=1, value_coefficient=0.0)
        seen = drawn(learner, copies=1, length=8)
        seen.terminated[:], seen.truncated[:] = False, False
        seen.truncated[..., 4] = True
        seen.reward[..., 5:] = reward
        steps, _ = learner._prepare(seen)
        weights.append(steps.returns.numpy()[0, :5].copy())
    assert np.array_equal(*weights)


def test_same_seed_same_bytes_and_a_saved_state_goes_on() -> None:
    first, second, third = learner_of(2), learner_of(2), learner_of(2, seed=4)
    for learner in (first, second):
        learner.update(drawn(learner, seed=1))
    third.load_state(first.state())
    for learner in (first, second, third):
        learner.update(drawn(learner, seed=2))
    for name, part in first.state().items():
        assert np.array_equal(part, second.state()[name]), name
        assert np.array_equal(part, third.state()[name]), name


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_fused_step_is_the_step_in_tensors(kind: torch.dtype) -> None:
    """The one pass on the processor does what the tensors of other devices do."""
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(3, 50))).to(kind)
    one, other = start.clone(), start.clone()
    fused, plain = Adam(one, learning_rate=0.01), Adam(other, learning_rate=0.01)
    plain._fused = False
    for _ in range(10):
        gradient = torch.from_numpy(rng.normal(size=(3, 50))).to(kind)
        active = torch.tensor([True, bool(rng.random() < 0.5), True])
        pace = torch.tensor([[1.0], [2.0], [0.5]], dtype=kind)
        fused.step(gradient, active, scale=pace)
        plain.step(gradient, active, scale=pace)
    np.testing.assert_allclose(
        one.numpy(), other.numpy(), rtol=1e-5 if kind == torch.float32 else 1e-13
    )


def test_an_anchor_of_its_own_holds_the_policy() -> None:
    """The leash pulls to the anchor that was set, not to the heuristic."""
    anchor = disturbed(3, seed=5)
    ends = {}
    for name, leash in (("free", 0.0), ("held", 30.0)):
        config = PPOConfig(leash_coefficient=leash, learning_rate=1e-2, entropy_coefficient=0.0)
        learner = Learner(3, F, config=config, seed=1)
        learner.load_actor(anchor)
        learner.set_anchor(anchor)
        metrics = [learner.update(experience(learner.actor(), seed=s)) for s in range(5)]
        assert learner.set_anchor(None) is None
        far = learner.update(experience(learner.actor(), seed=9)).kl_to_base
        ends[name] = (metrics[-1].kl_to_base, far)
    assert ends["held"][0] < 0.3 * ends["free"][0]
    assert ends["held"][1] > 10.0 * ends["held"][0]  # from the heuristic it is as far as the anchor


def test_the_divergence_from_an_anchor_is_that_of_the_two_policies() -> None:
    """At the anchor it is zero; the heuristic as an anchor is the default."""
    actor = disturbed(2)
    learner = Learner(2, F, config=PPOConfig(epochs=1, minibatches=1))
    learner.load_actor(actor)
    learner.set_anchor(Actor(*(part.copy() for part in actor)))
    assert learner.update(experience(actor)).kl_to_base == pytest.approx(0.0, abs=1e-12)
    one, other = Learner(2, F), Learner(2, F)
    other.set_anchor(initial_actor(1, F))  # of one node: for all
    for each in (one, other):
        each.load_actor(actor)
        each.update(experience(actor))
    assert np.array_equal(one.state()["parameters"], other.state()["parameters"])
    with pytest.raises(InputError, match="anchor must be of 1 or 2 nodes, got 3"):
        other.set_anchor(disturbed(3))


def test_an_anchor_is_part_of_the_state() -> None:
    first, second = Learner(2, F, seed=1), Learner(2, F, seed=2)
    first.set_anchor(disturbed(2))
    second.load_state(first.state())
    for learner in (first, second):
        learner.update(experience(initial_actor(2, F, seed=1)))
    assert np.array_equal(first.state()["parameters"], second.state()["parameters"])
    second.load_state(Learner(2, F).state())
    assert "anchor" not in second.state()


@pytest.mark.parametrize("rate", [1e-4, 3e-1])
def test_every_node_finds_the_rate_of_its_divergence(rate: float) -> None:
    """A rate that is far too small grows, one that is far too large falls, node by node."""
    target = 0.01
    config = PPOConfig(learning_rate=rate, kl_target=target, entropy_coefficient=0.0)
    learner = Learner(3, F, config=config, seed=1)
    learner.load_actor(disturbed(3))
    assert np.array_equal(learner.rates, [rate] * 3)
    history = [learner.update(experience(learner.actor(), steps=120, seed=s)) for s in range(12)]
    late = float(np.mean([m.last_kl for m in history[-4:]]))
    if rate > 1e-2:
        assert history[0].last_kl > 4.0 * target
        assert late < 2.5 * target
        assert np.all(learner.rates < rate / 4.0)
    else:
        assert history[0].last_kl < 0.1 * target
        assert np.all(learner.rates > 4.0 * rate)
        assert np.all(learner.rates <= 10.0 * rate)
    assert history[-1].learning_rate == pytest.approx(learner.rates.mean())


def test_a_changed_network_slows_only_the_nodes_that_it_moves_too_far() -> None:
    """One node's links fail and its world becomes another one; it brakes, the others do not."""
    config = PPOConfig(learning_rate=2e-3, kl_target=0.01, entropy_coefficient=0.0)
    learner = Learner(2, F, config=config, seed=1)
    learner.load_actor(disturbed(2))

    def play(seed: int, *, changed: bool) -> float:
        rollout = experience(learner.actor(), steps=200, seed=seed)
        rollout.reward[:] = 0.0
        if changed:
            rollout.mask[1, :, 1:-1] = False
            rollout.features[1, ..., 0] = 3.0 * (np.arange(C) == C - 1)
            rollout = acted(learner.actor(), rollout, 1.0, seed)
            rollout.reward[1] = np.where(rollout.action[1] == C - 1, 1.0, -1.0)
        return learner.update(rollout).last_kl

    for seed in range(8):
        play(seed, changed=False)
    calm = learner.rates
    assert np.all(calm > 2e-3)  # nothing happened, so they became bold
    history = [play(seed, changed=True) for seed in range(8, 12)]
    assert learner.rates[1] < calm[1]
    assert learner.rates[0] >= calm[0]
    assert history[-1] < history[0]


def test_a_pace_is_kept_in_the_state_and_off_by_default() -> None:
    learner = Learner(2, F, config=PPOConfig(kl_target=1e-6))
    learner.update(experience(disturbed(2)))
    assert np.all(learner.rates < 1e-3)
    other = Learner(2, F, config=learner.config)
    other.load_state(learner.state())
    assert np.array_equal(other.rates, learner.rates)
    still = Learner(2, F)
    still.update(experience(disturbed(2)))
    assert np.array_equal(still.rates, [1e-3] * 2)
    with pytest.raises(InputError, match=r"ppo\.kl_target"):
        PPOConfig(kl_target=-1.0)
    with pytest.raises(InputError, match="pace is missing"):
        other.load_state({k: v for k, v in learner.state().items() if k != "pace"})


def test_gradients_of_one_agent_do_not_shrink_those_of_another() -> None:
    calm_learner, wild_learner = learner_of(2), learner_of(2)
    seen = drawn(calm_learner)
    calm_learner.update(seen)
    wild_learner.update(replace(seen, reward=seen.reward * np.array([1.0, 1e6])[:, None, None]))
    one, other = calm_learner.network.flat.numpy(), wild_learner.network.flat.numpy()
    assert np.array_equal(one[0], other[0])
    assert not np.array_equal(one[1], other[1])
    assert np.all(np.isfinite(other))


def test_kernels_and_tensors_agree_on_values_and_gradients() -> None:
    """The hand-written passes against autograd; padding and what is masked have no part in it."""
    rollout = experience(disturbed(3), steps=12)
    mask = rollout.mask & rollout.valid[..., None]
    mask[..., -1] |= ~rollout.valid
    parts = [np.where(mask[..., None], rollout.features, 0.0), mask, rollout.base]
    features, seen, base = (torch.from_numpy(part) for part in parts)
    seen[0, 0] = False  # nothing to pool
    np.testing.assert_allclose(pool(features, seen), pool_by_tensors(features, seen), rtol=1e-14)
    seen[0, 0, -1] = True
    inputs = (features, seen, base, pool(features, seen))
    network = CandidateNetwork(3, F, 8, 16, seed=4, device=torch.device("cpu"))
    network.flat += 0.3 * torch.randn(network.flat.shape, generator=torch.manual_seed(0))
    index = torch.from_numpy(np.random.default_rng(0).integers(0, 12, (3, 7)))
    inside = torch.ones(3, 7, dtype=torch.bool)
    inside[1, 4:] = False
    found = []
    for logits, value in (
        network.evaluate(inputs, index, inside),
        network.by_tensors(inputs, index),
    ):
        log_p = torch.log_softmax(logits, dim=-1)
        total = ((log_p * log_p.exp()).sum(-1) + log_p[..., -1] + value.square()) * inside
        gradients = torch.autograd.grad(total.sum(), network.leaves)
        kept = [part.detach()[inside] for part in (logits, value)]
        found.append([part.numpy() for part in (*kept, *gradients)])
    assert all(np.abs(part).max() > 1e-3 for part in found[0])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_weights_of_agents_differ_from_the_start() -> None:
    rows = MLPNetwork(3, D, A, 16, seed=0).flat.numpy()
    assert not np.array_equal(rows[0], rows[1])
    assert parameters(initial_actor(2, F)).shape == (2, F * 8 + 16)
    with pytest.raises(InputError, match=r"mlp\.hidden"):
        MLPNetwork(1, D, A, 0, seed=0)

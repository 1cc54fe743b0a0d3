"""The acting kernels: a residual that starts at the heuristic and knows no node numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.policy import (
    Actor,
    from_parameters,
    initial_actor,
    logits,
    orthogonal,
    parameters,
    pick,
)
from quantum.errors import InputError

Floats = NDArray[np.float64]


def trained(nodes: int, seed: int = 3) -> Actor:
    """Return an actor whose residual is not zero and differs between nodes."""
    start = initial_actor(nodes, 12, 8, seed=seed)
    rng = np.random.default_rng(seed)
    return Actor(*(part + rng.normal(0.0, 0.5, part.shape) for part in start))


def scores(actor: Actor, node: int, x: Floats, mask: NDArray[np.bool_], base: Floats) -> Floats:
    out = np.full(len(base), np.nan)
    logits(actor.w1, actor.b1, actor.w2, node, x, mask, base, 2.0, out)
    return out


def scene(seed: int, candidates: int = 7) -> tuple[Floats, NDArray[np.bool_], Floats]:
    rng = np.random.default_rng(seed)
    mask = rng.random(candidates) < 0.7
    mask[-1] = True
    return rng.normal(size=(candidates, 12)), mask, rng.normal(size=candidates)


def test_fresh_policy_is_the_heuristic() -> None:
    x, mask, base = scene(0)
    out = scores(initial_actor(2, 12, seed=1), 1, x, mask, base)
    assert np.array_equal(out[mask], base[mask] / 2.0)
    assert np.all(out[~mask] == -np.inf)


def test_matches_the_formula() -> None:
    actor = trained(3)
    x, mask, base = scene(1)
    want = base / 2.0 + np.tanh(x @ actor.w1[2] + actor.b1[2]) @ actor.w2[2]
    np.testing.assert_allclose(scores(actor, 2, x, mask, base)[mask], want[mask], rtol=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_permuting_candidates_permutes_logits(seed: int) -> None:
    actor = trained(2)
    x, mask, base = scene(seed)
    order = np.random.default_rng(seed).permutation(len(base))
    direct = scores(actor, 0, x, mask, base)[order]
    assert np.array_equal(direct, scores(actor, 0, x[order], mask[order], base[order]))


@given(st.integers(0, 10_000), st.integers(1, 9), st.floats(-1.0, 0.999))
@settings(max_examples=50, deadline=None)
def test_padding_changes_nothing(seed: int, extra: int, u: float) -> None:
    actor = trained(2)
    x, mask, base = scene(seed)
    wide_x = np.concatenate([x, np.full((extra, 12), np.nan)])
    wide_mask = np.concatenate([mask, np.zeros(extra, dtype=np.bool_)])
    wide_base = np.concatenate([base, np.full(extra, np.nan)])
    plain, wide = scores(actor, 1, x, mask, base), scores(actor, 1, wide_x, wide_mask, wide_base)
    assert np.array_equal(plain, wide[: len(base)])
    assert pick(plain, mask, u) == pick(wide, wide_mask, u)


def test_a_node_decides_the_same_alone_and_among_others() -> None:
    actor = trained(5)
    x, mask, base = scene(4)
    alone = Actor(*(part[3:4].copy() for part in actor))
    among = scores(actor, 3, x, mask, base)
    assert np.array_equal(among, scores(alone, 0, x, mask, base))


def test_weights_of_one_network_fit_any_degree() -> None:
    actor = trained(1)
    for candidates in (1, 2, 40):
        out = scores(actor, 0, *scene(candidates, candidates))
        assert np.isfinite(out[-1])


@given(st.integers(0, 10_000), st.floats(0.0, 1.0, exclude_max=True))
@settings(max_examples=200, deadline=None)
def test_pick_inverts_the_cumulative_distribution(seed: int, u: float) -> None:
    _, mask, out = scene(seed)
    index, log_p = pick(out, mask, u)
    p = np.where(mask, np.exp(out), 0.0)
    p /= p.sum()
    cumulative = np.cumsum(p)
    assert mask[index]
    assert cumulative[index] > u - 1e-12
    assert cumulative[index] - p[index] <= u + 1e-12
    assert log_p == pytest.approx(np.log(p[index]), abs=1e-12)


def test_masked_candidates_are_never_picked_nor_counted() -> None:
    out = np.array([5.0, 0.0, -np.inf, 0.0])
    mask = np.array([False, True, True, True])
    drawn = [pick(out, mask, u) for u in np.linspace(0.0, 0.999999, 101)]
    assert {index for index, _ in drawn} == {1, 3}
    assert all(log_p == pytest.approx(np.log(0.5)) for _, log_p in drawn)


def test_greedy_takes_the_first_of_equals() -> None:
    mask = np.array([True, True, True])
    index, log_p = pick(np.array([1.0, 2.0, 2.0]), mask, -1.0)
    assert index == 1
    assert log_p == pytest.approx(-np.log(2.0 + np.exp(-1.0)))


def test_nothing_to_choose_is_said() -> None:
    assert pick(np.zeros(2), np.zeros(2, dtype=np.bool_), 0.5) == (-1, 0.0)


def test_huge_scores_do_not_overflow() -> None:
    index, log_p = pick(np.array([1e6, -1e6]), np.array([True, True]), 0.999)
    assert (index, log_p) == (0, 0.0)


def test_flat_parameters_round_trip() -> None:
    actor = trained(4)
    flat = parameters(actor)
    assert flat.shape == (4, 12 * 8 + 16)
    again = from_parameters(flat, 12, 8)
    assert all(np.array_equal(a, b) for a, b in zip(actor, again, strict=True))


@pytest.mark.parametrize(
    ("flat", "message"),
    [(np.zeros((2, 5)), "shape"), (np.full((2, 112), np.nan), "finite")],
)
def test_bad_parameters_are_refused(flat: Floats, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_parameters(flat, 12, 8)


def test_start_is_keyed_and_orthogonal() -> None:
    one, same, other = (initial_actor(2, 12, 8, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.w1, same.w1)
    assert not np.array_equal(one.w1, other.w1)
    np.testing.assert_allclose(one.w1[0].T @ one.w1[0], 2.0 * np.eye(8), atol=1e-12)
    wide = orthogonal(np.random.default_rng(0), 3, 8, 1.0)
    np.testing.assert_allclose(wide @ wide.T, np.eye(3), atol=1e-12)
    with pytest.raises(InputError, match="hidden"):
        initial_actor(2, 12, 0)

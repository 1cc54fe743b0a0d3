"""Aggregation: what one client can change is bounded, and what is broken does no harm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from controller import federated
from quantum.errors import InputError

updates = arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    elements=st.floats(allow_nan=True, allow_infinity=True, width=64),
)


@given(updates, st.floats(1e-3, 1e3))
@settings(max_examples=200, deadline=None)
def test_no_update_is_longer_than_the_clip(deltas: np.ndarray, norm: float) -> None:
    clipped = federated.clip(deltas, norm)
    assert np.all(np.linalg.norm(clipped, axis=1) <= norm * (1.0 + 1e-12))


def test_short_updates_are_left_alone() -> None:
    deltas = np.array([[0.3, 0.4], [0.0, 0.0]])
    assert np.array_equal(federated.clip(deltas, 1.0), deltas)


def noiseless(current: np.ndarray, deltas: np.ndarray, clients: float) -> np.ndarray:
    return federated.aggregate(
        current,
        deltas,
        clip_norm=10.0,
        noise_multiplier=0.0,
        expected_clients=clients,
        rng=np.random.default_rng(0),
    )


def test_without_noise_it_is_the_mean_over_the_expected_clients() -> None:
    current, deltas = np.array([1.0, 2.0]), np.array([[1.0, 0.0], [3.0, 2.0]])
    np.testing.assert_allclose(noiseless(current, deltas, 2.0), [3.0, 3.0])
    np.testing.assert_allclose(noiseless(current, deltas, 4.0), [2.0, 2.5])
    np.testing.assert_allclose(noiseless(current, deltas[:0], 4.0), current)


@given(st.integers(0, 1000), st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_one_client_moves_the_result_by_at_most_its_share(seed: int, who: int) -> None:
    """The sensitivity that the accountant assumes."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0.0, 100.0, (5, 3))
    all_ = noiseless(np.zeros(3), deltas, 5.0)
    without = noiseless(np.zeros(3), np.delete(deltas, who, axis=0), 5.0)
    assert np.linalg.norm(all_ - without) <= 10.0 / 5.0 * (1.0 + 1e-12)


def test_noise_has_the_size_that_is_accounted() -> None:
    """Its deviation is z * clip / expected; 200000 draws give its size to 0.2 %."""
    got = federated.aggregate(
        np.zeros(200_000),
        np.zeros((0, 200_000)),
        clip_norm=0.5,
        noise_multiplier=4.0,
        expected_clients=20.0,
        rng=federated.randomness(3, 0),
    )
    assert got.std() == pytest.approx(4.0 * 0.5 / 20.0, rel=0.01)
    sent = federated.privatise(
        np.zeros((4, 50_000)), clip_norm=0.5, noise_multiplier=4.0, rng=federated.randomness(3, 1)
    )
    assert sent.std() == pytest.approx(2.0, rel=0.01)


def test_noise_is_keyed_by_round_or_comes_from_the_system() -> None:
    draw = [federated.randomness(s, r).random() for s, r in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert draw[0] == draw[1]
    assert len(set(draw)) == 3
    assert federated.randomness(None, 0).random() != federated.randomness(None, 0).random()


def test_broken_updates_are_dropped_and_named() -> None:
    deltas = np.array([[1.0, 1.0], [np.nan, 1.0], [3.0, 3.0], [np.inf, 0.0]])
    assert federated.dropped(deltas).tolist() == [1, 3]
    np.testing.assert_allclose(noiseless(np.zeros(2), deltas, 4.0), [1.0, 1.0])
    got = federated.robust_aggregate(np.zeros(2), deltas, federated.median)
    np.testing.assert_allclose(got, [2.0, 2.0])
    nothing = federated.robust_aggregate(np.ones(2), deltas[1:2], federated.median)
    assert nothing.tolist() == [1.0, 1.0]


def test_participation_is_keyed_and_has_its_rate() -> None:
    first = federated.participants(1000, 0.3, seed=1, round_index=0)
    assert np.array_equal(first, federated.participants(1000, 0.3, seed=1, round_index=0))
    assert not np.array_equal(first, federated.participants(1000, 0.3, seed=1, round_index=1))
    # Binomial(1000, 0.3) has a deviation of 14.5; five of them.
    assert abs(len(first) - 300) < 73
    with pytest.raises(InputError, match="participation"):
        federated.participants(10, 0.0, seed=1, round_index=0)


@pytest.mark.parametrize("how", [federated.median, federated.trimmed_mean, federated.krum])
def test_robust_aggregators_withstand_one_liar(how: object) -> None:
    rng = np.random.default_rng(0)
    honest = 1.0 + 0.01 * rng.normal(size=(9, 4))
    deltas = np.concatenate([honest, np.full((1, 4), 1e6)])
    got = federated.robust_aggregate(np.zeros(4), deltas, how)
    np.testing.assert_allclose(got, 1.0, atol=0.05)
    assert abs(noiseless(np.zeros(4), deltas, 10.0)[0] - 1.0) > 0.05  # the mean does not


def test_krum_needs_enough_clients_and_returns_one_of_them() -> None:
    deltas = np.random.default_rng(1).normal(size=(7, 3))
    assert any(np.array_equal(federated.krum(deltas, 2), row) for row in deltas)
    with pytest.raises(InputError, match="at least 9"):
        federated.krum(deltas, 3)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="clip_norm"):
        federated.clip(np.zeros((1, 2)), float("nan"))
    with pytest.raises(InputError, match="shape"):
        noiseless(np.zeros(3), np.zeros((1, 2)), 1.0)
    with pytest.raises(InputError, match="expected_clients"):
        noiseless(np.zeros(2), np.zeros((1, 2)), 0.0)
    with pytest.raises(InputError, match="finite"):
        noiseless(np.array([np.nan, 0.0]), np.zeros((1, 2)), 1.0)
    with pytest.raises(InputError, match="noise_multiplier"):
        federated.privatise(
            np.zeros((1, 2)), clip_norm=1.0, noise_multiplier=-1.0, rng=np.random.default_rng(0)
        )
    with pytest.raises(InputError, match="trimmed"):
        federated.trimmed_mean(np.zeros((3, 1)), 0.5)

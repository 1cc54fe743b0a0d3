"""Draws by key: equal for equal keys, independent for different ones, uniform in all."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from quantum.draws import uniform, uniforms
from quantum.ledger.state import tokens_of
from quantum.seeding import generator, stream

KEYS = st.integers(0, 2**62)


@given(KEYS, KEYS, KEYS, KEYS)
def test_a_key_always_gives_the_same_draw(seed: int, a: int, b: int, c: int) -> None:
    name = stream("anything")
    first = uniform(seed, name, a, b, c)
    assert first == uniform(seed, name, a, b, c) == float(uniforms(seed, name, a, b, c))
    assert 0.0 <= first < 1.0


def test_neighbouring_keys_are_uniform_and_uncorrelated() -> None:
    n = 20_000
    for axis in range(4):
        key = [np.zeros(n, dtype=np.int64) for _ in range(4)]
        key[axis] = np.arange(n)
        draws = uniforms(key[0], stream("tokens"), key[1], key[2], key[3])
        # A fixed key, so this cannot flicker; 1e-3 would fail one honest generator in a thousand.
        assert kstest(draws, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / np.sqrt(n)


def test_streams_and_seeds_do_not_share_draws() -> None:
    n = 20_000
    index = np.arange(n)
    a = uniforms(1, stream("tokens"), index, 0, 0)
    for other in (
        uniforms(2, stream("tokens"), index, 0, 0),
        uniforms(1, stream("x"), index, 0, 0),
    ):
        assert abs(np.corrcoef(a, other)[0, 1]) < 4 / np.sqrt(n)


def test_tokens_are_poisson() -> None:
    # 10 tokens a second in 20 ms slots: mean and variance 0.2 each, five standard errors allowed.
    draws = np.array([tokens_of(0, node, slot, 0.2) for node in range(50) for slot in range(2000)])
    error = np.sqrt(0.2 / len(draws))
    assert abs(draws.mean() - 0.2) < 5 * error
    assert abs(draws.var() - 0.2) < 0.01
    assert tokens_of(0, 3, 4, 0.0) == 0


def test_generators_of_different_keys_differ() -> None:
    draws = {generator(7, "a", k).random() for k in range(100)} | {generator(8, "a").random()}
    assert len(draws) == 101

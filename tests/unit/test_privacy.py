"""The composed epsilon against published accountants and the closed form."""

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from controller.privacy import default_delta, epsilon, local_epsilon, noise_for
from quantum.errors import InputError

DELTA = 100**-1.1


def exact(noise_multiplier: float, delta: float, rounds: int) -> float:
    """Return the exact epsilon of composed Gaussians (Balle and Wang, ICML 2018, theorem 8)."""
    mu = math.sqrt(rounds) / noise_multiplier

    def excess(e: float) -> float:
        return float(norm.cdf(mu / 2 - e / mu) - math.exp(e) * norm.cdf(-mu / 2 - e / mu) - delta)

    return float(brentq(excess, 0.0, 500.0))


def test_known_values() -> None:
    """N = 100, all take part, z = 10, 50 rounds: measured with three accountants beforehand."""
    assert epsilon(10.0, DELTA, 50) == pytest.approx(1.591, abs=1e-3)
    assert epsilon(10.0, DELTA, 50, accountant="rdp") == pytest.approx(1.887, abs=1e-3)


def test_equals_the_closed_form_where_there_is_one() -> None:
    for noise_multiplier, rounds in ((1.0, 1), (5.0, 50), (20.0, 10)):
        got = epsilon(noise_multiplier, DELTA, rounds)
        assert got == pytest.approx(exact(noise_multiplier, DELTA, rounds), rel=2e-3)


def test_sampling_helps_and_the_cross_check_is_looser() -> None:
    """N = 100, 20 % take part, z = 1, 100 rounds: 8.722 by PLD, 10.327 by RDP."""
    sampled = epsilon(1.0, DELTA, 100, 0.2)
    assert sampled == pytest.approx(8.722, abs=5e-3)
    assert epsilon(1.0, DELTA, 100, 0.2, accountant="rdp") == pytest.approx(10.327, abs=5e-3)
    everyone = epsilon(1.0, DELTA, 100)
    assert sampled is not None and everyone is not None and sampled < everyone


def test_rounds_compose() -> None:
    values = [epsilon(5.0, DELTA, rounds) for rounds in (1, 10, 50)]
    assert values == sorted(values)
    assert len(set(values)) == 3
    assert epsilon(5.0, DELTA, 0) == 0.0


def test_no_noise_is_no_guarantee() -> None:
    assert epsilon(0.0, DELTA, 5) is None
    assert local_epsilon(0.0, DELTA, 5) is None


def test_local_privacy_counts_the_replacement_of_an_update() -> None:
    assert local_epsilon(20.0, DELTA, 50) == epsilon(10.0, DELTA, 50)


@pytest.mark.parametrize("target", [0.5, 2.0, 8.0])
def test_noise_for_a_target_meets_it_and_is_not_wasteful(target: float) -> None:
    z = noise_for(target, DELTA, 50)
    got, less = epsilon(z, DELTA, 50), epsilon(0.97 * z, DELTA, 50)
    assert got is not None and less is not None
    assert got <= target < less


def test_noise_for_sampled_rounds() -> None:
    z = noise_for(2.0, DELTA, 20, 0.2)
    got = epsilon(z, DELTA, 20, 0.2)
    assert got is not None and 1.9 < got <= 2.0


def test_bad_questions_are_refused() -> None:
    with pytest.raises(InputError, match="delta"):
        epsilon(1.0, 0.0, 5)
    with pytest.raises(InputError, match="rate"):
        epsilon(1.0, 0.1, 5, 1.5)
    with pytest.raises(InputError, match="noise_multiplier"):
        epsilon(float("nan"), 0.1, 5)
    with pytest.raises(InputError, match="epsilon"):
        noise_for(0.0, 0.1, 5)
    with pytest.raises(InputError, match="rounds"):
        noise_for(1.0, 0.1, 0)
    with pytest.raises(InputError, match="clients"):
        default_delta(1)

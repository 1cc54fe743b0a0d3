"""What federated noise is worth: a composed (epsilon, delta) over all rounds.

Adjacency: one node's clipped update added or removed, the number of nodes being public. The figure
reported is from privacy loss distributions (Koskela et al., arXiv:1906.03049), the tightest of the
accountants; Renyi (Mironov, arXiv:1702.07476) is there as a cross-check. Sampling (``rate`` < 1)
helps only if who took part is random, independent and secret, and only with a trusted aggregator.

The guarantee is about true randomness. Keyed noise is repeatable, and thus private only against
those who do not know the seed; outside simulation draw it from the operating system
(``controller.federated.randomness(None, ...)``).
"""

import math
from typing import Any, Literal

from quantum.errors import InputError

__all__ = ["default_delta", "epsilon", "local_epsilon", "noise_for"]

Accountant = Literal["pld", "rdp"]

#: Finest grid of the privacy loss.
_GRID = 1e-3


def default_delta(clients: int) -> float:
    """Return N ** -1.1, below the 1/N at which revealing one client outright would pass.

    >>> round(default_delta(100), 5)
    0.00631
    """
    if clients < 2:
        raise InputError(f"privacy.clients must be >= 2, got {clients}")
    return float(clients**-1.1)


def epsilon(
    noise_multiplier: float,
    delta: float,
    rounds: int,
    rate: float = 1.0,
    *,
    accountant: Accountant = "pld",
) -> float | None:
    """Return the composed epsilon of ``rounds`` rounds; None without noise (no guarantee).

    ``noise_multiplier`` is the noise of the sum over the largest change one client can make.

    >>> epsilon(0.0, 1e-3, 5) is None, epsilon(1.0, 1e-3, 0)
    (True, 0.0)
    """
    _check(delta, rounds, rate)
    if not 0.0 <= noise_multiplier < math.inf:
        raise InputError(f"privacy.noise_multiplier must be >= 0, got {noise_multiplier}")
    if rounds == 0:
        return 0.0
    if noise_multiplier == 0.0:
        return None
    if accountant == "pld":
        return _tight(noise_multiplier, delta, rounds, rate)
    if accountant == "rdp":
        return _renyi(noise_multiplier, delta, rounds, rate)
    raise InputError(f"privacy.accountant must be pld or rdp, got {accountant}")


def local_epsilon(noise_multiplier: float, delta: float, rounds: int) -> float | None:
    """Return the epsilon of one client's own updates, against everybody, the server included.

    The client adds ``noise_multiplier * clip_norm`` to each update itself. Any update may take the
    place of any other, which is up to twice the clipping norm away; sampling does not help,
    because the client's own messages are what is protected.
    """
    return epsilon(noise_multiplier / 2.0, delta, rounds)


def noise_for(target: float, delta: float, rounds: int, rate: float = 1.0) -> float:
    """Return the smallest noise multiplier (to 0.1 %) whose composed epsilon is <= ``target``.

    Raises InputError unless ``target`` is positive and there is at least one round.
    """
    _check(delta, rounds, rate)
    if not 0.0 < target < math.inf:
        raise InputError(f"privacy.epsilon must be > 0 and finite, got {target}")
    if rounds < 1:
        raise InputError(f"privacy.rounds must be >= 1, got {rounds}")
    # The Renyi bound is fast and never below the truth, so its answer is an upper bracket.
    high = 1.0
    while _renyi(high, delta, rounds, rate) > target:
        high *= 2.0
    low = high / 2.0
    while _tight(low, delta, rounds, rate) <= target:
        low, high = low / 2.0, low
    while high > low * 1.001:
        middle = math.sqrt(low * high)
        if _tight(middle, delta, rounds, rate) <= target:
            high = middle
        else:
            low = middle
    return high


def _renyi(noise_multiplier: float, delta: float, rounds: int, rate: float) -> float:
    from dp_accounting import rdp

    event = _event(noise_multiplier, rounds, rate)
    return float(rdp.RdpAccountant().compose(event).get_epsilon(delta))


def _tight(noise_multiplier: float, delta: float, rounds: int, rate: float) -> float:
    from dp_accounting import pld

    # A fixed grid would need gigabytes where almost no noise makes epsilon huge.
    bound = _renyi(noise_multiplier, delta, rounds, rate)
    grid = max(_GRID, 1e-4 * bound)
    accountant = pld.PLDAccountant(value_discretization_interval=grid)
    found = accountant.compose(_event(noise_multiplier, rounds, rate)).get_epsilon(delta)
    return min(float(found), bound)


def _event(noise_multiplier: float, rounds: int, rate: float) -> Any:
    import dp_accounting

    event = dp_accounting.GaussianDpEvent(noise_multiplier)
    if rate < 1.0:
        event = dp_accounting.PoissonSampledDpEvent(rate, event)
    return dp_accounting.SelfComposedDpEvent(event, rounds)


def _check(delta: float, rounds: int, rate: float) -> None:
    if not 0.0 < delta < 1.0:
        raise InputError(f"privacy.delta must be between 0 and 1, got {delta}")
    if rounds < 0:
        raise InputError(f"privacy.rounds must be >= 0, got {rounds}")
    if not 0.0 < rate <= 1.0:
        raise InputError(f"privacy.rate must be above 0 and at most 1, got {rate}")

"""What federated noise is worth: a composed (epsilon, delta) over all rounds.

Adjacency: one node's clipped updates, in all rounds, become zeros (or the other way round); the
number of nodes is public. The figure
reported is from privacy loss distributions (Koskela et al., arXiv:1906.03049), the tightest of the
accountants; Renyi (Mironov, arXiv:1702.07476) is there as a cross-check. Sampling (``rate`` < 1)
helps only if who took part is random, independent and secret, and only with a trusted aggregator.

The guarantee is about true randomness. Keyed noise is repeatable, and thus private only against
those who do not know the seed; outside simulation draw it from the operating system
(``controller.federated.randomness(None, ...)``).
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from quantum.errors import InputError

__all__ = ["Part", "composed", "default_delta", "epsilon", "local_epsilon", "noise_for"]

Accountant = Literal["pld", "rdp"]

#: Finest grid of the privacy loss.
_GRID = 1e-3
#: The largest default delta.
_DELTA = 1e-3
#: Renyi orders of sampled rounds; between whole numbers the series does not converge.
_ORDERS = (*range(2, 64), 80, 128, 256, 512, 1024)


class Part(NamedTuple):
    """Rounds of one kind: ``noise_multiplier`` over the largest change of one client."""

    noise_multiplier: float
    rounds: int
    rate: float = 1.0


def default_delta(clients: int) -> float:
    """Return 1e-3, or N ** -1.1 where that is less.

    Below the 1/N at which revealing one client outright would pass, in networks of any size.

    >>> default_delta(100), round(default_delta(10_000), 7)
    (0.001, 3.98e-05)
    """
    if clients < 2:
        raise InputError(f"privacy.clients must be >= 2, got {clients}")
    return min(_DELTA, float(clients**-1.1))


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
    parts = (Part(noise_multiplier, rounds, rate),)
    if accountant == "pld":
        return _tight(parts, delta)
    if accountant == "rdp":
        return _renyi(parts, delta)
    raise InputError(f"privacy.accountant must be pld or rdp, got {accountant}")


def composed(
    parts: Sequence[Part], delta: float, *, accountant: Accountant = "pld"
) -> float | None:
    """Return the epsilon of rounds of several kinds together; None where some have no noise.

    >>> composed([], 1e-3), composed([Part(1.0, 3), Part(0.0, 1)], 1e-3) is None
    (0.0, True)
    """
    for part in parts:
        _check(delta, part.rounds, part.rate)
    played = [part for part in parts if part.rounds > 0]
    if any(not 0.0 < part.noise_multiplier < math.inf for part in played):
        return None
    if not played:
        return 0.0
    return _tight(played, delta) if accountant == "pld" else _renyi(played, delta)


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
    while _renyi((Part(high, rounds, rate),), delta) > target:
        high *= 2.0
    low = high / 2.0
    while _tight((Part(low, rounds, rate),), delta) <= target:
        low, high = low / 2.0, low
    while high > low * 1.001:
        middle = math.sqrt(low * high)
        if _tight((Part(middle, rounds, rate),), delta) <= target:
            high = middle
        else:
            low = middle
    return high


def _renyi(parts: Sequence[Part], delta: float) -> float:
    from dp_accounting import rdp

    sampled = any(part.rate < 1.0 for part in parts)
    accountant = rdp.RdpAccountant(_ORDERS) if sampled else rdp.RdpAccountant()
    for part in parts:
        accountant.compose(_event(part))
    return float(accountant.get_epsilon(delta))


def _tight(parts: Sequence[Part], delta: float) -> float:
    from dp_accounting import pld

    # A fixed grid would need gigabytes where almost no noise makes epsilon huge.
    bound = _renyi(parts, delta)
    grid = max(_GRID, 1e-4 * bound)
    accountant = pld.PLDAccountant(value_discretization_interval=grid)
    for part in parts:
        accountant.compose(_event(part))
    return min(float(accountant.get_epsilon(delta)), bound)


def _event(part: Part) -> Any:
    import dp_accounting

    event = dp_accounting.GaussianDpEvent(part.noise_multiplier)
    if part.rate < 1.0:
        event = dp_accounting.PoissonSampledDpEvent(part.rate, event)
    return dp_accounting.SelfComposedDpEvent(event, part.rounds)


def _check(delta: float, rounds: int, rate: float) -> None:
    if not 0.0 < delta < 1.0:
        raise InputError(f"privacy.delta must be between 0 and 1, got {delta}")
    if rounds < 0:
        raise InputError(f"privacy.rounds must be >= 0, got {rounds}")
    if not 0.0 < rate <= 1.0:
        raise InputError(f"privacy.rate must be above 0 and at most 1, got {rate}")

"""A privacy audit: how much an observer learns in truth, against the epsilon that is stated.

A canary is a client whose changes all point one way and are as long as it likes (Andrew et al.,
arXiv:2302.03098, section 3; Nasr et al., USENIX Security 2023). Many worlds are played with it and
many without it, by the very code that averages in a run. The observer sees every average, knows all
other clients' changes and the stated noise, and says by a likelihood ratio which world it was. If
the rounds are (epsilon, delta) private, then for any such test

    true positives <= exp(epsilon) * false positives + delta

and Clopper-Pearson bounds of both rates give a lower bound of epsilon, whatever the mechanism is.
It holds with the stated confidence; that it is below the stated epsilon proves nothing more than
that this observer found nothing. The threshold is chosen in worlds that are not counted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from scipy.stats import beta

from controller.averaging import Average
from controller.federated import privatise_each
from controller.federation import Scheme
from quantum.errors import InputError
from quantum.ledger.state import Floats
from quantum.seeding import generator

__all__ = ["Audit", "Worlds", "audit", "central_worlds", "local_worlds", "worlds_for"]

#: Parameters of an audited model: noise is alike in every direction, so few will do.
_PARAMETERS = 4
#: How many clipping norms long the canary is: without clipping it stands out.
_LONG = 5.0
#: Share of the worlds in which the threshold is chosen.
_CHOOSING = 0.25


class Audit(msgspec.Struct, frozen=True):
    """What an audit found; ``epsilon_low`` holds with ``confidence`` and is never below zero.

    ``most`` is the largest bound that so many worlds could have shown.
    """

    privacy: str
    epsilon: float
    delta: float
    epsilon_low: float
    confidence: float
    worlds: int
    most: float

    @property
    def holds(self) -> bool:
        """Whether the measured bound stays within the stated epsilon."""
        return self.epsilon_low <= self.epsilon


class Worlds(Protocol):
    """Plays one world and returns what the observer makes of it: larger, more like a canary."""

    def __call__(self, present: bool, seed: int) -> float:
        """Play the world of a seed with the canary or without it."""
        ...


@dataclass(frozen=True)
class _Central:
    """Worlds of the trusted aggregator: the canary takes part in all rounds or in none."""

    scheme: Scheme
    rounds: int

    def __call__(self, present: bool, seed: int) -> float:
        scheme = self.scheme
        # Others could be anything that the observer knows, so they may as well say nothing.
        average = Average(scheme, np.zeros(_PARAMETERS), seed=seed)
        row = np.zeros((1, _PARAMETERS))
        row[0, 0] = _LONG * scheme.client_clip if present else 0.0
        score = 0.0
        for _ in range(self.rounds):
            before, norm = average.current[0], average.clip_norm
            average.close(np.zeros(1, dtype=np.int64), row)
            moved = (average.current[0] - before) * scheme.expected_clients / norm
            score += _log_ratio(moved, scheme.sum_noise, scheme.federation.participation)
        return score


@dataclass(frozen=True)
class _Local:
    """Worlds of a node that adds noise itself: all its changes point one way, or the other."""

    scheme: Scheme
    rounds: int

    def __call__(self, present: bool, seed: int) -> float:
        scheme = self.scheme
        row = np.zeros((1, _PARAMETERS))
        row[0, 0] = (1.0 if present else -1.0) * _LONG * scheme.clip_norm
        return float(
            sum(
                privatise_each(
                    row,
                    np.zeros(1, dtype=np.int64),
                    clip_norm=scheme.clip_norm,
                    noise_multiplier=scheme.message_noise,
                    seed=None if scheme.secret else seed,
                    slot=number,
                )[0, 0]
                for number in range(self.rounds)
            )
        )


def central_worlds(scheme: Scheme, rounds: int) -> Worlds:
    """Return the worlds of a scheme whose broker adds the noise."""
    return _Central(scheme, rounds)


def local_worlds(scheme: Scheme, rounds: int) -> Worlds:
    """Return the worlds of a scheme whose nodes add the noise."""
    return _Local(scheme, rounds)


def _log_ratio(moved: float, noise: float, rate: float) -> float:
    """Return how much likelier a move of the sum is with the canary, per round, in nats."""
    shift = (2.0 * moved - 1.0) / (2.0 * noise**2)
    if rate == 1.0:
        return shift
    return float(np.logaddexp(math.log1p(-rate), math.log(rate) + shift))


def worlds_for(epsilon: float, confidence: float = 0.95) -> int:
    """Return how many worlds a bound beyond ``epsilon`` takes, at least 4000, at most 60000."""
    counted = -math.log((1.0 - confidence) / 2.0) * math.exp(min(epsilon, 12.0)) * 1.3
    return int(min(max(2.0 * counted / (1.0 - _CHOOSING), 4000.0), 60_000.0))


def audit(
    worlds: Worlds,
    *,
    privacy: str,
    epsilon: float,
    delta: float,
    trials: int,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[int], None] = lambda _: None,
) -> Audit:
    """Play ``trials`` worlds, half of them with the canary, and bound epsilon from below.

    ``progress`` is told now and then how many have been played. Raises InputError for fewer than
    40 trials.
    """
    if trials < 40:
        raise InputError(f"audit.trials must be at least 40, got {trials}")
    if not 0.5 <= confidence < 1.0:
        raise InputError(f"audit.confidence must be at least 0.5 and below 1, got {confidence}")
    each = trials // 2
    seeds = generator(seed, "audit").integers(0, 2**61, 2 * each)
    scores = np.empty((2, each))
    for number, one in enumerate(seeds.tolist()):
        present = number % 2
        scores[present, number // 2] = worlds(bool(present), one)
        if number % 100 == 0:
            progress(number)
    without, with_it = scores
    choosing = max(10, round(_CHOOSING * each))
    counted, share = each - choosing, (1.0 - confidence) / 2.0
    threshold = _threshold(without[:choosing], with_it[:choosing], share, delta)
    false = int((without[choosing:] > threshold).sum())
    true = int((with_it[choosing:] > threshold).sum())
    low = _bound(true, false, counted, share, delta)
    return Audit(
        privacy=privacy,
        epsilon=epsilon,
        delta=delta,
        epsilon_low=low,
        confidence=confidence,
        worlds=2 * each,
        most=_bound(counted, 0, counted, share, delta),
    )


def _bound(true: int, false: int, counted: int, share: float, delta: float) -> float:
    """Return the lower bound from so many hits and false alarms, either way round."""
    found = 0.0
    # Also with the roles swapped: what is not said to have a canary is a claim as well.
    for hits, alarms in ((true, false), (counted - false, counted - true)):
        least = float(beta.ppf(share / 2.0, hits, counted - hits + 1)) if hits > 0 else 0.0
        most = float(beta.ppf(1.0 - share / 2.0, alarms + 1, counted - alarms))
        if least > delta and alarms < counted:
            found = max(found, math.log((least - delta) / most))
    return found


def _threshold(without: Floats, with_it: Floats, share: float, delta: float) -> float:
    """Return the threshold with the best bound in worlds which are not counted afterwards."""
    marks = np.unique(np.concatenate([without, with_it]))
    marks = np.append(marks[:: max(1, len(marks) // 200)], without.max())
    bounds = [
        _bound(int((with_it > m).sum()), int((without > m).sum()), len(without), share, delta)
        for m in marks.tolist()
    ]
    return float(marks[int(np.argmax(bounds))])

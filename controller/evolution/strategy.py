"""An antithetic evolution strategy with rank shaping; pure functions, draws by key.

Salimans et al., arXiv:1703.03864: Gaussian noise around a mean, in pairs of opposite signs, each
candidate judged by its rank (fitness shaping of Wierstra et al., JMLR 15:949, natural evolution
strategies, here linear and centred), so that no single lucky game decides. The step is a momentum
divided by the root of its mean square over all weights, in units of the spread: every generation
moves by about as much, and no weight by noise of its own alone. What counts at the end is a running
average of the means, which forgets the noise of single steps.
"""

from dataclasses import dataclass, replace

import numpy as np

from quantum.errors import InputError
from quantum.ledger.state import Floats
from quantum.seeding import generator

__all__ = ["Search", "Strides", "begin", "candidates", "noise_of", "shaped", "step"]

#: What is kept of the momentum, of its mean square, and of the average of the means.
_MOMENTUM, _SQUARE, _AVERAGE = 0.9, 0.99, 0.9


@dataclass(frozen=True, eq=False)
class Strides:
    """How far candidates are from the mean, ``spread`` (P,), and the ``rate`` in units of it."""

    spread: Floats
    rate: float = 0.3

    def __post_init__(self) -> None:
        if not np.all((self.spread > 0.0) & np.isfinite(self.spread)):
            raise InputError("evolution.spread must be > 0 and finite")
        if not 0.0 < self.rate < 10.0:
            raise InputError(f"evolution.rate must be above 0 and below 10, got {self.rate}")


@dataclass(frozen=True, eq=False)
class Search:
    """Where a search is after ``generation`` steps: weights (P,) and the state of its steps."""

    mean: Floats
    average: Floats
    momentum: Floats
    square: float
    generation: int


def begin(weights: Floats) -> Search:
    """Return a search that starts at some weights (P,)."""
    return Search(weights.copy(), weights.copy(), np.zeros_like(weights), 0.0, 0)


def noise_of(seed: int, generation: int, pairs: int, size: int) -> Floats:
    """Draw the directions of a generation, (pairs, size) standard normal, by key."""
    if pairs < 1:
        raise InputError(f"evolution.pairs must be >= 1, got {pairs}")
    return generator(seed, "evolution", generation).standard_normal((pairs, size))


def candidates(search: Search, strides: Strides, noise: Floats) -> Floats:
    """Return the weights to try, (2 pairs, P): all directions, then all their opposites."""
    away = noise * strides.spread
    return np.concatenate([search.mean + away, search.mean - away])


def shaped(fitness: Floats) -> Floats:
    """Turn fitness into centred ranks between -.5 and .5; equal fitness gets equal ranks.

    >>> shaped(np.array([3.0, 1.0, 2.0])), shaped(np.array([7.0, 7.0]))
    (array([ 0.5, -0.5,  0. ]), array([0., 0.]))
    """
    below = (fitness[None, :] < fitness[:, None]).sum(axis=1)
    equal = (fitness[None, :] == fitness[:, None]).sum(axis=1)
    ranks: Floats = (below + (equal - 1) / 2.0) / max(1, len(fitness) - 1) - 0.5
    return ranks


def step(search: Search, strides: Strides, noise: Floats, fitness: Floats) -> Search:
    """Move the mean after the candidates were tried; ``fitness`` (2 pairs,) in their order.

    Raises InputError where the fitness is of another shape or not finite.
    """
    if fitness.shape != (2 * len(noise),) or not np.all(np.isfinite(fitness)):
        raise InputError(f"fitness must be finite and of shape ({2 * len(noise)},)")
    worth = shaped(fitness)
    gradient = (worth[: len(noise)] - worth[len(noise) :]) @ noise / len(noise)
    number = search.generation + 1
    momentum = _MOMENTUM * search.momentum + (1.0 - _MOMENTUM) * gradient
    square = _SQUARE * search.square + (1.0 - _SQUARE) * float(np.mean(gradient**2))
    root = (square / (1.0 - _SQUARE**number)) ** 0.5
    if root > 0.0:
        ahead = momentum / (1.0 - _MOMENTUM**number) / root
        mean = search.mean + strides.rate * strides.spread * ahead
    else:
        mean = search.mean
    average = _AVERAGE * search.average + (1.0 - _AVERAGE) * mean
    return replace(
        search, mean=mean, average=average, momentum=momentum, square=square, generation=number
    )

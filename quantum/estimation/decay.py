"""A decay p(m) = 1/2 + (A/2) r^m from counts that scatter more than coins: r with an interval.

Sequences of one length differ, so their counts are overdispersed. All counts are therefore divided
by a design effect (quasi-likelihood: McCullagh and Nelder, "Generalized Linear Models", 2nd ed.,
1989, chapter 9): the scatter between sequences over that of coins, averaged over lengths by what
each of them contributes to the variance of r. It is one number for all lengths, because a length
that scatters little by chance must not gain weight by that.

The interval holds every r whose profile likelihood falls short of the best by less than half a
threshold. The threshold is the quantile of F(1, (N-1)/2), because the design effect is itself
estimated, from N sequences whose survival is skewed (half of N-1 was found by simulation), and
never less than what the exact Poisson interval (Garwood, Biometrika 28, 437, 1936) of as many
failures needs: with few failures the asymptotic one would promise too much.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, stdtrit

from quantum.kernels import kernel

__all__ = ["Decay", "estimate"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Halvings: as far as the numbers go.
_STEPS = 50
#: Coverage found by simulation, without it: 94.5 to 97 % where 95 % is promised.
_MARGIN = 1.05


@dataclass(frozen=True)
class Decay:
    """The rate r with its interval, and the amplitude A that goes with the best r."""

    low: float
    best: float
    high: float
    amplitude: float


def estimate(lengths: Floats, survived: Ints, shots: int, confidence: float) -> Decay:
    """Estimate r from ``survived`` (L, N) of ``shots`` at ``lengths`` (L,); 0 <= A, r <= 1."""
    sequences = survived.shape[1]
    passed = survived.sum(axis=1).astype(np.float64)
    total = np.full(len(lengths), float(sequences * shots))
    _, best, _, amplitude = _search(lengths, passed, total, 1.0)
    if shots > 1:  # else every shot has Cliffords of its own: they are coins
        variance = _coins(lengths, best, amplitude, total)
        share = _shares(lengths, best, amplitude, variance)
        scatter = survived.var(axis=1, ddof=1) / shots**2 / sequences
        effect = float(share @ np.maximum(1.0, scatter / variance))
        passed, total = passed / effect, total / effect
    freedom = (sequences - 1.0) / 2.0
    quantile = _MARGIN * float(stdtrit(freedom, 0.5 + confidence / 2.0)) ** 2
    threshold = max(quantile, _poisson_threshold(float((total - passed).sum()), confidence))
    low, best, high, amplitude = _search(lengths, passed, total, threshold)
    return Decay(float(low), float(best), float(high), float(amplitude))


def _coins(lengths: Floats, rate: float, amplitude: float, total: Floats) -> Floats:
    """Return the variance of each length's mean if shots were coins; never 0."""
    expected = total * (0.5 + 0.5 * amplitude * rate**lengths)
    chance = (expected + 1.0) / (total + 2.0)
    variance: Floats = chance * (1.0 - chance) / total
    return variance


def _shares(lengths: Floats, rate: float, amplitude: float, variance: Floats) -> Floats:
    """Return how much each length contributes to the variance of r; they sum to 1."""
    by_rate = 0.5 * amplitude * lengths * rate ** np.maximum(lengths - 1.0, 0.0)
    slopes = np.stack([0.5 * rate**lengths, by_rate], axis=-1)
    information = np.einsum("mi,mj,m->ij", slopes, slopes, 1.0 / variance)
    # Where nothing can be learned of r, as with A = 0, every length has its say.
    influence = slopes @ np.linalg.pinv(information, hermitian=True)[:, 1] / variance
    parts = influence**2 * variance
    most = parts.sum()
    equal: Floats = np.full(len(lengths), 1.0 / len(lengths))
    return parts / most if most > 0.0 else equal


def _poisson_threshold(failures: float, confidence: float) -> float:
    """Return the deviance at the farther end of the exact interval of a Poisson mean."""
    tail = (1.0 - confidence) / 2.0
    high = float(gammaincinv(failures + 1.0, 1.0 - tail))
    deviances = [_poisson_deviance(failures, high)]
    if failures > 0.0:
        deviances.append(_poisson_deviance(failures, float(gammaincinv(failures, tail))))
    return max(deviances)


def _poisson_deviance(failures: float, mean: float) -> float:
    logs = failures * np.log(mean / failures) if failures > 0.0 else 0.0
    return float(2.0 * (mean - failures - logs))


@kernel
def _profile(rate, lengths, passed, total):  # type: ignore[no-untyped-def]
    """Return (log-likelihood, A) for the best A in [0, 1] at this rate.

    The likelihood is concave in A: where its slope is 0 is found by halving.
    """
    left = rate**lengths
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        amplitude = 0.5 * (low + high)
        slope = 0.0
        for i in range(lengths.size):
            x = left[i]
            slope += passed[i] * x / (1.0 + amplitude * x)
            slope -= (total[i] - passed[i]) * x / (1.0 - amplitude * x)
        if slope > 0.0:
            low = amplitude
        else:
            high = amplitude
    amplitude = 0.5 * (low + high)
    value = 0.0
    for i in range(lengths.size):
        x = amplitude * left[i]
        value += passed[i] * np.log1p(x)
        if total[i] > passed[i]:
            value += (total[i] - passed[i]) * np.log1p(-x)
    return value, amplitude


@kernel
def _search(lengths, passed, total, threshold):  # type: ignore[no-untyped-def]
    """Return (low, best, high, A): scan first, then refine, so that no second hill is missed."""
    points = 129
    grid = np.empty(points)
    value = np.empty(points)
    for i in range(points):
        grid[i] = 1.0 - (1.0 - i / (points - 1)) ** 3  # dense near 1
        value[i], _ = _profile(grid[i], lengths, passed, total)
    top = int(np.argmax(value))
    a, b = grid[max(top - 1, 0)], grid[min(top + 1, points - 1)]
    for _ in range(_STEPS):
        one, two = a + 0.382 * (b - a), a + 0.618 * (b - a)
        if _profile(one, lengths, passed, total)[0] < _profile(two, lengths, passed, total)[0]:
            a = one
        else:
            b = two
    best = 0.5 * (a + b)
    most, amplitude = _profile(best, lengths, passed, total)
    if value[top] >= most:
        best = grid[top]
        most, amplitude = _profile(best, lengths, passed, total)
    least = most - 0.5 * threshold
    low = _end(grid, value, best, 0.0, least, lengths, passed, total)
    high = _end(grid[::-1], value[::-1], best, 1.0, least, lengths, passed, total)
    return low, best, high, amplitude


@kernel
def _end(grid, value, best, end, least, lengths, passed, total):  # type: ignore[no-untyped-def]
    """Return where the interval ends between the first point of the grid, ``end``, and the best."""
    inside, outside = best, np.nan
    for i in range(grid.size):
        if abs(grid[i] - end) >= abs(best - end):
            break
        if value[i] >= least:
            inside = grid[i]
            break
        outside = grid[i]
    if np.isnan(outside):
        return end  # not even the end of the scale was refused
    for _ in range(_STEPS):
        middle = 0.5 * (inside + outside)
        if _profile(middle, lengths, passed, total)[0] >= least:
            inside = middle
        else:
            outside = middle
    return outside

"""CHSH: how strongly a Bell inequality is violated, and how sure that is.

Four values are kept apart: what tallies of the four settings show (:func:`chsh`), how well local
hidden variables could explain them (:func:`p_value`), what a known state could show at best
(:func:`largest_s`, :func:`largest_s_of`), and what the parity tests of an unknown pair say about
that (:func:`estimate_largest_s`). No quantum state exceeds Tsirelson's bound 2 sqrt(2) (Lett. Math.
Phys. 4, 93, 1980).
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, ndtri, rel_entr

from quantum import bell
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimation.binomial import Interval, chance, check_confidence
from quantum.estimation.box import corners
from quantum.estimation.tomography import correlator_bounds, most_likely, table_of

__all__ = [
    "TSIRELSON",
    "Chsh",
    "ChshCounts",
    "Settings",
    "chsh",
    "estimate_largest_s",
    "floor_of",
    "largest_s",
    "largest_s_bounds",
    "largest_s_of",
    "p_value",
]

Floats = NDArray[np.float64]
Settings = Literal["fixed", "random"]

TSIRELSON = 2.0 * math.sqrt(2.0)


class ChshCounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rounds of the CHSH game by setting: ``passed`` are won, ``failed`` are lost.

    With settings a and b a round is won if the outcomes are equal, and for a1 with b1 if they are
    different: S = E(a0,b0) + E(a0,b1) + E(a1,b0) - E(a1,b1). Experiments with the minus sign
    elsewhere rename their settings.
    """

    a0b0: Tally = Tally()
    a0b1: Tally = Tally()
    a1b0: Tally = Tally()
    a1b1: Tally = Tally()

    @property
    def tallies(self) -> tuple[Tally, Tally, Tally, Tally]:
        """The tallies of the four settings."""
        return self.a0b0, self.a0b1, self.a1b0, self.a1b1

    @property
    def won(self) -> int:
        """Rounds won over all settings."""
        return sum(tally.passed for tally in self.tallies)

    @property
    def rounds(self) -> int:
        """Rounds played over all settings."""
        return self.won + sum(tally.failed for tally in self.tallies)


class Chsh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """S with its interval, within Tsirelson's bound; ``observed`` is the bare sum of the data."""

    low: float
    best: float
    high: float
    observed: float
    confidence: float
    rounds: int


def chsh(counts: ChshCounts, *, confidence: float = 0.95, settings: Settings = "fixed") -> Chsh:
    """Estimate S = sum of the four signed correlations, with an exact interval.

    ``fixed``: any number of rounds for each setting; the interval is a proven bound for every
    number of rounds, but not the narrowest. ``random``: only if every round drew one of the four
    settings uniformly and the pair knew nothing of it. A round is then won with chance 1/2 + S/8,
    so the exact binomial interval serves.

    >>> data = ChshCounts(Tally(85, 15), Tally(85, 15), Tally(85, 15), Tally(85, 15))
    >>> [round(getattr(chsh(data), name), 3) for name in ("low", "best", "high")]
    [2.379, 2.8, 2.828]
    >>> round(chsh(data, settings="random").low, 3)
    2.489
    """
    tail = (1.0 - check_confidence(confidence)) / 2.0
    if settings not in get_args(Settings):
        raise InputError(f"settings must be fixed or random, got {settings!r}")
    if settings == "random":
        won = chance(counts.won, counts.rounds - counts.won, tail)
        low, observed, high = (8.0 * p - 4.0 for p in (won.low, won.best, won.high))
    else:
        low, observed, high = _fixed(counts.tallies, tail)
    low, best, high = (min(TSIRELSON, max(-TSIRELSON, s)) for s in (low, observed, high))
    return Chsh(low, best, high, observed, confidence, counts.rounds)


def _fixed(tallies: Sequence[Tally], tail: float) -> tuple[float, float, float]:
    """Return (low, observed, high) of S for given numbers of rounds.

    Two bounds hold: the sum of four exact intervals that share the error budget, narrower where one
    setting has very few rounds; and Chernoff's for the mean of the four shares,
    exp(-4 m KL) with m the fewest rounds of a setting (Hoeffding, JASA 58, 13, 1963: it only falls
    with more rounds, and is largest where all four chances are equal). The numbers of rounds, not
    the outcomes, decide which is taken, so the choice costs no confidence.
    """
    each = [chance(tally.passed, tally.failed, tail / 4.0) for tally in tallies]
    rounds = [tally.passed + tally.failed for tally in tallies]
    share = sum(part.best for part in each) / 4.0
    fewest = min(rounds)
    if fewest == 0 or _sum_is_narrower(rounds, tail):
        low, high = sum(part.low for part in each) / 4.0, sum(part.high for part in each) / 4.0
    else:
        reach = -math.log(tail) / (4.0 * fewest)
        low, high = _divergent(share, 0.0, reach), _divergent(share, 1.0, reach)
    return 8.0 * low - 4.0, 8.0 * share - 4.0, 8.0 * high - 4.0


def _sum_is_narrower(rounds: Sequence[int], tail: float) -> bool:
    """Compare the widths that both bounds have for many rounds; all else is a common factor."""
    summed = -float(ndtri(tail / 4.0)) * sum(1.0 / math.sqrt(n) for n in rounds)
    return summed < 2.0 * math.sqrt(-2.0 * math.log(tail) / min(rounds))


def floor_of(threshold: float, fewest: int, tail: float) -> float:
    """Return the S below which a pair reaches ``threshold`` with a chance of at most ``tail``.

    ``threshold`` (-4 to 4) is fixed before the test, in which each of the four settings has
    ``fewest`` rounds or more: Chernoff's bound of :func:`chsh`, one-sided. -4 without any round.

    >>> round(floor_of(2.7, 10_000, 1e-10), 3)
    2.598
    """
    if not -4.0 <= threshold <= 4.0 or fewest < 0 or not 0.0 < tail < 1.0:
        raise InputError(
            f"an S needs a threshold from -4 to 4, rounds >= 0 and a tail between 0 and 1, got "
            f"{threshold}, {fewest} and {tail}"
        )
    if fewest == 0:
        return -4.0
    share = 0.5 + threshold / 8.0
    return 8.0 * _divergent(share, 0.0, -math.log(tail) / (4.0 * fewest)) - 4.0


def _divergent(share: float, end: float, reach: float) -> float:
    """Return the chance from ``share`` towards ``end`` whose divergence KL is ``reach``."""
    near, far = share, end
    for _ in range(60):
        middle = (near + far) / 2.0
        divergence = rel_entr(share, middle) + rel_entr(1.0 - share, 1.0 - middle)
        near, far = (middle, far) if divergence < reach else (near, middle)
    return far


def p_value(won: int, rounds: int, *, bias: float = 0.0) -> float:
    """Return how likely local hidden variables win at least so many rounds of the CHSH game.

    The binomial tail at the best local chance 3/4, valid with memory in the devices and without
    any assumption that rounds are alike (Elkouss and Wehner, npj Quantum Information 2, 16026,
    2016; Hensen et al., Nature 526, 682, 2015). Settings must be drawn independently in each round,
    each bit with a chance within 1/2 +- ``bias`` whatever happened before; a local strategy loses
    at one of the four settings at least, so it wins with at most 1 - (1/2 - bias)^2.

    >>> round(p_value(196, 245), 3)  # the loophole-free test of Hensen et al.
    0.039
    """
    if not 0 <= won <= rounds:
        raise InputError(f"won must be between 0 and rounds = {rounds}, got {won}")
    if not 0.0 <= bias < 0.5:
        raise InputError(f"bias must be >= 0 and < 0.5, got {bias}")
    if won == 0:
        return 1.0
    return float(betainc(won, rounds - won + 1, 1.0 - (0.5 - bias) ** 2))


def largest_s(correlators: ArrayLike) -> Floats:
    """Return the largest S that Bell-diagonal states of correlators ``(..., 3)`` can show.

    2 sqrt(t1^2 + t2^2) with the two largest in size (Horodecki, Horodecki and Horodecki, Phys.
    Lett. A 200, 340, 1995). A value <= 2 violates nothing.

    >>> largest_s([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]).round(6).tolist()
    [2.828427, 1.414214]
    """
    c = np.asarray(correlators, dtype=np.float64)
    if c.shape[-1:] != (3,) or not np.all(np.abs(c) <= 1.0 + 1e-9):
        raise InputError("correlators must be three numbers between -1 and 1")
    return _largest(c)


def largest_s_of(expectations: ArrayLike) -> float:
    """Return the largest S of any two-qubit state, given by its Pauli expectations ``(4, 4)``.

    From the two largest singular values of the correlation matrix (Horodecki et al. 1995).

    >>> largest_s_of(np.diag([1.0, 1.0, -1.0, 1.0])) == TSIRELSON
    True
    """
    table = np.asarray(expectations, dtype=np.float64)
    bell.check_state("expectations", tuple(table.ravel().tolist()))
    singular = np.linalg.svd(table.reshape(4, 4)[1:, 1:], compute_uv=False)
    return float(_largest(np.minimum(singular, 1.0)))


def largest_s_bounds(low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats]:
    """Return bounds ``(...)`` of the largest S over correlators between ``low`` and ``high``.

    S is convex in the correlators: it is largest at a corner of the states that fit. It grows with
    the size of each, so it is at least that of the point nearest to 0. Where no state fits: 0 and
    2 sqrt(2).
    """
    lo, hi = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    points, corner = corners(lo, hi)
    fits = corner.any(axis=-1)
    most = np.where(corner, _largest(np.clip(points, -1.0, 1.0)), 0.0).max(axis=-1)
    least = np.where(fits, _largest(np.clip(0.0, lo, hi)), 0.0)
    return least, np.where(fits, np.minimum(most, TSIRELSON), TSIRELSON)


def estimate_largest_s(counts: Counts, *, confidence: float = 0.95) -> Interval:
    """Estimate from parity tests the largest S that the pair could show.

    Valid for any state if read as its Bell-diagonal part; the whole state may show more.

    >>> s = estimate_largest_s(Counts(Tally(970, 30), Tally(970, 30), Tally(970, 30)))
    >>> round(s.low, 2), round(s.best, 2), round(s.high, 2)
    (2.57, 2.66, 2.72)
    """
    table = table_of(counts)
    low, high = largest_s_bounds(*correlator_bounds(table, confidence))
    best = float(largest_s(bell.correlators(most_likely(table))))
    return Interval(min(low.item(), best), best, max(high.item(), best))


def _largest(correlators: Floats) -> Floats:
    squares = np.sort(correlators**2, axis=-1)
    s: Floats = np.minimum(2.0 * np.sqrt(squares[..., 1] + squares[..., 2]), TSIRELSON)
    return s

"""Are the tests of a stream alike and independent, as every interval here takes for granted?

Three questions, each with an exact p-value given the numbers of passes and fails, so that nothing
need be known of the fidelity:

- Do passes and fails come in random order? The number of *runs* of equal results says so (Wald and
  Wolfowitz, Ann. Math. Stat. 11, 147, 1940). Too few runs: fails come in bursts, or the level
  drifts; too many: results alternate.
- Is the chance to fail the same in all *blocks* of the stream? The sum of squares between blocks
  that Pearson's chi-square test uses, with its exact distribution over all tables with the same
  margins while results are few enough (Freeman and Halton, Biometrika 38, 141, 1951).
- Is it the same in all *bases*? The same test. Bases that differ do no harm to an interval from
  bases drawn at random: they say that the state is not a Werner state.
"""

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, gammaln

from quantum.errors import InputError

__all__ = ["Independence", "Verdict", "alike", "independence", "runs_test"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Verdict = Literal["no sign against it", "bursts or drift", "alternating", "blocks differ"]

#: Exact statistics are sums of whole steps of this size, up to the most; larger ones count as it.
_STEP, _MOST = 0.1, 60.0
#: Additions that an exact distribution may take: about a second.
_WORK = 2e9


class Independence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found. Each ``p_`` is the chance to see as much or more if nothing is wrong.

    ``runs`` were counted where ``expected_runs`` is the mean. ``exact`` tells whether all p-values
    are, or some come from the chi-square distribution. ``p_bases`` is None without bases; it is no
    part of ``p``, which joins the other two (Bonferroni), nor of the ``verdict``.
    """

    runs: int
    expected_runs: float
    p_runs: float
    p_blocks: float
    p_bases: float | None
    p: float
    exact: bool
    verdict: Verdict


def independence(
    passed: ArrayLike,
    bases: ArrayLike | None = None,
    *,
    blocks: int = 8,
    significance: float = 0.01,
) -> Independence:
    """Ask a stream of test results, True where passed, whether they are alike and independent.

    ``bases`` are the numbers of the bases in which the tests were made, one for each. ``blocks``
    parts of the stream, as equal as can be, are compared. The verdict speaks against the stream
    where ``p <= significance``, which happens to a good one with at most this chance, where
    ``exact`` is true.

    >>> independence([True] * 30 + [False] * 10).verdict
    'bursts or drift'
    >>> independence([True, True, False] * 20).verdict
    'alternating'
    """
    bits = _bits(passed)
    if blocks < 2:
        raise InputError(f"blocks must be >= 2, got {blocks}")
    if not 0.0 < significance < 1.0:
        raise InputError(f"significance must be between 0 and 1, got {significance}")
    size = len(bits)
    p_runs, (runs, expected) = runs_test(bits), _runs(bits)
    edges = np.linspace(0, size, blocks + 1).astype(np.int64)
    lost = np.concatenate([[0], np.cumsum(~bits)])
    p_blocks, exact = alike(np.diff(lost[edges]), np.diff(edges))
    p_bases = None
    if bases is not None:
        names = np.asarray(bases)
        if names.shape != bits.shape:
            raise InputError(f"bases must be one for each test, {size}, got shape {names.shape}")
        kinds, which = np.unique(names, return_inverse=True)
        count = np.bincount(which, minlength=len(kinds))
        p_bases, also = alike(np.bincount(which[~bits], minlength=len(kinds)), count)
        exact = exact and also
    p = min(1.0, 2.0 * min(p_runs, p_blocks))
    verdict: Verdict = "no sign against it"
    if p <= significance:
        if p_runs <= p_blocks:
            verdict = "bursts or drift" if runs < expected else "alternating"
        else:
            verdict = "blocks differ"
    return Independence(runs, expected, p_runs, p_blocks, p_bases, p, exact, verdict)


def runs_test(passed: ArrayLike) -> float:
    """Return the exact two-sided p-value of the number of runs, given passes and fails.

    It is the chance of all numbers of runs that are no more likely than the one seen.

    >>> round(runs_test([1, 1, 1, 1, 0, 0, 0, 0]), 4)  # 2 of 70 orders, and 2 with 8 runs
    0.0571
    """
    bits = _bits(passed)
    seen, _ = _runs(bits)
    ones = int(bits.sum())
    chance = _runs_distribution(ones, len(bits) - ones)
    at = chance[seen]
    # Equal probabilities differ by rounding: a hair above the one seen counts as equal.
    return min(1.0, float(chance[chance <= at * (1.0 + 1e-7)].sum()))


def alike(hits: ArrayLike, tests: ArrayLike) -> tuple[float, bool]:
    """Return (p-value, exact?) of the question whether groups have one chance of a hit.

    ``hits`` of ``tests`` in each group. The statistic is Pearson's chi-square of the table. Its
    distribution over all tables with the same margins is exact while that takes about a second:
    with 8 groups, up to about 600 hits, or as many misses. Beyond, the chi-square distribution is
    used, whose p-values at these sizes are off by some 3 % of themselves.

    >>> p, exact = alike([0, 5], [5, 5])  # 2 of 252 tables
    >>> round(p, 5), exact
    (0.00794, True)
    """
    given, of = np.asarray(hits), np.asarray(tests)
    if given.ndim != 1 or given.shape != of.shape or not np.all((given >= 0) & (given <= of)):
        raise InputError("hits must be one for each group, between 0 and its tests")
    x, m = given.astype(np.int64), of.astype(np.int64)
    if np.any((x != given) | (m != of)):
        raise InputError("hits and tests must be whole numbers")
    x, m = x[m > 0], m[m > 0]
    size, total = int(m.sum()), int(x.sum())
    if 2 * total > size:
        x, total = m - x, size - total
    if total == 0 or len(m) < 2:
        return 1.0, True
    share = total / size
    levels = round(_MOST / _STEP)
    if len(m) * total * min(total, int(m.max())) * levels <= _WORK:
        return _exact(x, m, share), True
    return float(chdtrc(len(m) - 1, _squares(x, m, share).sum())), False


def _squares(x: Floats | Ints, m: Floats | Ints, share: float) -> Floats:
    """Return what groups with x hits of m tests add to chi-square."""
    square: Floats = (x - m * share) ** 2 / (m * share * (1.0 - share))
    return square


def _exact(x: Ints, m: Ints, share: float) -> float:
    """Return the exact chance of a statistic as large as that of x, given the margins.

    A group's part is rounded to steps, in the table seen and in all others alike: the p-value is
    exact for the rounded statistic. The table ``[j, t]`` holds the chance of j hits and t steps in
    the groups so far; each group is binomial, and the margin is imposed at the end.
    """
    top, total = round(_MOST / _STEP), int(x.sum())
    seen = 0
    table = np.zeros((total + 1, top + 1))
    table[0, 0] = 1.0
    for hits, size in zip(x.tolist(), m.tolist(), strict=True):
        count = np.arange(min(size, total) + 1)
        steps = np.minimum(np.rint(_squares(count, np.array(size), share) / _STEP), top)
        chance = _binomial(count, size, share)
        after = np.zeros_like(table)
        for j, t, w in zip(count.tolist(), steps.astype(int).tolist(), chance, strict=True):
            before = table[: total + 1 - j]
            after[j:, t:] += w * before[:, : top + 1 - t]
            after[j:, top] += w * before[:, top + 1 - t :].sum(axis=1)
        table = after
        seen += int(steps[hits])
    tail, whole = table[total, min(seen, top) :].sum(), table[total].sum()
    return min(1.0, float(tail / whole))


def _binomial(count: Ints, size: int, share: float) -> Floats:
    log: Floats = gammaln(size + 1.0) - gammaln(count + 1.0) - gammaln(size - count + 1.0)
    chance: Floats = np.exp(log + count * math.log(share) + (size - count) * math.log1p(-share))
    return chance


def _runs_distribution(ones: int, zeros: int) -> Floats:
    """Return the chance of every number of runs, given the numbers of ones and zeros."""
    chance: Floats = np.zeros(2 * min(ones, zeros) + 2)
    if min(ones, zeros) == 0:
        chance[min(1, ones + zeros)] = 1.0
        return chance
    runs = np.arange(2, len(chance))
    half = runs // 2
    # Odd numbers begin and end with the same result, which then has one run more.
    more_ones = _log_parts(ones, half + 1) + _log_parts(zeros, half)
    more_zeros = _log_parts(ones, half) + _log_parts(zeros, half + 1)
    even = math.log(2.0) + _log_parts(ones, half) + _log_parts(zeros, half)
    log = np.where(runs % 2 == 0, even, np.logaddexp(more_ones, more_zeros))
    orders = gammaln(ones + zeros + 1.0) - gammaln(ones + 1.0) - gammaln(zeros + 1.0)
    chance[2:] = np.exp(log - orders)
    chance /= chance.sum()
    return chance


def _log_parts(total: int, parts: Ints) -> Floats:
    """Return the log of the number of ways to cut ``total`` into so many parts of one or more."""
    inside = np.clip(parts, 1, total)
    ways: Floats = gammaln(float(total)) - gammaln(inside * 1.0) - gammaln(total - inside + 1.0)
    log: Floats = np.where(parts > total, -np.inf, ways)
    return log


def _runs(bits: NDArray[np.bool_]) -> tuple[int, float]:
    """Return the number of runs and its mean, given passes and fails."""
    size, ones = len(bits), int(bits.sum())
    if size == 0:
        return 0, 0.0
    return 1 + int(np.sum(bits[1:] != bits[:-1])), 1.0 + 2.0 * ones * (size - ones) / size


def _bits(passed: ArrayLike) -> NDArray[np.bool_]:
    bits = np.asarray(passed)
    if bits.ndim != 1 or not np.all((bits == 0) | (bits == 1)):
        raise InputError("passed must be a list of booleans")
    return bits.astype(bool)

"""Fidelity where bases were not drawn at random: what each basis says by itself.

The pooled passes of random tests follow ``p = (1 + 2F) / 3`` only where each basis is drawn with
the same chance. Here the split over bases is tested for that: each number of tests is binomial with
chance 1/k for k bases, and all 2 k exact tails share the level (Bonferroni), so a random split is
taken for an uneven one with a chance of at most :data:`LEVEL`.

Where bases are uneven, each has an exact interval for its correlator, which hold together; the
fidelity is bounded by those of all states that fit. This holds for any split, however it came
about, so the test costs an interval at most LEVEL times its error budget.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.special import betainc

from quantum import ghz
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import Estimate, estimate, estimate_passes
from quantum.estimation.binomial import chance_bounds, check_confidence
from quantum.estimation.box import population_bounds
from quantum.estimation.tomography import correlator_bounds, most_likely, table_of
from quantum.program import MOST_QUBITS

__all__ = ["LEVEL", "Bases", "drawn", "fidelity_of", "ghz_fidelity_of", "in_box"]

Floats = NDArray[np.float64]

#: ``random``: the split is one that random draws make. ``uneven``: it is not, or known to be fixed.
Bases = Literal["random", "uneven"]

#: The chance that random draws are called uneven. Tests in one basis only are, from eleven on.
LEVEL = 1e-4


#: To what the linear program is solved.
_SOLVED = 1e-7


def drawn(tests: ArrayLike) -> Bases:
    """Say whether this many tests of each basis can have come from uniform draws.

    >>> drawn([340, 310, 350]), drawn([400, 200, 400]), drawn([10, 0, 0]), drawn([11, 0, 0])
    ('random', 'uneven', 'random', 'uneven')
    """
    k = np.asarray(tests, dtype=np.float64)
    n, chance = k.sum(), 1.0 / k.size
    # P(X >= k) and P(X <= k) of a binomial number X.
    above = np.where(k > 0, betainc(np.maximum(k, 1.0), n - k + 1.0, chance), 1.0)
    below = np.where(k < n, betainc(np.maximum(n - k, 1.0), k + 1.0, 1.0 - chance), 1.0)
    return "uneven" if np.minimum(above, below).min() * 2.0 * k.size < LEVEL else "random"


def fidelity_of(
    counts: Counts, *, confidence: float = 0.95, bases: Bases | None = None
) -> tuple[Estimate, Bases]:
    """Estimate the fidelity of a pair, and say how bases were drawn.

    ``bases`` says it where it is known; otherwise the split is tested. Random bases give the
    interval of :func:`quantum.estimate.estimate`. Uneven ones give that of the population of
    phi_plus of :func:`quantum.estimation.tomography.tomography`.

    >>> from quantum.counts import Tally
    >>> found, bases = fidelity_of(Counts(xx=Tally(9990, 10), yy=Tally(10, 10), zz=Tally(10, 10)))
    >>> bases, round(found.low, 3), round(found.high, 3)
    ('uneven', 0.232, 0.767)
    """
    check_confidence(confidence)
    table = table_of(counts)
    how = _known(bases) or drawn(table.sum(axis=1))
    if how == "random":
        return estimate(counts, confidence=confidence), how
    low, best, high = in_box(table, *correlator_bounds(table, confidence))
    return Estimate(low, best, high, confidence, counts.shots), how


def in_box(table: Floats, low: Floats, high: Floats) -> tuple[float, float, float]:
    """Return (low, best, high) of the fidelity of the states with correlators in a box ``(3,)``.

    ``best`` is that of the state under which the tests ``(3, 2)`` are most likely, moved into the
    box.
    """
    least, most, _ = population_bounds(low, high)
    best = float(np.clip(most_likely(table)[0], least[0], most[0]))
    return float(least[0]), best, float(most[0])


def ghz_fidelity_of(
    tallies: Mapping[str, Tally], *, confidence: float = 0.95, bases: Bases | None = None
) -> tuple[Estimate, Bases]:
    """Estimate the fidelity of a GHZ state of n qubits from tests of its stabilizers.

    Keys are those of :func:`quantum.ghz.labels`; those left out were not measured. With uneven
    tests ``best`` comes from the observed correlators, 0 where there is none.

    >>> from quantum.counts import Tally
    >>> tests = {label: Tally(95, 5) for label in ghz.labels(3)}
    >>> found, bases = ghz_fidelity_of(tests)
    >>> bases, round(found.best, 4)
    ('random', 0.9125)
    """
    check_confidence(confidence)
    if not tallies:
        raise InputError("tests must name one stabilizer at least")
    qubits = len(next(iter(tallies)))
    names = ghz.labels(qubits) if 2 <= qubits <= MOST_QUBITS else ()
    for name in tallies:
        if name not in names:
            raise InputError(
                f"{name!r} is no stabilizer of a GHZ state of 2 to {MOST_QUBITS} qubits"
            )
    every = [tallies.get(name, Tally()) for name in names]
    table = np.array([[t.passed, t.failed] for t in every], dtype=np.float64)
    tests = table.sum(axis=1)
    passed, shots = sum(t.passed for t in every), sum(t.passed + t.failed for t in every)
    how = _known(bases) or drawn(tests)
    if how == "random":
        found = estimate_passes(passed, shots, qubits=qubits, confidence=confidence)
        return found, how
    tail = (1.0 - confidence) / 2.0 / max(1, int((tests > 0).sum()))
    chances = chance_bounds(table[:, 0], table[:, 1], tail)
    low, high = _extremes(2.0 * chances[0] - 1.0, 2.0 * chances[1] - 1.0)
    seen = np.where(tests > 0, (table[:, 0] - table[:, 1]) / np.maximum(tests, 1.0), 0.0)
    best = min(max(float(1.0 + seen.sum()) / (len(names) + 1), low), high)
    return Estimate(low, best, high, confidence, shots), how


def _known(bases: Bases | None) -> Bases | None:
    if bases not in (None, "random", "uneven"):
        raise InputError(f"bases must be random or uneven, got {bases!r}")
    return bases


def _extremes(low: Floats, high: Floats) -> tuple[float, float]:
    """Return the least and the most fidelity of GHZ populations with correlators in a box.

    A linear program: populations are >= 0 and sum to 1, correlators are linear in them. Where none
    fits nothing is promised.
    """
    size = len(low) + 1
    signs = ghz.correlators(np.eye(size)).T
    wanted = np.eye(size)[0]
    ends = []
    for sign in (1.0, -1.0):
        found = linprog(
            sign * wanted,
            A_ub=np.concatenate([signs, -signs]),
            b_ub=np.concatenate([high, -low]),
            A_eq=np.ones((1, size)),
            b_eq=[1.0],
        )
        if found.status != 0:
            return 0.0, 1.0
        ends.append(float(found.x[0]))
    return max(0.0, ends[0] - _SOLVED), min(1.0, ends[1] + _SOLVED)

"""Bell-diagonal tomography: which errors a pair has, from the same tests as its fidelity.

The tests in each basis are binomial with chance (1 + c) / 2 for the correlator c of that basis. The
three exact intervals share the error budget (Bonferroni), so they hold together, and so does all
that follows from them: the bounds of the populations and which error dominates. Nothing is
approximated and nothing assumed of the state; for a state that is not Bell-diagonal the populations
are its weights on the Bell states.
"""

from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum import bell
from quantum.counts import Counts
from quantum.estimation.binomial import Interval, chance_bounds, check_confidence
from quantum.estimation.box import population_bounds

__all__ = [
    "ERRORS",
    "DominantError",
    "Tomography",
    "correlator_bounds",
    "most_likely",
    "table_of",
    "tomography",
]

Floats = NDArray[np.float64]
ErrorName = Literal["phase flip", "bit flip", "both"]

#: The Pauli error that turns phi_plus into each other Bell state.
ERRORS: dict[str, ErrorName] = {
    "phi_minus": "phase flip",
    "psi_plus": "bit flip",
    "psi_minus": "both",
}
#: A population this little below 0 is rounding.
_ROUNDING = 1e-12

#: The one basis in which such a state still passes: their populations differ by half of what the
#: correlators of these bases do.
_SURVIVES = {"phi_minus": 2, "psi_plus": 0, "psi_minus": 1}


class DominantError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most frequent Pauli error; ``certain`` where the data exclude that another one is."""

    state: str
    error: ErrorName
    certain: bool


class Tomography(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tests say about a state; all intervals hold together with the ``confidence``.

    ``correlators`` by basis (signs as in :mod:`quantum.bell`), ``populations`` by Bell state. Their
    best values are the observed correlators and the most likely populations. ``dominant_error`` is
    None where no error was seen. Where no state fits the correlators (``consistent`` is False: the
    tests were not all made on the same kind of pair, or bases are mixed up) the populations are
    bounded by 0 and 1 only.
    """

    correlators: dict[str, Interval]
    populations: dict[str, Interval]
    dominant_error: DominantError | None
    consistent: bool
    confidence: float
    shots: int


def tomography(counts: Counts, *, confidence: float = 0.95) -> Tomography:
    """Estimate the three correlators and the four populations of a pair.

    A basis without tests leaves its correlator anywhere in [-1, 1].

    >>> from quantum.counts import Tally
    >>> state = tomography(Counts(xx=Tally(60, 40), yy=Tally(61, 39), zz=Tally(99, 1)))
    >>> state.dominant_error
    DominantError(state='phi_minus', error='phase flip', certain=True)
    >>> round(state.populations["phi_minus"].best, 3)
    0.39
    """
    table = table_of(counts)
    low, high = correlator_bounds(table, confidence)
    best = _observed(table)
    weights = most_likely(table)
    least, most, fits = population_bounds(low, high)
    return Tomography(
        correlators=_intervals(bell.BASES, low, best, high),
        populations=_intervals(bell.BELL_STATES, least, weights, most),
        dominant_error=_dominant(weights, low, high) if table[:, 1].any() else None,
        consistent=bool(fits),
        confidence=confidence,
        shots=counts.shots,
    )


def table_of(counts: Counts) -> Floats:
    """Return the counts as floats ``(3, 2)``: bases xx, yy, zz by (pass, fail)."""
    tallies = (counts.xx, counts.yy, counts.zz)
    return np.array([[t.passed, t.failed] for t in tallies], dtype=np.float64)


def correlator_bounds(table: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return (low, high) of the correlators ``(..., 3)``, which hold together.

    ``table`` is ``(..., 3, 2)``: bases by (pass, fail). Bases without tests take no share of the
    error budget.
    """
    tests = np.asarray(table, dtype=np.float64)
    measured = np.maximum((tests.sum(axis=-1) > 0).sum(axis=-1, keepdims=True), 1)
    tail = (1.0 - check_confidence(confidence)) / 2.0 / measured
    low, high = chance_bounds(tests[..., 0], tests[..., 1], tail)
    return 2.0 * low - 1.0, 2.0 * high - 1.0


def most_likely(table: ArrayLike) -> Floats:
    """Return the populations ``(..., 4)`` of largest likelihood, ``table`` is ``(..., 3, 2)``.

    Where the likelihood is flat (bases without tests), the most likely state of largest entropy.

    The observed correlators are most likely if a state has them. Otherwise exactly one population
    would be negative; it is 0, and the others are the chances u to agree with that Bell state in
    the three bases, each from B / (1 - u) - A / u = m with A agreements and B disagreements. They
    grow with the Lagrange multiplier m, which makes them sum to 1 and is found by bisection.

    >>> most_likely([[10, 0], [10, 0], [9, 1]]).round(4).tolist()
    [0.9493, 0.0, 0.0253, 0.0253]
    """
    tests = np.asarray(table, dtype=np.float64)
    weights = bell.populations(_observed(tests))
    rows = weights.reshape(-1, 4)
    outside = np.flatnonzero(rows.min(axis=-1) < -_ROUNDING)
    if outside.size:
        rows[outside] = _on_a_face(tests.reshape(-1, 3, 2)[outside], rows[outside].argmin(axis=-1))
    return np.clip(rows, 0.0, 1.0).reshape(weights.shape)


def _on_a_face(tests: Floats, missing: NDArray[np.int64]) -> Floats:
    """Return the most likely populations without the ``missing`` state, ``(N, 4)``."""
    signs = bell.correlators(np.eye(4))
    agrees = signs[missing] > 0
    a = np.where(agrees, tests[..., 0], tests[..., 1])
    n = tests.sum(axis=-1)
    under, over = np.zeros(len(n)), 1.5 * n.max(axis=-1)
    for _ in range(100):
        middle = (under + over) / 2.0
        few = _chances(a, n, middle).sum(axis=-1) < 1.0
        under, over = np.where(few, middle, under), np.where(few, over, middle)
    chances = _chances(a, n, over)
    chances /= chances.sum(axis=-1, keepdims=True)
    # Two different Bell states agree in one basis only.
    shared = (signs[missing][:, None, :] * signs[None, :, :]) > 0
    shared &= (np.arange(4) != missing[:, None])[..., None]
    found: Floats = np.einsum("nkb,nb->nk", shared, chances)
    return found


def _chances(a: Floats, n: Floats, multiplier: Floats) -> Floats:
    """Solve m u^2 + (n - m) u = A for 0 <= u <= 1 without cancellation."""
    m = multiplier[:, None]
    root = np.sqrt((n - m) ** 2 + 4.0 * m * a)
    falling = np.maximum(n - m + root, np.finfo(np.float64).tiny)
    u: Floats = np.where(n >= m, 2.0 * a / falling, (m - n + root) / (2.0 * np.maximum(m, 0.5)))
    return u


def _observed(tests: Floats) -> Floats:
    """Return the observed correlators; unmeasured ones have the value of largest entropy."""
    shots = tests.sum(axis=-1)
    measured = shots > 0
    seen = np.where(measured, (tests[..., 0] - tests[..., 1]) / np.maximum(shots, 1.0), 0.0)
    others = seen[..., [1, 0, 0]] * seen[..., [2, 2, 1]]
    best: Floats = np.where(measured, seen, others)
    return best


def _intervals(
    names: tuple[str, ...], low: Floats, best: Floats, high: Floats
) -> dict[str, Interval]:
    rows = zip(names, low.tolist(), best.tolist(), high.tolist(), strict=True)
    return {name: Interval(min(lo, mid), mid, max(hi, mid)) for name, lo, mid, hi in rows}


def _dominant(weights: Floats, low: Floats, high: Floats) -> DominantError | None:
    by_name = dict(zip(bell.BELL_STATES, weights.tolist(), strict=True))
    state = max(ERRORS, key=by_name.__getitem__)
    if by_name[state] <= 0.0:
        return None
    basis = _SURVIVES[state]
    certain = all(low[basis] > high[other] for other in range(3) if other != basis)
    return DominantError(state, ERRORS[state], bool(certain))

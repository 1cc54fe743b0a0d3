"""A fidelity interval for a loop that looks after every pair: it holds at all times at once.

A fixed-n interval is wrong as soon as somebody looks while tests come in and acts on what is seen.
Here the chance that the interval *ever* misses the fidelity is at most 1 - confidence, however
often one looks and whenever one stops.

Random-basis tests pass with one chance p whatever the state (:mod:`quantum.estimate`). After s
passes and f fails the mixture martingale ``M(p) = B(a + s, b + f) / (B(a, b) p^s (1 - p)^f)`` has
mean 1 at the true p, so it ever reaches 1 / alpha with a chance of at most alpha (Ville), and
``{p: M(p) < 1 / alpha}`` is the interval (Robbins, Ann. Math. Stat. 41, 1397, 1970; Howard, Ramdas,
McAuliffe and Sekhon, Ann. Stat. 49, 1055, 2021). Nothing is asked of the tests but that each
passes with chance p given those before.

The mixture is Beta(4, 1/2), which looks for pairs of high fidelity. Widths over that of the exact
interval for one look, at F = 0.9, 0.99 and 0.999 after 100 and 1000 tests: 1.40, 1.67; 1.30, 1.57;
1.26, 1.56. Beta(1/2, 1/2) has 1.55, 1.81; 1.56, 1.75; 1.57, 1.83. A hedged betting sequence with
predictable plug-in bets, capped at 1/2 (Waudby-Smith and Ramdas, J. R. Stat. Soc. B 86, 1, 2024),
has 1.37, 1.68; 1.63, 1.46; 1.90, 1.67; it also depends on the order of the tests and needs a grid
over p. Others of its bets were wider somewhere by a third or more. The choice costs width only:
the guarantee holds with any mixture at any F.
"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

from quantum.errors import InputError
from quantum.estimate import Estimate
from quantum.ghz import fidelity_of
from quantum.kernels import kernel
from quantum.program import MOST_QUBITS

__all__ = ["FidelitySequence", "bounds"]

Floats = NDArray[np.float64]

#: The mixture: Beta(_A, _B) over the chance to pass.
_A, _B = 4.0, 0.5


class FidelitySequence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that need be kept of a stream of parity tests: a value that :meth:`add` replaces.

    ``running`` intersects the intervals of all looks, which are the calls of :meth:`add`; ``low``
    and ``high`` hold the intersection. It never grows and keeps the guarantee.

    >>> sequence = FidelitySequence()
    >>> for _ in range(100):
    ...     sequence = sequence.add(passed=1)
    >>> seen = sequence.interval()
    >>> round(seen.low, 4), seen.best, seen.high
    (0.9318, 1.0, 1.0)
    """

    passed: int = 0
    failed: int = 0
    confidence: float = 0.95
    qubits: int = 2
    running: bool = False
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check(self.confidence, self.qubits)
        if self.passed < 0 or self.failed < 0:
            raise InputError(f"counts must be >= 0, got passed={self.passed} failed={self.failed}")

    def add(self, passed: int = 0, failed: int = 0) -> "FidelitySequence":
        """Return the sequence after more tests, one or many."""
        if passed < 0 or failed < 0:
            raise InputError(f"counts must be >= 0, got passed={passed} failed={failed}")
        s, f = self.passed + passed, self.failed + failed
        low, high = self.low, self.high
        if self.running:
            now_low, now_high = _fidelities(s, f, self.confidence, self.qubits)
            low, high = max(low, now_low), min(high, now_high)
        return FidelitySequence(s, f, self.confidence, self.qubits, self.running, low, high)

    @property
    def consistent(self) -> bool:
        """Whether the looks of a running sequence have a fidelity in common.

        If pairs are alike, the chance to ever lose it is at most 1 - confidence. Otherwise the
        fidelity has changed: see :mod:`quantum.estimation.change`.
        """
        return self.low <= self.high

    def interval(self) -> Estimate:
        """Return the fidelity with the interval that holds at all times.

        A running sequence that is no longer consistent returns the interval of its counts alone.
        """
        shots = self.passed + self.failed
        if shots == 0:
            return Estimate(low=0.0, best=0.5, high=1.0, confidence=self.confidence, shots=0)
        low, high = _fidelities(self.passed, self.failed, self.confidence, self.qubits)
        if self.running and self.consistent:
            low, high = max(low, self.low), min(high, self.high)
        best = float(fidelity_of(self.passed / shots, self.qubits))
        return Estimate(
            low=low,
            best=min(max(best, low), high),
            high=high,
            confidence=self.confidence,
            shots=shots,
        )


def bounds(
    passed: ArrayLike, failed: ArrayLike, *, confidence: float = 0.95, qubits: int = 2
) -> tuple[Floats, Floats]:
    """Return the ends (low, high) of the interval for arrays of counts, which broadcast.

    ``low[t], high[t]`` of the running counts of one stream hold for all t at once.

    >>> low, high = bounds([0, 95, 950_000], [0, 5, 50_000])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.786, 0.924], [1.0, 0.986, 0.926])
    """
    _check(confidence, qubits)
    s, f = np.broadcast_arrays(
        np.asarray(passed, dtype=np.float64), np.asarray(failed, dtype=np.float64)
    )
    if not np.all((s >= 0.0) & (s < np.inf) & (f >= 0.0) & (f < np.inf)):
        raise InputError("counts must be finite and >= 0")
    target = np.asarray(_target(s, f, confidence))
    low, high = np.empty(s.shape), np.empty(s.shape)
    _roots_of(s.ravel(), f.ravel(), target.ravel(), low.reshape(-1), high.reshape(-1))
    return (
        np.clip(fidelity_of(low, qubits), 0.0, 1.0),
        np.clip(fidelity_of(high, qubits), 0.0, 1.0),
    )


def _check(confidence: float, qubits: int) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    if not 2 <= qubits <= MOST_QUBITS:
        raise InputError(f"qubits must be between 2 and {MOST_QUBITS}, got {qubits}")


def _target(s: ArrayLike, f: ArrayLike, confidence: float) -> Floats:
    """Return the log-likelihood above which p is in the interval; below 0, always."""
    value: Floats = betaln(_A + np.asarray(s), _B + np.asarray(f)) - betaln(_A, _B)
    return value + math.log1p(-confidence)


def _fidelities(s: int, f: int, confidence: float, qubits: int) -> tuple[float, float]:
    low, high = _roots(float(s), float(f), float(_target(s, f, confidence)))
    ends = fidelity_of(np.array([low, high]), qubits)
    return max(0.0, float(ends[0])), min(1.0, max(0.0, float(ends[1])))


@kernel
def _roots(s: float, f: float, target: float) -> tuple[float, float]:
    """Return the two p at which ``s log p + f log(1 - p)`` is ``target``, 0 or 1 if there is none.

    In the log odds t the log-likelihood is concave, and it lies below both s t and -f t: Newton's
    steps from where these lines meet the target approach the roots from outside, monotonically, and
    what is left of an error widens the interval.
    """
    low, high = 0.0, 1.0
    if s > 0.0:
        low = 1.0 / (1.0 + math.exp(-_newton(s, f, target, target / s)))
    if f > 0.0:
        high = 1.0 / (1.0 + math.exp(_newton(f, s, target, target / f)))
    return low, high


@kernel
def _newton(s: float, f: float, target: float, start: float) -> float:
    """Return the lower root in the log odds, from a ``start`` below it."""
    t = start
    for _ in range(200):
        small = math.exp(-abs(t))
        if t > 0.0:
            value = -f * t - (s + f) * math.log1p(small)
            slope = (s + f) * small / (1.0 + small) - f
        else:
            value = s * t - (s + f) * math.log1p(small)
            slope = s - (s + f) * small / (1.0 + small)
        if slope <= 0.0 or value >= target:
            break  # rounding: the root is here
        step = (target - value) / slope
        t += step
        if step <= 1e-14 * abs(t):
            break
    return t


@kernel
def _roots_of(s: Floats, f: Floats, target: Floats, low: Floats, high: Floats) -> None:
    for i in range(s.size):
        low[i], high[i] = _roots(s[i], f[i], target[i])

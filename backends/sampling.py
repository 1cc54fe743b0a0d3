"""From exact states to counts: what a simulator's detectors click.

The outcome of every test is drawn from its exact distribution, which is the statistics of running
the program shot by shot at a cost that does not depend on the number of shots.
"""

import numpy as np
from numpy.typing import NDArray

from backends.contract import KEEP, RANDOM, Plan, Truth
from quantum.errors import InputError
from quantum.ghz import pass_probability

__all__ = ["check_angles", "check_plan", "pick", "sample"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def check_plan(plan: Plan, size: int, qubits: int = 2) -> Plan:
    """Return the plan, or raise :class:`InputError` where it does not fit ``size`` programs."""
    for name in ("basis", "shots", "draw"):
        shape = getattr(plan, name).shape
        if shape != (size,):
            raise InputError(f"plan.{name} must have shape ({size},), got {shape}")
    if size == 0:
        return plan
    last = 2**qubits - 2
    # RANDOM and KEEP are the two numbers below 0.
    if plan.basis.min() < RANDOM or plan.basis.max() > last:
        raise InputError(f"plan.basis must be {KEEP} (keep), 0-{last} or {RANDOM} (random)")
    if plan.shots.min() < 0:
        raise InputError(f"plan.shots must be >= 0, got {plan.shots.min()}")
    if ((plan.basis == KEEP) & (plan.shots != 0)).any():
        raise InputError("plan.shots must be 0 where a pair is kept")
    if ((plan.draw < 0.0) | (plan.draw >= 1.0)).any():
        raise InputError("plan.draw must be in [0, 1) or NaN")
    return plan


def sample(truth: Truth, plan: Plan, rng: np.random.Generator) -> Ints:
    """Return the counts ``(B, S, 2)`` of a checked plan: S = 2^n - 1 stabilizers by (pass, fail).

    A single shot in a fixed basis with a keyed draw passes when ``draw < p`` and takes nothing from
    ``rng``, so that backends with equal truth agree; every other test draws from ``rng``. A program
    that can never succeed has no pair to test and counts nothing.
    """
    stabilizers = truth.populations.shape[1] - 1
    is_random = plan.basis == RANDOM
    if (is_random & (plan.shots > 0) & (truth.success > 0.0)).all():
        return _random_tests(truth.populations, plan.shots, rng)
    counts = np.zeros((len(plan.basis), stabilizers, 2), dtype=np.int64)
    tested = np.flatnonzero((plan.basis != KEEP) & (plan.shots > 0) & (truth.success > 0.0))
    if len(tested) == 0:
        return counts
    basis, shots, draw = plan.basis[tested], plan.shots[tested], plan.draw[tested]
    chance = pass_probability(truth.populations[tested])
    keyed = (basis != RANDOM) & (shots == 1) & ~np.isnan(draw)

    single = np.flatnonzero(keyed)
    passed = draw[single] < chance[single, basis[single]]
    counts[tested[single], basis[single], np.where(passed, 0, 1)] = 1

    fixed = np.flatnonzero(~keyed & (basis != RANDOM))
    if len(fixed):
        passes = rng.binomial(shots[fixed], chance[fixed, basis[fixed]])
        counts[tested[fixed], basis[fixed], 0] = passes
        counts[tested[fixed], basis[fixed], 1] = shots[fixed] - passes

    random = tested[basis == RANDOM]
    if len(random):
        counts[random] = _random_tests(truth.populations[random], plan.shots[random], rng)
    return counts


def check_angles(angles_rad: Floats, draw: Floats, size: int, qubits: int = 2) -> None:
    """Refuse angles and draws that do not fit ``size`` programs of pairs."""
    if qubits != 2:
        raise InputError(f"angles are for pairs, this program ends with {qubits} qubits")
    if angles_rad.shape != (size, 2) or draw.shape != (size,):
        raise InputError(
            f"angles_rad must have shape ({size}, 2) and draw ({size},), got {angles_rad.shape} "
            f"and {draw.shape}"
        )
    if not np.isfinite(angles_rad).all():
        raise InputError("angles_rad must be finite")
    if ((draw < 0.0) | (draw >= 1.0)).any():
        raise InputError("draw must be in [0, 1) or NaN")


def pick(chances: Floats, success: Floats, draw: Floats, rng: np.random.Generator) -> Ints:
    """Return the outcome (B,), 0 to 3, of each row of ``chances`` (B, 4) that its draw decides.

    Rows sum to 1; where ``draw`` is NaN it is taken from ``rng``; -1 where ``success`` is 0.

    >>> rng = np.random.default_rng(1)
    >>> even = np.full((4, 4), 0.25)
    >>> pick(even, np.ones(4), np.array([0.0, 0.25, 0.6, 0.99]), rng).tolist()
    [0, 1, 2, 3]
    """
    free = np.isnan(draw)
    uniform = draw.copy()
    uniform[free] = rng.random(int(free.sum()))
    # The last chance is what is left, whatever rounding made of the sum.
    bounds = np.cumsum(chances, axis=1)[:, :3]
    both = (uniform[:, None] >= bounds).sum(axis=1).astype(np.int64)
    return np.where(success > 0.0, both, -1)


def _random_tests(weights: Floats, shots: Ints, rng: np.random.Generator) -> Ints:
    """Return the counts ``(B, S, 2)`` of tests whose stabilizers are drawn uniformly."""
    stabilizers = weights.shape[1] - 1
    tests = rng.multinomial(shots, np.full(stabilizers, 1.0 / stabilizers))
    counts = np.empty((*tests.shape, 2), dtype=np.int64)
    counts[..., 0] = rng.binomial(tests, pass_probability(weights))
    np.subtract(tests, counts[..., 0], out=counts[..., 1])
    return counts

"""Execute on a backend under suspicion, and compare what it says with what must come out."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from backends.conformance.systems import System
from backends.contract import RANDOM, Backend, Outcome, Plan, Truth
from quantum import ghz
from quantum.batch import Batch
from quantum.errors import Code, InputError, RequestError
from quantum.seeding import generator

__all__ = [
    "TOLERANCE",
    "Broken",
    "Refused",
    "answer",
    "ask",
    "judge_counts",
    "plan_for",
    "run",
    "shots_for",
    "simulates",
    "single",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Largest difference of an exact result from its formula.
TOLERANCE = 1e-10
#: Chance that the counts of a right backend fail a check (Bonferroni over its tests).
_RARE = 1e-6
_SHOTS = 6000
#: An instrument makes every pair one by one, and only its adding up is judged.
_SHOTS_OF_INSTRUMENTS = 60


class Broken(Exception):
    """The backend does not keep a rule; the message says what was seen."""


class Refused(Exception):
    """The backend cannot do this and says so as it should: no answer, and no fault."""


def plan_for(size: int, basis: int, shots: int, draw: float = np.nan) -> Plan:
    """Return a plan that ends each of ``size`` programs alike."""
    return Plan(np.full(size, basis), np.full(size, shots), np.full(size, draw))


def single(weights: Floats) -> Batch:
    """Return a batch of single fresh pairs with populations ``(B, 4)``."""
    return Batch((("generate", 0, -1),), weights[:, None, :], np.zeros((len(weights), 0, 2)))


def simulates(backend: Backend) -> bool:
    """Whether a backend makes the pairs that are asked for, as told by one fresh pair."""
    return ask(backend, single(np.eye(4)[:1]), plan_for(1, 2, 1)).source == "sim"


def shots_for(backend: Backend) -> int:
    """Return how many shots of each program are enough."""
    return _SHOTS if simulates(backend) else _SHOTS_OF_INSTRUMENTS


def ask(backend: Backend, batch: Batch, plan: Plan, seed: int = 1) -> Outcome:
    """Execute whatever is asked.

    Raises :class:`Refused` where the batch is more than fresh pairs and the answer is UNSUPP, and
    :class:`Broken` where the backend refuses only after it has begun.
    """
    rng = generator(seed, "conformance")
    try:
        return backend.run(batch, plan, rng)
    except (RequestError, InputError) as refused:
        if rng.random() != generator(seed, "conformance").random():
            raise Broken(f"refused only after it had drawn numbers: {refused}") from refused
        unsupported = isinstance(refused, RequestError) and refused.code == Code.UNSUPP
        if unsupported and any(kind != "generate" for kind, _, _ in batch.skeleton):
            raise Refused(str(refused)) from refused
        raise


def run(
    backend: Backend, batch: Batch, plan: Plan, seed: int = 1, success: Floats | None = None
) -> Outcome:
    """Execute, and raise :class:`Broken` for an outcome that no backend may return.

    Only a program that cannot succeed may count nothing: by the truth told or by ``success``.
    Raises also what :func:`ask` raises.
    """
    outcome = ask(backend, batch, plan, seed)
    _check_outcome(outcome, len(batch), batch.qubits, plan, success)
    return outcome


def _check_outcome(
    outcome: Outcome, size: int, qubits: int, plan: Plan, success: Floats | None
) -> None:
    counts = np.asarray(outcome.counts)
    shape = (size, 2**qubits - 1, 2)
    if counts.shape != shape:
        raise Broken(f"counts must have shape {shape}, got {counts.shape}")
    if not np.issubdtype(counts.dtype, np.integer) or counts.min(initial=0) < 0:
        raise Broken(f"counts must be integers >= 0, got {counts.dtype}")
    if outcome.source not in ("sim", "stub", "real"):
        raise Broken(f"source must be sim, stub or real, got {outcome.source!r}")
    never = np.zeros(size, dtype=bool) if success is None else success == 0.0
    if outcome.truth is not None:
        _check_truth(outcome.truth, size, 2**qubits)
        never |= outcome.truth.success == 0.0
    total = counts.sum(axis=(1, 2))
    if not np.all((total == plan.shots) | (never & (total == 0))):
        raise Broken("counts must add up to the shots")


def _check_truth(truth: Truth, size: int, width: int) -> None:
    weights, claimed = truth.populations, truth.success
    if weights.shape != (size, width) or claimed.shape != (size,):
        raise Broken(f"truth must have shapes ({size}, {width}) and ({size},)")
    if not (np.all(np.isfinite(weights)) and np.all(np.isfinite(claimed))):
        raise Broken("truth must be finite")
    if np.any(weights < -TOLERANCE) or np.any(abs(weights.sum(axis=1) - 1.0) > TOLERANCE):
        raise Broken("populations must be >= 0 and sum to 1")
    if np.any((claimed < 0.0) | (claimed > 1.0 + TOLERANCE)):
        raise Broken("success must be between 0 and 1")


def answer(system: System, backend: Backend) -> str:
    """Ask for a system and compare with its closed answer; say how far off it is."""
    batch = system.batch
    plan = plan_for(len(batch), RANDOM, shots_for(backend))
    outcome = run(backend, batch, plan, success=system.success)
    if outcome.source != "sim":
        return f"source is {outcome.source}: only the rules are checked"
    if outcome.truth is None:
        return judge_counts(np.asarray(outcome.counts), system.populations, system.success)
    if np.any(wrong := abs(outcome.truth.success - system.success) > TOLERANCE):
        got, want = outcome.truth.success[wrong][0], system.success[wrong][0]
        raise Broken(f"success must be {want:.9g}, got {got:.9g}")
    possible = system.success > 0.0
    error = abs(outcome.truth.populations - system.populations)[possible]
    if error.max(initial=0.0) > TOLERANCE:
        raise Broken(f"populations differ from the closed form by {error.max():.2g}")
    judge_counts(np.asarray(outcome.counts), system.populations, system.success)
    return f"largest difference {error.max(initial=0.0):.1g}"


def judge_counts(counts: Ints, weights: Floats, success: Floats) -> str:
    """Compare the passes of every program with their exact chance."""
    possible = success > 0.0
    chance = ghz.pass_probability(weights)[possible]
    passed, shots = counts[possible, :, 0], counts[possible].sum(axis=2)
    if np.any(shots.sum(axis=1) == 0):
        raise Broken("a pair that exists was not tested")
    tail = np.minimum(
        _at_least(passed, shots, chance), _at_least(shots - passed, shots, 1 - chance)
    )
    if tail.min(initial=1.0) < _RARE / max(1, tail.size):
        at = np.unravel_index(tail.argmin(), tail.shape)
        name = ghz.labels(ghz.qubits_of(weights.shape[1]))[at[1]]
        raise Broken(
            f"{passed[at]} of {shots[at]} tests in {name} passed, "
            f"expected a share of {chance[at]:.4f}"
        )
    return f"{shots.sum()} tests agree"


def _at_least(passed: Ints, shots: Ints, chance: Floats) -> Floats:
    """Return the binomial chance of that many passes or more."""
    some = passed > 0
    inside = betainc(np.where(some, passed, 1), np.where(some, shots - passed + 1, 1), chance)
    tail: Floats = np.where(some, inside, 1.0)
    return tail

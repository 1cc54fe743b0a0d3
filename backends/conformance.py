"""A kit for anybody's backend: systems with closed answers, and the rules of the contract.

``check_backend(backend)`` asks for small ensembles whose answer is known by formula. A simulator
that tells its truth is compared with the formula itself; one that does not is judged by its counts,
with an exact binomial interval that a right backend leaves once in a million. On hardware and its
stubs the program's populations are only what was asked for, so only the rules are checked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from backends.contract import KEEP, RANDOM, Backend, Outcome, Plan
from backends.systems import SYSTEMS, System
from quantum import bell
from quantum.batch import Batch
from quantum.errors import Code, DpemError, RequestError
from quantum.seeding import generator

__all__ = ["Check", "check_backend"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Largest difference of an exact result from its formula.
_TOLERANCE = 1e-9
#: Chance that the counts of a right backend fail a check (Bonferroni over its tests).
_RARE = 1e-6
_SHOTS = 6000

#: What a foreign backend may throw; anything else is a reason to stop.
_THROWN = (
    DpemError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True)
class Check:
    """One rule, whether the backend keeps it, and what was seen."""

    name: str
    ok: bool
    detail: str


class _Broken(Exception):
    """The backend does not keep a rule; the message says what was seen."""


Rule = Callable[[Backend], str]


def check_backend(backend: Backend) -> list[Check]:
    """Run all checks, each on its own; none depends on an earlier one."""
    return [_judge(name, rule, backend) for name, rule in _rules()]


def _judge(name: str, rule: Rule, backend: Backend) -> Check:
    try:
        return Check(name, True, rule(backend))
    except _Broken as broken:
        return Check(name, False, str(broken))
    except _THROWN as thrown:
        return Check(name, False, f"raised {type(thrown).__name__}: {thrown}")


def _rules() -> Iterator[tuple[str, Rule]]:
    yield "has a name", _named
    for system in SYSTEMS:
        yield (
            f"system {system.name}",
            partial(_closed_answer, system),
        )
    yield "bell states by basis", _bell_states
    yield "counts land in their basis", _basis
    yield "keep counts nothing", _keep
    yield "draws decide single shots", _draws
    yield "same generator, same counts", _reproducible
    yield "random bases are uniform", _uniform_bases
    yield "a batch of none", _empty
    yield "order of the batch", _order
    yield "close twice", _close


def _run(
    backend: Backend, batch: Batch, plan: Plan, seed: int = 1, success: Floats | None = None
) -> Outcome:
    """Execute, and refuse an outcome that no backend may return.

    Only a program that cannot succeed may count nothing: by the truth told or by ``success``.
    """
    outcome = backend.run(batch, plan, generator(seed, "conformance"))
    size = len(batch)
    counts = np.asarray(outcome.counts)
    if counts.shape != (size, 3, 2):
        raise _Broken(f"counts must have shape ({size}, 3, 2), got {counts.shape}")
    if not np.issubdtype(counts.dtype, np.integer) or counts.min(initial=0) < 0:
        raise _Broken(f"counts must be integers >= 0, got {counts.dtype}")
    if outcome.source not in ("sim", "stub", "real"):
        raise _Broken(f"source must be sim, stub or real, got {outcome.source!r}")
    never = np.zeros(size, dtype=bool) if success is None else success == 0.0
    if outcome.truth is not None:
        weights, claimed = outcome.truth.populations, outcome.truth.success
        if weights.shape != (size, 4) or claimed.shape != (size,):
            raise _Broken(f"truth must have shapes ({size}, 4) and ({size},)")
        if not (np.all(np.isfinite(weights)) and np.all(np.isfinite(claimed))):
            raise _Broken("truth must be finite")
        if np.any(weights < -_TOLERANCE) or np.any(abs(weights.sum(axis=1) - 1.0) > _TOLERANCE):
            raise _Broken("populations must be >= 0 and sum to 1")
        if np.any((claimed < 0.0) | (claimed > 1.0 + _TOLERANCE)):
            raise _Broken("success must be between 0 and 1")
        never |= claimed == 0.0
    total = counts.sum(axis=(1, 2))
    if not np.all((total == plan.shots) | (never & (total == 0))):
        raise _Broken("counts must add up to the shots")
    return outcome


def _plan(size: int, basis: int, shots: int, draw: float = np.nan) -> Plan:
    return Plan(np.full(size, basis), np.full(size, shots), np.full(size, draw))


def _fresh(weights: Floats) -> Batch:
    """Return a batch of single fresh pairs with populations ``(B, 4)``."""
    return Batch((("generate", 0, -1),), weights[:, None, :], np.zeros((len(weights), 0, 2)))


def _named(backend: Backend) -> str:
    if not (isinstance(backend.name, str) and backend.name):
        raise _Broken("name must be a non-empty string")
    if not isinstance(backend.keeps, bool):
        raise _Broken("keeps must be a bool")
    return backend.name


def _closed_answer(system: System, backend: Backend) -> str:
    batch = system.batch
    outcome = _run(backend, batch, _plan(len(batch), RANDOM, _SHOTS), success=system.success)
    if outcome.source != "sim":
        return f"source is {outcome.source}: only the rules are checked"
    if outcome.truth is None:
        return _judge_counts(np.asarray(outcome.counts), system.populations, system.success)
    if np.any(wrong := abs(outcome.truth.success - system.success) > _TOLERANCE):
        got, want = outcome.truth.success[wrong][0], system.success[wrong][0]
        raise _Broken(f"success must be {want:.9g}, got {got:.9g}")
    possible = system.success > 0.0
    error = abs(outcome.truth.populations - system.populations)[possible]
    if error.max(initial=0.0) > _TOLERANCE:
        raise _Broken(f"populations differ from the closed form by {error.max():.2g}")
    _judge_counts(np.asarray(outcome.counts), system.populations, system.success)
    return f"largest difference {error.max(initial=0.0):.1g}"


def _judge_counts(counts: Ints, weights: Floats, success: Floats) -> str:
    """Compare the passes of every program with their exact chance."""
    possible = success > 0.0
    chance = bell.pass_probability(weights)[possible]
    passed, shots = counts[possible, :, 0], counts[possible].sum(axis=2)
    if np.any(shots.sum(axis=1) == 0):
        raise _Broken("a pair that exists was not tested")
    tail = np.minimum(
        _at_least(passed, shots, chance), _at_least(shots - passed, shots, 1 - chance)
    )
    if tail.min(initial=1.0) < _RARE / max(1, tail.size):
        at = np.unravel_index(tail.argmin(), tail.shape)
        raise _Broken(
            f"{passed[at]} of {shots[at]} tests in {bell.BASES[at[1]]} passed, "
            f"expected a share of {chance[at]:.4f}"
        )
    return f"{shots.sum()} tests agree"


def _at_least(passed: Ints, shots: Ints, chance: Floats) -> Floats:
    """Return the binomial chance of that many passes or more."""
    some = passed > 0
    inside = betainc(np.where(some, passed, 1), np.where(some, shots - passed + 1, 1), chance)
    tail: Floats = np.where(some, inside, 1.0)
    return tail


def _simulates(backend: Backend) -> bool:
    batch = _fresh(np.eye(4)[:1])
    return backend.run(batch, _plan(1, 2, 1), generator(1, "conformance")).source == "sim"


def _bell_states(backend: Backend) -> str:
    """The four Bell states have twelve certain answers."""
    if not _simulates(backend):
        return "not a simulator: not checked"
    for basis in range(3):
        outcome = _run(backend, _fresh(np.eye(4)), _plan(4, basis, 50))
        passes = bell.correlators(np.eye(4))[:, basis] > 0.0
        if not np.array_equal(outcome.counts[:, basis, 0], np.where(passes, 50, 0)):
            raise _Broken(
                f"{bell.BASES[basis]} of {', '.join(bell.BELL_STATES)}: passes must be "
                f"{np.where(passes, 50, 0).tolist()}, got {outcome.counts[:, basis, 0].tolist()}"
            )
    return "12 certain answers"


def _basis(backend: Backend) -> str:
    for basis in range(3):
        outcome = _run(backend, _fresh(bell.werner([0.9, 0.8])), _plan(2, basis, 20))
        if np.any(np.delete(outcome.counts, basis, axis=1)):
            raise _Broken(f"a plan in {bell.BASES[basis]} was counted in another basis")
    return "xx, yy, zz"


def _keep(backend: Backend) -> str:
    batch, plan = _fresh(bell.werner([0.9, 0.8])), _plan(2, KEEP, 0)
    if backend.keeps:
        _run(backend, batch, plan)
        return "kept"
    try:
        _run(backend, batch, plan)
    except RequestError as refused:
        if refused.code != Code.UNSUPP:
            raise _Broken(f"a keep must be refused with UNSUPP, got {refused.code}") from refused
        return "refused with UNSUPP"
    raise _Broken("keeps is False, but a keep was not refused")


def _draws(backend: Backend) -> str:
    """A keyed draw passes exactly when it is below the chance."""
    if not _simulates(backend):
        return "not a simulator: not checked"
    draw = np.linspace(0.0, 0.999, 200)
    batch = _fresh(np.repeat(bell.werner([0.7]), len(draw), axis=0))
    for basis in range(3):
        plan = Plan(np.full(len(draw), basis), np.ones(len(draw), dtype=np.int64), draw)
        outcome = _run(backend, batch, plan)
        # Werner 0.7: passes with (1 + (4F-1)/3) / 2 = 0.8 in every basis.
        if not np.array_equal(outcome.counts[:, basis, 0] == 1, draw < 0.8):
            raise _Broken(f"{bell.BASES[basis]}: a single shot must pass when its draw < p")
    return f"{3 * len(draw)} draws"


def _reproducible(backend: Backend) -> str:
    if not _simulates(backend):
        return "not a simulator: not checked"
    batch, plan = _fresh(bell.werner(np.full(20, 0.8))), _plan(20, RANDOM, 500)
    first, again, other = (_run(backend, batch, plan, seed).counts for seed in (1, 1, 2))
    if not np.array_equal(first, again):
        raise _Broken("the same generator gave other counts")
    if np.array_equal(first, other):
        raise _Broken("another generator gave the same counts: it is ignored")
    return "repeats, and differs for another seed"


def _uniform_bases(backend: Backend) -> str:
    outcome = _run(backend, _fresh(bell.werner(np.full(10, 0.8))), _plan(10, RANDOM, _SHOTS))
    by_basis = outcome.counts.sum(axis=(0, 2))
    expected = by_basis.sum() / 3.0
    # Five and a half standard deviations of a binomial with p = 1/3.
    if np.any(abs(by_basis - expected) > 5.5 * np.sqrt(expected * 2.0 / 3.0)):
        raise _Broken(f"random bases must be uniform, got {by_basis.tolist()}")
    return f"{by_basis.tolist()}"


def _empty(backend: Backend) -> str:
    _run(backend, _fresh(np.empty((0, 4))), _plan(0, RANDOM, 0))
    return "answered with nothing"


def _order(backend: Backend) -> str:
    """Results belong to their programs, whatever the batch around them."""
    weights = bell.werner(np.linspace(0.3, 1.0, 300))
    outcome = _run(backend, _fresh(weights), _plan(len(weights), RANDOM, 300))
    if outcome.source == "sim":
        _judge_counts(np.asarray(outcome.counts), weights, np.ones(len(weights)))
    return f"{len(weights)} programs"


def _close(backend: Backend) -> str:
    backend.close()
    backend.close()
    return "closed"

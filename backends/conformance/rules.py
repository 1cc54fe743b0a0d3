"""The rules of the contract that no closed answer shows: each a function that says what it saw."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from backends.conformance.answers import (
    TOLERANCE,
    Broken,
    Refused,
    judge_counts,
    plan_for,
    run,
    shots_for,
    simulates,
    single,
)
from backends.contract import KEEP, RANDOM, Backend, Plan
from quantum import bell
from quantum.batch import Batch, Skeleton
from quantum.errors import Code, RequestError
from quantum.program import Gates, Memory
from quantum.seeding import generator

__all__ = [
    "bell_states",
    "close_twice",
    "counts_land",
    "draws_decide",
    "empty",
    "keep",
    "named",
    "one_outcome",
    "order",
    "reproducible",
    "split",
    "uniform_bases",
    "uniform_stabilizers",
]

Ints = NDArray[np.int64]

_NOT_A_SIMULATOR = "not a simulator: not checked"


def named(backend: Backend) -> str:
    """A backend has a name and knows whether it keeps pairs."""
    if not (isinstance(backend.name, str) and backend.name):
        raise Broken("name must be a non-empty string")
    if not isinstance(backend.keeps, bool):
        raise Broken("keeps must be a bool")
    return backend.name


def bell_states(backend: Backend) -> str:
    """The four Bell states have twelve certain answers."""
    if not simulates(backend):
        return _NOT_A_SIMULATOR
    for basis in range(3):
        outcome = run(backend, single(np.eye(4)), plan_for(4, basis, 50))
        passes = bell.correlators(np.eye(4))[:, basis] > 0.0
        if not np.array_equal(outcome.counts[:, basis, 0], np.where(passes, 50, 0)):
            raise Broken(
                f"{bell.BASES[basis]} of {', '.join(bell.BELL_STATES)}: passes must be "
                f"{np.where(passes, 50, 0).tolist()}, got {outcome.counts[:, basis, 0].tolist()}"
            )
    return "12 certain answers"


def counts_land(backend: Backend) -> str:
    """A test in a basis is counted in that basis."""
    for basis in range(3):
        outcome = run(backend, single(bell.werner([0.9, 0.8])), plan_for(2, basis, 20))
        if np.any(np.delete(outcome.counts, basis, axis=1)):
            raise Broken(f"a plan in {bell.BASES[basis]} was counted in another basis")
    return "xx, yy, zz"


def keep(backend: Backend) -> str:
    """A kept pair counts nothing; who cannot keep says UNSUPP."""
    batch, plan = single(bell.werner([0.9, 0.8])), plan_for(2, KEEP, 0)
    if backend.keeps:
        run(backend, batch, plan)
        return "kept"
    try:
        run(backend, batch, plan)
    except RequestError as refused:
        if refused.code != Code.UNSUPP:
            raise Broken(f"a keep must be refused with UNSUPP, got {refused.code}") from refused
        raise Refused(str(refused)) from refused
    raise Broken("keeps is False, but a keep was not refused")


def draws_decide(backend: Backend) -> str:
    """A keyed draw passes exactly when it is below the chance."""
    if not simulates(backend):
        return _NOT_A_SIMULATOR
    draw = np.linspace(0.0, 0.999, 200)
    batch = single(np.repeat(bell.werner([0.7]), len(draw), axis=0))
    for basis in range(3):
        plan = Plan(np.full(len(draw), basis), np.ones(len(draw), dtype=np.int64), draw)
        outcome = run(backend, batch, plan)
        # Werner 0.7: passes with (1 + (4F-1)/3) / 2 = 0.8 in every basis.
        if not np.array_equal(outcome.counts[:, basis, 0] == 1, draw < 0.8):
            raise Broken(f"{bell.BASES[basis]}: a single shot must pass when its draw < p")
    return f"{3 * len(draw)} draws"


def one_outcome(backend: Backend) -> str:
    """A physical pair is tested once: k shots are k pairs and k outcomes, however few."""
    often = 250 if simulates(backend) else 5
    shots = np.array([1, 1, 2, 1, 7, 0, 1, 3] * often)
    basis = np.array([0, RANDOM, 1, 2, RANDOM, 0, RANDOM, 2] * often)
    weights = np.tile(bell.werner([0.7]), (len(shots), 1))
    outcome = run(backend, single(weights), Plan(basis, shots, np.full(len(shots), np.nan)))
    counts = np.asarray(outcome.counts)
    if not np.array_equal(counts.sum(axis=(1, 2)), shots):
        raise Broken("every shot of every program must give exactly one outcome")
    if outcome.source == "sim":
        # Pairs of one kind: the few tests of each make one sample.
        judge_counts(counts.sum(axis=0, keepdims=True), weights[:1], np.ones(1))
    return f"{shots.sum()} tests of {len(shots)} programs"


def reproducible(backend: Backend) -> str:
    """The generator given decides all counts."""
    if not simulates(backend):
        return _NOT_A_SIMULATOR
    batch, plan = single(bell.werner(np.full(20, 0.8))), plan_for(20, RANDOM, 500)
    first, again, other = (run(backend, batch, plan, seed).counts for seed in (1, 1, 2))
    if not np.array_equal(first, again):
        raise Broken("the same generator gave other counts")
    if np.array_equal(first, other):
        raise Broken("another generator gave the same counts: it is ignored")
    return "repeats, and differs for another seed"


def uniform_bases(backend: Backend) -> str:
    """Random bases of pairs are uniform."""
    return _uniform(backend, single(bell.werner(np.full(10, 0.8))))


def uniform_stabilizers(backend: Backend) -> str:
    """Random stabilizers of registers are uniform."""
    steps: Skeleton = (("generate", 0, -1), ("generate", 1, -1), ("merge_last", 0, 1))
    links = np.tile(bell.werner(0.8), (10, 2, 1))
    return _uniform(backend, Batch(steps, links, np.zeros((10, 0, 2))))


def _uniform(backend: Backend, batch: Batch) -> str:
    outcome = run(backend, batch, plan_for(len(batch), RANDOM, shots_for(backend)))
    by_basis = outcome.counts.sum(axis=(0, 2))
    share = 1.0 / len(by_basis)
    expected = by_basis.sum() * share
    # Five and a half standard deviations of a binomial.
    if np.any(abs(by_basis - expected) > 5.5 * np.sqrt(expected * (1.0 - share))):
        raise Broken(f"random bases must be uniform, got {by_basis.tolist()}")
    return f"{by_basis.tolist()}"


def empty(backend: Backend) -> str:
    """A batch of no programs has no results."""
    run(backend, single(np.empty((0, 4))), plan_for(0, RANDOM, 0))
    return "answered with nothing"


def order(backend: Backend) -> str:
    """Results belong to their programs, whatever the batch around them."""
    if not simulates(backend):
        return _NOT_A_SIMULATOR
    weights = bell.werner(np.linspace(0.3, 1.0, 300))
    outcome = run(backend, single(weights), plan_for(len(weights), RANDOM, 300))
    judge_counts(np.asarray(outcome.counts), weights, np.ones(len(weights)))
    return f"{len(weights)} programs"


def split(backend: Backend) -> str:
    """A program's exact result does not depend on what else is in the batch."""
    if not simulates(backend):
        return _NOT_A_SIMULATOR
    batch = _varied_chains(60)
    draw = generator(0, "conformance split").uniform(size=len(batch))
    plan = replace(plan_for(len(batch), 0, 1), draw=draw)
    whole = run(backend, batch, plan)
    for cuts in ((0, 1, 60), (0, 20, 40, 60), (0, 59, 60)):
        for start, stop in pairwise(cuts):
            rows = slice(start, stop)
            part = Plan(plan.basis[rows], plan.shots[rows], plan.draw[rows])
            outcome = run(backend, batch.part(start, stop), part)
            if whole.truth is not None and outcome.truth is not None:
                error = abs(outcome.truth.populations - whole.truth.populations[rows]).max()
                error = max(error, abs(outcome.truth.success - whole.truth.success[rows]).max())
                if error > TOLERANCE:
                    raise Broken(f"programs {start} to {stop} alone differ by {error:.2g}")
            if not np.array_equal(outcome.counts, whole.counts[rows]):
                raise Broken(f"programs {start} to {stop} alone gave other outcomes of their draws")
    return "60 programs in 1, 2 and 3 parts"


def _varied_chains(size: int) -> Batch:
    """Return chains of two links, no two programs alike."""
    rng = generator(1, "conformance split")
    steps: Skeleton = (
        ("generate", 0, -1),
        ("wait", 0, -1),
        ("generate", 1, -1),
        ("wait", 1, -1),
        ("swap", 0, 1),
    )
    links = rng.dirichlet([8.0, 1.0, 1.0, 1.0], (size, 2))
    waits = rng.uniform(0.0, 0.5, (size, 2, 2))
    return Batch(steps, links, waits, Memory(t1_s=1.0, t2_s=0.7), Gates(gate_depolarizing=0.02))


def close_twice(backend: Backend) -> str:
    """Closing is safe, also again."""
    backend.close()
    backend.close()
    return "closed"

"""Staged execution: jobs level by level, with states that leave Aer and enter it again."""

from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from backends.aer import states
from backends.aer.lowering import lower
from backends.aer.schedule import Job, levels, schedule
from backends.aer.tape import Tape, side_by_side
from backends.contract import Truth
from quantum.batch import Batch, Skeleton
from quantum.werner import IMPOSSIBLE

__all__ = ["Path", "at_once", "cost_s", "execute", "heralded", "joined"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]

#: Programs in memory at once: a chain of five needs some 20 kB of matrices.
_AT_ONCE = 3000
#: Elements of density matrices in memory at once, which is what limits large registers.
_ELEMENTS = 2**22


class Path(Protocol):
    """A way into Aer."""

    name: str

    def play(self, tape: Tape) -> Complex:
        """Return the density matrices ``(B, d, d)`` of the tape's saved qubits."""


def execute(path: Path, batch: Batch) -> Truth:
    """Return the end states that Aer computes for a checked batch.

    Populations are conditional on success; where success never happens they are those of the fully
    mixed state. The state of a program does not depend on the batch around it, to the last bit.
    """
    size, recipe = len(batch), _recipe(batch.skeleton)
    if size > recipe.at_once:
        step = recipe.at_once
        return joined([execute(path, batch.part(i, i + step)) for i in range(0, size, step)])
    jobs = recipe.jobs
    if size == 0:
        return Truth(populations=np.empty((0, 2 ** jobs[-1].qubits)), success=np.empty(0))
    success = np.full(size, batch.gates.success**recipe.fallible)
    stored: dict[int, Complex] = {}
    for groups in recipe.levels:
        for numbers in groups:
            tape = side_by_side([lower(jobs[n], batch, stored) for n in numbers])
            saved = path.play(tape)
            if tape.heralded:
                saved, chance = heralded(saved)
                for part in np.split(chance, len(numbers)):
                    success = success * part
            for place, number in enumerate(numbers):
                stored[number] = saved[place * size : (place + 1) * size]
    weights = states.populations(stored[len(jobs) - 1])
    if not success.all():
        weights[success == 0.0] = 1.0 / weights.shape[1]
    weights = np.minimum(np.maximum(weights, 0.0, out=weights), 1.0, out=weights)
    return Truth(populations=weights, success=success)


class _Recipe(NamedTuple):
    """What is known of all batches of a skeleton: its jobs and how many programs go together."""

    jobs: tuple[Job, ...]
    levels: list[list[list[int]]]
    fallible: int
    at_once: int
    cost_s: float


@lru_cache(maxsize=256)
def _recipe(skeleton: Skeleton) -> _Recipe:
    jobs = schedule(skeleton)
    fallible = sum(kind in ("swap", "merge_first", "merge_last") for kind, _, _ in skeleton)
    most = max(1, min(_AT_ONCE, _ELEMENTS // max(4**job.width for job in jobs)))
    # About 10 us for each pair that enters, and what large states take.
    cost_s = sum(len(job.operands) * (1e-5 + 5e-8 * 4**job.width) for job in jobs)
    return _Recipe(jobs, levels(jobs), fallible, most, cost_s)


def at_once(batch: Batch) -> int:
    """Return how many programs of a batch are executed together."""
    return _recipe(batch.skeleton).at_once


def cost_s(batch: Batch) -> float:
    """Return about how many seconds of one core a batch takes on the direct path."""
    return len(batch) * _recipe(batch.skeleton).cost_s


def joined(parts: list[Truth]) -> Truth:
    """Return what is known of all programs of a batch from what is known of its parts."""
    return Truth(
        populations=np.concatenate([part.populations for part in parts]),
        success=np.concatenate([part.success for part in parts]),
    )


def heralded(saved: Complex) -> tuple[Complex, Floats]:
    """Return (pairs given success ``(B, 4, 4)``, chance ``(B,)``) of states ``(B, 8, 8)``.

    The third qubit is the herald, and 0 is success. Where success never happens the pair is fully
    mixed.
    """
    pairs = saved[:, :4, :4]
    chance = np.trace(pairs, axis1=1, axis2=2).real
    if np.isnan(chance).any():
        raise RuntimeError("Aer answered with numbers that are none")
    possible = chance > IMPOSSIBLE
    if possible.all():
        return pairs / chance[:, None, None], chance
    mixed = np.eye(4, dtype=complex) / 4.0
    given = pairs / np.where(possible, chance, 1.0)[:, None, None]
    return np.where(possible[:, None, None], given, mixed), np.where(possible, chance, 0.0)

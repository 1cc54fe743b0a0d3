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

__all__ = ["Path", "analyse", "at_once", "cost_s", "execute", "heralded", "joined"]

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
    if size == 0:
        return Truth(populations=np.empty((0, 2 ** recipe.jobs[-1].qubits)), success=np.empty(0))
    left, success = _played(path, batch)
    weights = states.populations(left)
    if not success.all():
        weights[success == 0.0] = 1.0 / weights.shape[1]
    weights = np.minimum(np.maximum(weights, 0.0, out=weights), 1.0, out=weights)
    return Truth(populations=weights, success=success)


def analyse(path: Path, batch: Batch, angles_rad: Floats) -> tuple[Floats, Floats]:
    """Return (chances ``(B, 4)`` of the results 00, 01, 10, 11, success ``(B,)``).

    ``angles_rad`` (B, 2): the pairs' qubits are turned in their circuits before they are measured,
    so the diagonal of the state that Aer saves is what detectors see.
    """
    size, step = len(batch), _recipe(batch.skeleton).at_once
    chances, success = np.empty((size, 4)), np.empty(size)
    for start in range(0, size, step):
        part = slice(start, start + step)
        left, success[part] = _played(path, batch.part(start, start + step), angles_rad[part])
        diagonal = np.diagonal(left, axis1=1, axis2=2).real
        # The left qubit is the less significant in Aer, the more significant in the results.
        chances[part] = np.clip(diagonal[:, [0, 2, 1, 3]], 0.0, 1.0)
    return chances, success


def _played(path: Path, batch: Batch, angles_rad: Floats | None = None) -> tuple[Complex, Floats]:
    """Return the states ``(B, d, d)`` that are left, given success, and its chance ``(B,)``."""
    size, recipe = len(batch), _recipe(batch.skeleton)
    jobs = recipe.jobs
    success = np.full(size, batch.gates.success**recipe.fallible)
    stored: dict[int, Complex] = {}
    for groups in recipe.levels:
        for numbers in groups:
            last = len(jobs) - 1
            turns = [angles_rad if n == last else None for n in numbers]
            tape = side_by_side(
                [
                    lower(jobs[n], batch, stored, turn)
                    for n, turn in zip(numbers, turns, strict=True)
                ]
            )
            saved = path.play(tape)
            if tape.heralded:
                saved, chance = heralded(saved)
                for part in np.split(chance, len(numbers)):
                    success = success * part
            for place, number in enumerate(numbers):
                stored[number] = saved[place * size : (place + 1) * size]
    return stored[len(jobs) - 1], success


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

"""Staged execution: jobs level by level, with states that leave Aer and enter it again."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backends.aer import channels
from backends.aer.lowering import Tape, lower, side_by_side
from backends.aer.schedule import levels, schedule
from backends.contract import Truth
from quantum.batch import Batch
from quantum.werner import IMPOSSIBLE

__all__ = ["Path", "execute", "heralded"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]


#: Programs in memory at once: a chain of five needs some 20 kB of matrices.
_AT_ONCE = 3000


class Path(Protocol):
    """A way into Aer."""

    name: str

    def play(self, tape: Tape) -> Complex:
        """Return the density matrices ``(B, d, d)`` of the tape's saved qubits."""


def execute(path: Path, batch: Batch) -> Truth:
    """Return the end states that Aer computes for a batch.

    Populations are conditional on success; where success never happens they are those of the fully
    mixed state.
    """
    size = len(batch)
    if size == 0:
        return Truth(populations=np.empty((0, 4)), success=np.empty(0))
    if size > _AT_ONCE:
        parts = [execute(path, batch.part(i, i + _AT_ONCE)) for i in range(0, size, _AT_ONCE)]
        return Truth(
            populations=np.concatenate([part.populations for part in parts]),
            success=np.concatenate([part.success for part in parts]),
        )
    swaps = sum(kind == "swap" for kind, _, _ in batch.skeleton)
    success = np.full(size, float(batch.gates.success) ** swaps)
    jobs = schedule(batch.skeleton)
    stored: dict[int, Complex] = {}
    for groups in levels(jobs):
        for numbers in groups:
            tape = side_by_side([lower(jobs[n], batch, stored) for n in numbers])
            saved = path.play(tape)
            for place, number in enumerate(numbers):
                stored[number], chance = heralded(saved[place * size : (place + 1) * size])
                success = success * chance
    weights = channels.populations(stored[len(jobs) - 1])
    weights[success == 0.0] = 0.25
    return Truth(populations=np.clip(weights, 0.0, 1.0), success=success)


def heralded(states: Complex) -> tuple[Complex, Floats]:
    """Return (pairs given success ``(B, 4, 4)``, chance ``(B,)``) of saved states.

    The third qubit, where there is one, is the herald, and 0 is success. Where success never
    happens the pair is fully mixed.
    """
    pairs = states[:, :4, :4]
    # Hundreds of programs in one circuit let the trace drift by 1e-14: everything is relative.
    chance = _trace(pairs) / _trace(states)
    possible = chance > IMPOSSIBLE
    pairs = pairs / np.where(possible, _trace(pairs), 1.0)[:, None, None]
    if possible.all():
        return pairs, chance
    mixed = np.eye(4, dtype=complex) / 4.0
    return np.where(possible[:, None, None], pairs, mixed), np.where(possible, chance, 0.0)


def _trace(states: Complex) -> Floats:
    trace: Floats = np.trace(states, axis1=1, axis2=2).real
    return trace

"""What photonic links can be asked for: single pairs, measured as they come."""

import numpy as np
from numpy.typing import NDArray

from backends.contract import KEEP, RANDOM, Plan
from quantum.batch import Batch
from quantum.errors import Code, RequestError

__all__ = ["refuse", "tests_of"]

Ints = NDArray[np.int64]


def refuse(batch: Batch, plan: Plan) -> None:
    """Raise :class:`RequestError` for whatever a photonic rack cannot do."""
    kinds = [kind for kind, _, _ in batch.skeleton if kind != "wait"]
    if kinds not in (["generate"], ["load"]):
        raise RequestError(
            Code.UNSUPP, "the lab backend tests single pairs, without swap or distill"
        )
    if batch.waits_s.size and batch.waits_s.max() > 0.0:
        raise RequestError(Code.UNSUPP, "the lab backend has no memory: every wait must be 0 s")
    if np.any(plan.basis == KEEP):
        raise RequestError(Code.UNSUPP, "the lab backend measures pairs and cannot keep them")


def tests_of(plan: Plan, rng: np.random.Generator) -> Ints:
    """Return the shots of each program in each basis, (B, 3); random bases are drawn here."""
    wanted = np.zeros((len(plan.basis), 3), dtype=np.int64)
    for number, (basis, shots) in enumerate(zip(plan.basis, plan.shots, strict=True)):
        if basis == RANDOM:
            wanted[number] = rng.multinomial(shots, [1.0 / 3.0] * 3)
        else:
            wanted[number, basis] = shots
    return wanted

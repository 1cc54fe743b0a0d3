"""Programs of one skeleton, stacked into arrays: what backends execute.

The *skeleton* of a program is its steps on its pairs without their numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantum.bell import density_matrix
from quantum.errors import InputError
from quantum.program import (
    Distill,
    Gates,
    Generate,
    Load,
    Measure,
    Memory,
    Merge,
    Program,
    Step,
    Swap,
    Wait,
    check,
)

__all__ = ["CONSUMING", "Batch", "Kind", "Skeleton", "check_batch", "skeleton", "stack"]

Floats = NDArray[np.float64]

Kind = Literal[
    "generate",
    "load",
    "wait",
    "dejmps",
    "bbpssw",
    "epl",
    "swap",
    "merge_first",
    "merge_last",
]
Skeleton = tuple[tuple[Kind, int, int], ...]

#: Steps after which the second pair is gone.
CONSUMING = frozenset({"dejmps", "bbpssw", "epl", "swap", "merge_first", "merge_last"})


def _none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class Batch:
    """Programs of one skeleton, stacked: B programs, G generated and L loaded pairs, W waits each.

    ``populations`` is ``(B, G, 4)``, ``waits_s`` is ``(B, W, 2)``, ``states`` (Pauli expectations
    of loaded pairs) is ``(B, L, 4, 4)`` and ``attempts`` is ``(B, W, 2)``, all in the order in
    which the skeleton names them. A skeleton step is ``(kind, first pair, second pair or -1)``.
    """

    skeleton: Skeleton
    populations: Floats
    waits_s: Floats
    memory: Memory = Memory()
    gates: Gates = Gates()
    states: Floats = field(default_factory=_none)
    attempts: Floats = field(default_factory=_none)

    def __post_init__(self) -> None:
        if self.states.shape == (0,):
            object.__setattr__(self, "states", np.empty((len(self), 0, 4, 4)))
        if self.attempts.shape == (0,):
            object.__setattr__(self, "attempts", np.zeros_like(self.waits_s))

    def __len__(self) -> int:
        return int(self.populations.shape[0])

    @property
    def last_pair(self) -> int:
        """The pair or register that is left at the end."""
        gone = {second for kind, _, second in self.skeleton if kind in CONSUMING}
        return next(
            first
            for kind, first, _ in self.skeleton
            if kind in ("generate", "load") and first not in gone
        )

    @property
    def qubits(self) -> int:
        """Qubits of what is left at the end: 2 for a pair."""
        sizes: dict[int, int] = {}
        for kind, first, second in self.skeleton:
            if kind in ("generate", "load"):
                sizes[first] = 2
            elif kind in ("merge_first", "merge_last"):
                sizes[first] += sizes[second] - 1
        return sizes[self.last_pair]

    def part(self, start: int, stop: int) -> "Batch":
        """Return the programs from ``start`` to before ``stop``."""
        return replace(
            self,
            populations=self.populations[start:stop],
            waits_s=self.waits_s[start:stop],
            states=self.states[start:stop],
            attempts=self.attempts[start:stop],
        )


def skeleton(program: Program) -> Skeleton:
    """Return the steps without their numbers; a measurement is not part of it."""
    out: list[tuple[Kind, int, int]] = []
    for step in program.steps:
        match step:
            case Generate(pair):
                out.append(("generate", pair, -1))
            case Load(pair):
                out.append(("load", pair, -1))
            case Wait(pair):
                out.append(("wait", pair, -1))
            case Distill(keep, spend, protocol):
                out.append((protocol, keep, spend))
            case Swap(left, right):
                out.append(("swap", left, right))
            case Merge(keep, spend, at):
                out.append(("merge_first" if at == "first" else "merge_last", keep, spend))
            case Measure():
                pass
    return tuple(out)


def check_batch(batch: Batch) -> Batch:
    """Return the batch, or raise :class:`InputError` that names the field which is wrong.

    Programs that :func:`quantum.program.check` let through make right batches; this is for arrays
    that came another way. It takes 15 us, 20 ns for each pair and 0.3 us for each loaded state.
    """
    made, loaded, waited = _shape(batch.skeleton)
    size = len(batch)
    for name, shape in (
        ("populations", (size, made, 4)),
        ("states", (size, loaded, 4, 4)),
        ("waits_s", (size, waited, 2)),
        ("attempts", (size, waited, 2)),
    ):
        if getattr(batch, name).shape != shape:
            got = getattr(batch, name).shape
            raise InputError(f"batch.{name} must have shape {shape}, got {got}")
    batch.memory.check()
    batch.gates.check()
    # Each condition is written so that NaN does not meet it.
    weights = batch.populations
    if weights.size and not weights.min() >= -1e-12:
        raise InputError(f"batch.populations must be >= 0, the lowest is {weights.min():.6g}")
    if weights.size and not abs(weights.sum(axis=-1) - 1.0).max() <= 1e-9:
        raise InputError("batch.populations must sum to 1 for each pair")
    for name, values in (("waits_s", batch.waits_s), ("attempts", batch.attempts)):
        if values.size and not (values.min() >= 0.0 and values.max() < np.inf):
            span = f"{values.min():.6g} to {values.max():.6g}"
            raise InputError(f"batch.{name} must be finite and >= 0, got {span}")
    if batch.states.size:
        _check_states(batch.states.reshape(-1, 16))
    return batch


def _check_states(expectations: Floats) -> None:
    if not abs(expectations).max() <= 1.0 + 1e-9:
        raise InputError("batch.states must be between -1 and 1")
    if not abs(expectations[:, 0] - 1.0).max() <= 1e-9:
        raise InputError("batch.states must begin with the trace 1")
    # A matrix has a Cholesky decomposition where all its eigenvalues are > 0.
    lifted = (expectations + 4e-9 * np.eye(16)[0]) @ _density_map()
    try:
        np.linalg.cholesky(lifted.reshape(-1, 4, 4))
    except np.linalg.LinAlgError:
        raise InputError("batch.states must have no eigenvalue below 0") from None


@cache
def _density_map() -> NDArray[np.complex128]:
    return density_matrix(np.eye(16)).reshape(16, 16)


@lru_cache(maxsize=1024)
def _shape(bones: Skeleton) -> tuple[int, int, int]:
    """Return how many pairs are generated and loaded and how many waits there are.

    Raises :class:`InputError` for a skeleton that no program has.
    """
    steps: list[Step] = []
    for kind, first, second in bones:
        match kind:
            case "generate":
                steps.append(Generate(first, (1.0, 0.0, 0.0, 0.0)))
            case "load":
                steps.append(Load(first, _MIXED))
            case "wait":
                steps.append(Wait(first, 0.0, 0.0))
            case "swap":
                steps.append(Swap(first, second))
            case "merge_first" | "merge_last":
                steps.append(Merge(first, second, "first" if kind == "merge_first" else "last"))
            case "dejmps" | "bbpssw" | "epl":
                steps.append(Distill(first, second, kind))
            case _:
                raise InputError(f"batch.skeleton: step {kind!r} is unknown")
    check(Program(tuple(steps)))
    kinds = [kind for kind, _, _ in bones]
    return kinds.count("generate"), kinds.count("load"), kinds.count("wait")


_MIXED = (1.0, *[0.0] * 15)


def stack(programs: Sequence[Program]) -> list[tuple[NDArray[np.int64], Batch]]:
    """Group programs by skeleton and hardware: ``[(indices into programs, Batch), ...]``.

    The groups come in the order of their first program, so that equal input gives equal output.
    """
    groups: dict[tuple[Skeleton, Memory, Gates], list[int]] = {}
    for index, program in enumerate(programs):
        groups.setdefault((skeleton(program), program.memory, program.gates), []).append(index)
    return [
        (np.array(members, dtype=np.int64), _batch(key, [programs[i] for i in members]))
        for key, members in groups.items()
    ]


def _batch(key: tuple[Skeleton, Memory, Gates], programs: list[Program]) -> Batch:
    bones, memory, gates = key
    weights, states, waits, attempts = [], [], [], []
    for program in programs:
        for step in program.steps:
            match step:
                case Generate():
                    weights.append(step.populations)
                case Load():
                    states.append(step.expectations)
                case Wait():
                    waits.append((step.left_s, step.right_s))
                    attempts.append((step.left_attempts, step.right_attempts))
                case _:
                    pass
    size = len(programs)
    made = sum(kind == "generate" for kind, _, _ in bones)
    loaded = sum(kind == "load" for kind, _, _ in bones)
    waited = sum(kind == "wait" for kind, _, _ in bones)
    return Batch(
        skeleton=bones,
        populations=np.array(weights, dtype=np.float64).reshape(size, made, 4),
        waits_s=np.array(waits, dtype=np.float64).reshape(size, waited, 2),
        memory=memory,
        gates=gates,
        states=np.array(states, dtype=np.float64).reshape(size, loaded, 4, 4),
        attempts=np.array(attempts, dtype=np.float64).reshape(size, waited, 2),
    )

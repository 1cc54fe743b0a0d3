"""Programs of one skeleton, stacked into arrays: what backends execute.

The *skeleton* of a program is its steps on its pairs without their numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantum.program import (
    Distill,
    Gates,
    Generate,
    Load,
    Measure,
    Memory,
    Merge,
    Program,
    Swap,
    Wait,
)

__all__ = ["CONSUMING", "Batch", "Kind", "Skeleton", "skeleton", "stack"]

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
        if self.states.ndim != 4:
            object.__setattr__(self, "states", np.empty((len(self), 0, 4, 4)))
        if self.attempts.ndim != 3:
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

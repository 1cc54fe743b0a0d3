"""What a backend is asked to do, as plain data: generate, wait, distill, swap, measure.

A *pair* is numbered and has a left and a right qubit. ``Swap(left, right)`` measures the right
qubit of pair ``left`` and the left qubit of pair ``right`` in the Bell basis, corrects, and the
joined pair keeps the number ``left``. ``Distill(keep, spend)`` sacrifices pair ``spend``. When a
program ends exactly one pair is left: it is kept, or measured if the last step is a ``Measure``.

Conventions (DESIGN section 5): depolarising ``p`` means rho -> (1-p) rho + p I/4 on the two qubits
of a gate, before the Bell measurement; a readout error flips each measured bit of swaps and
distillation; T2 includes T1; the final test measurement is ideal.

Programs of the same *skeleton* (the same steps on the same pairs, whatever their numbers) are
stacked into a :class:`Batch` of arrays, which is what backends execute.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantum.bell import check_populations
from quantum.errors import InputError

__all__ = [
    "Batch",
    "Distill",
    "Gates",
    "Generate",
    "Measure",
    "Memory",
    "Program",
    "Protocol",
    "Step",
    "Swap",
    "Wait",
    "check",
    "stack",
]

Protocol = Literal["dejmps", "bbpssw"]
Basis = Literal["xx", "yy", "zz", "random"]


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Relaxation times of the memory qubits; ``inf`` means no decay. T2 <= 2 T1."""

    t1_s: float = math.inf
    t2_s: float = math.inf

    def check(self) -> "Memory":
        """Refuse times that are not positive or that no qubit can have."""
        for name, value in (("t1_s", self.t1_s), ("t2_s", self.t2_s)):
            if not value > 0.0:
                raise InputError(f"memory.{name} must be > 0 seconds, got {value}")
        if self.t2_s > 2.0 * self.t1_s:
            raise InputError(
                f"memory.t2_s must be <= 2 t1_s = {2 * self.t1_s:g}, got {self.t2_s:g}"
            )
        return self


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quality of swaps: heralded success, depolarising weight, readout flips (all 0-1)."""

    success: float = 1.0
    gate_depolarizing: float = 0.0
    readout_error: float = 0.0

    def check(self) -> "Gates":
        """Refuse values that are no probabilities."""
        for name in ("success", "gate_depolarizing", "readout_error"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise InputError(f"swap.{name} must be between 0 and 1, got {value}")
        return self


class Generate(msgspec.Struct, frozen=True, tag="generate", forbid_unknown_fields=True):
    """Make a fresh pair with these Bell populations (phi_plus, phi_minus, psi_plus, psi_minus)."""

    pair: int
    populations: tuple[float, float, float, float]


class Wait(msgspec.Struct, frozen=True, tag="wait", forbid_unknown_fields=True):
    """Let the two memory qubits of a pair decay for the given times."""

    pair: int
    left_s: float
    right_s: float


class Distill(msgspec.Struct, frozen=True, tag="distill", forbid_unknown_fields=True):
    """Spend one pair to improve another; the heralded success is post-selected."""

    keep: int
    spend: int
    protocol: Protocol


class Swap(msgspec.Struct, frozen=True, tag="swap", forbid_unknown_fields=True):
    """Join two pairs by a Bell measurement; the result keeps the number ``left``."""

    left: int
    right: int


class Measure(msgspec.Struct, frozen=True, tag="measure", forbid_unknown_fields=True):
    """Test the parity of the last pair; ``random`` draws the basis of every shot uniformly."""

    pair: int
    basis: Basis
    shots: int = 1


Step = Generate | Wait | Distill | Swap | Measure


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of steps and the hardware it runs on."""

    steps: tuple[Step, ...]
    memory: Memory = Memory()
    gates: Gates = Gates()

    @property
    def measure(self) -> Measure | None:
        """The test at the end, or None when the pair is kept."""
        last = self.steps[-1] if self.steps else None
        return last if isinstance(last, Measure) else None


def check(program: Program) -> Program:
    """Return the program, or raise :class:`InputError` that names the step which is wrong."""
    program.memory.check()
    program.gates.check()
    alive: set[int] = set()
    seen: set[int] = set()
    for number, step in enumerate(program.steps):
        where = f"steps[{number}] {type(step).__name__.lower()}"
        match step:
            case Generate(pair, weights):
                if pair in seen:
                    raise InputError(f"{where}: pair {pair} was already generated")
                check_populations(f"{where}: populations", weights)
                alive.add(pair)
                seen.add(pair)
            case Wait(pair, left_s, right_s):
                _need(alive, where, pair)
                if not (0.0 <= left_s < math.inf and 0.0 <= right_s < math.inf):
                    raise InputError(
                        f"{where}: waits must be finite and >= 0 s, got {left_s}, {right_s}"
                    )
            case Distill(keep, spend):
                _need(alive, where, keep, spend)
                alive.discard(spend)
            case Swap(left, right):
                _need(alive, where, left, right)
                alive.discard(right)
            case Measure(pair, _, shots):
                _need(alive, where, pair)
                if number != len(program.steps) - 1:
                    raise InputError(f"{where}: a measurement must be the last step")
                if shots < 1:
                    raise InputError(f"{where}: shots must be >= 1, got {shots}")
    if len(alive) != 1:
        raise InputError(f"a program must end with exactly one pair, this one has {len(alive)}")
    return program


def _need(alive: set[int], where: str, *pairs: int) -> None:
    for pair in pairs:
        if pair not in alive:
            raise InputError(f"{where}: pair {pair} does not exist at this point")
    if len(set(pairs)) < len(pairs):
        raise InputError(f"{where}: needs two different pairs, got {pairs}")


Kind = Literal["generate", "wait", "dejmps", "bbpssw", "swap"]
Skeleton = tuple[tuple[Kind, int, int], ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Programs of one skeleton, stacked; B programs, G generated pairs and W waits each.

    ``populations`` is ``(B, G, 4)`` and ``waits_s`` is ``(B, W, 2)``, both in the order in
    which the skeleton names them. A skeleton step is ``(kind, first pair, second pair or -1)``.
    """

    skeleton: Skeleton
    populations: NDArray[np.float64]
    waits_s: NDArray[np.float64]
    memory: Memory = Memory()
    gates: Gates = Gates()

    def __len__(self) -> int:
        return int(self.populations.shape[0])

    @property
    def last_pair(self) -> int:
        """The pair that is left at the end."""
        gone = {second for kind, _, second in self.skeleton if kind in ("swap", "dejmps", "bbpssw")}
        return next(
            first for kind, first, _ in self.skeleton if kind == "generate" and first not in gone
        )


def skeleton(program: Program) -> Skeleton:
    """Return the steps without their numbers; a measurement is not part of it."""
    out: list[tuple[Kind, int, int]] = []
    for step in program.steps:
        match step:
            case Generate(pair):
                out.append(("generate", pair, -1))
            case Wait(pair):
                out.append(("wait", pair, -1))
            case Distill(keep, spend, protocol):
                out.append((protocol, keep, spend))
            case Swap(left, right):
                out.append(("swap", left, right))
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
    out = []
    for (bones, memory, gates), members in groups.items():
        weights = [
            [s.populations for s in programs[i].steps if isinstance(s, Generate)] for i in members
        ]
        waits = [
            [(s.left_s, s.right_s) for s in programs[i].steps if isinstance(s, Wait)]
            for i in members
        ]
        size = len(members)
        out.append(
            (
                np.array(members, dtype=np.int64),
                Batch(
                    skeleton=bones,
                    populations=np.array(weights, dtype=np.float64).reshape(size, -1, 4),
                    waits_s=np.array(waits, dtype=np.float64).reshape(size, -1, 2),
                    memory=memory,
                    gates=gates,
                ),
            )
        )
    return out

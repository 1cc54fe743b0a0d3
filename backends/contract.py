"""What a backend is: it turns a batch of programs into raw counts, never into a fidelity."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from quantum.batch import Batch
from quantum.errors import Code, RequestError
from quantum.joining import Connection
from quantum.program import Program

__all__ = [
    "KEEP",
    "RANDOM",
    "Analyser",
    "Backend",
    "Bits",
    "Follower",
    "Outcome",
    "Plan",
    "Truth",
    "plan_of",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Stabilizer numbers of a :class:`Plan`: 0 xx, 1 yy, 2 zz, those of registers as in
#: ``quantum.ghz.labels``.
KEEP = -1
RANDOM = -2


@dataclass(frozen=True, eq=False)
class Plan:
    """How each of the B programs of a batch ends.

    ``basis`` (B,): :data:`KEEP`, 0 to 2^n - 2 where the batch ends with n qubits (0-2 for pairs),
    or :data:`RANDOM` (a fresh uniform basis for every shot);
    ``shots`` (B,), 0 where the pair is kept; ``draw`` (B,): for a single shot in a fixed basis the
    keyed uniform that decides it (pass when ``draw < p``), so that backends agree; NaN where the
    backend draws for itself. ``link`` (B,) is the link whose pairs are tested, by its number in the
    network of a rack; None where that does not matter (simulators never look at it).
    """

    basis: Ints
    shots: Ints
    draw: Floats
    link: Ints | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """What only a simulator knows: exact populations given success, and the product of all herald
    probabilities (B,).

    ``populations`` is (B, 2^n): Bell states for pairs, GHZ states for registers of n qubits, in the
    order of :mod:`quantum.ghz`.
    """

    populations: Floats
    success: Floats


@dataclass(frozen=True, eq=False)
class Outcome:
    """``counts`` (B, 2^n - 1, 2): stabilizers (xx, yy, zz for pairs) by (pass, fail).

    ``truth`` is None on hardware.
    ``source`` says where the counts come from: ``sim``, ``stub`` or ``real``; ``calibration`` (B,)
    names what a laboratory's link was calibrated by when its pairs were counted, empty elsewhere.
    """

    counts: Ints
    truth: Truth | None
    source: str
    calibration: tuple[str, ...] = ()


@runtime_checkable
class Backend(Protocol):
    """Executes programs. Opened once, closed once; one thread.

    What it cannot do it refuses by ``RequestError(Code.UNSUPP, ...)`` before it does anything.
    """

    name: str
    keeps: bool
    """Whether pairs can be held. A backend that cannot answers UNSUPP to a keep."""

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Execute each program of the batch once for every shot of the plan."""

    def close(self) -> None:
        """Release everything; safe to call twice."""


@dataclass(frozen=True, eq=False)
class Bits:
    """What two detectors said of each pair: ``both`` (B,) is 2 left + right, 0 to 3.

    -1 where a pair can never succeed. ``source`` is that of an :class:`Outcome`.
    """

    both: Ints
    source: str


@runtime_checkable
class Analyser(Protocol):
    """A backend that measures each qubit of a pair in a basis of its own.

    Not every backend can: who lacks ``analyse`` is told to measure parities only.
    """

    def analyse(
        self, batch: Batch, angles_rad: Floats, draw: Floats, rng: np.random.Generator
    ) -> Bits:
        """Execute each program of the batch once and measure both qubits of its pair.

        ``angles_rad`` (B, 2), left and right: angle t measures cos t Z + sin t X, and bit 0 is the
        eigenvalue +1. ``draw`` (B,) is the keyed uniform that decides: the outcome is the first of
        00, 01, 10, 11 (left, right) up to which the chances sum to more than it; NaN where the
        backend draws for itself.
        """


@runtime_checkable
class Follower(Protocol):
    """A backend whose instruments must not go on without those who command them."""

    def follow(self, broker: Connection) -> None:
        """Work only while the broker's pulses say that it and all agents are alive."""

    def prepare(self) -> None:
        """Do what has to be done before the first request, however long it takes."""


def plan_of(programs: list[Program]) -> Plan:
    """Return the plan that the programs' last steps ask for, with free draws.

    A photonic program that would keep its pair gives :class:`RequestError` UNSUPP.
    """
    basis, shots = [], []
    for program in programs:
        test = program.measure
        if test is None and program.photonic:
            raise RequestError(Code.UNSUPP, "a photonic pair cannot be kept, only measured")
        basis.append(KEEP if test is None else _BASIS[test.basis])
        shots.append(0 if test is None else test.shots)
    size = len(programs)
    return Plan(
        np.array(basis, dtype=np.int64), np.array(shots, dtype=np.int64), np.full(size, np.nan)
    )


_BASIS = {"xx": 0, "yy": 1, "zz": 2, "random": RANDOM}

"""The Aer backend: density matrices of re-used qubits, batch by batch."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backends.aer import channels
from backends.aer.direct import open_direct
from backends.aer.lowering import Tape, lower, side_by_side
from backends.aer.public import PublicPath
from backends.aer.schedule import levels, schedule
from backends.contract import Outcome, Plan, Truth
from backends.sampling import check_plan, sample
from quantum.errors import InputError
from quantum.program import Batch
from quantum.werner import IMPOSSIBLE

__all__ = ["AerBackend"]

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]


class _Path(Protocol):
    """A way into Aer."""

    name: str

    def play(self, tape: Tape) -> Complex:
        """Return the density matrices ``(B, d, d)`` of the tape's saved qubits."""


class AerBackend:
    """Executes programs on Qiskit Aer. See :class:`backends.contract.Backend`.

    ``path`` is ``direct`` or ``public``; by default the first that works. ``why_public`` says why
    the direct one is not used. Aer computes exact states and samples nothing, so no result depends
    on an Aer seed; counts are drawn from those states with the generator of the caller.
    """

    name = "aer"
    keeps = True

    def __init__(self, path: Literal["direct", "public"] | None = None) -> None:
        self.why_public = ""
        self._path: _Path
        if path == "public":
            self._path, self.why_public = PublicPath(), "asked for"
        elif path in ("direct", None):
            direct, self.why_public = open_direct()
            if direct is None and path == "direct":
                raise InputError(f"aer path direct cannot be used: {self.why_public}")
            self._path = PublicPath() if direct is None else direct
        else:
            raise InputError(f"aer path must be direct or public, got {path!r}")

    @property
    def path(self) -> str:
        """The way into Aer that is used."""
        return self._path.name

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Execute each program of the batch once for every shot of the plan."""
        check_plan(plan, len(batch))
        truth = self.exact(batch)
        return Outcome(counts=sample(truth, plan, rng), truth=truth, source="sim")

    def close(self) -> None:
        """Release nothing; safe to call twice."""

    def exact(self, batch: Batch) -> Truth:
        """Return the end states that Aer computes for a batch.

        Populations are conditional on success; where success never happens they are those of the
        fully mixed state.
        """
        size = len(batch)
        if size == 0:
            return Truth(populations=np.empty((0, 4)), success=np.empty(0))
        swaps = sum(kind == "swap" for kind, _, _ in batch.skeleton)
        success = np.full(size, float(batch.gates.success) ** swaps)
        jobs = schedule(batch.skeleton)
        stored: dict[int, Complex] = {}
        for groups in levels(jobs):
            for numbers in groups:
                tape = side_by_side([lower(jobs[n], batch, stored) for n in numbers])
                saved = self._path.play(tape)
                for place, number in enumerate(numbers):
                    states = saved[place * size : (place + 1) * size]
                    stored[number], chance = heralded(states)
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

"""The Aer backend: density matrices of re-used qubits, batch by batch."""

from importlib.metadata import version
from typing import Literal

import numpy as np

from backends import analytic
from backends.aer.direct import PINNED, DirectPath
from backends.aer.execution import Path, execute
from backends.aer.public import PublicPath
from backends.contract import Outcome, Plan, Truth
from backends.sampling import check_plan, sample
from quantum.batch import Batch
from quantum.errors import InputError
from quantum.program import Gates, Memory

__all__ = ["AerBackend", "open_direct"]


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
        self._path: Path
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

    def exact(self, batch: Batch) -> Truth:
        """Return the end states that Aer computes for a batch."""
        return execute(self._path, batch)

    def close(self) -> None:
        """Release nothing; safe to call twice."""


def open_direct() -> tuple[DirectPath | None, str]:
    """Return (path, "") if Aer's private interface works as known, else (None, the reason).

    Works means: the version is the known one, and two programs that use every kind of operation
    end as the analytic backend says.
    """
    installed = version("qiskit-aer")
    if installed != PINNED:
        return None, f"qiskit-aer is {installed}, the interface is known for {PINNED}"
    try:
        path = DirectPath()
        for batch in _known():
            got, right = execute(path, batch), analytic.exact(batch)
            error = max(
                np.abs(got.populations - right.populations).max(),
                np.abs(got.success - right.success).max(),
            )
            if not error < 1e-12:
                return None, f"qiskit-aer's private interface is off by {error:.2g}"
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, LookupError) as wrong:
        return None, f"qiskit-aer's private interface has changed: {wrong}"
    except InputError as wrong:
        return None, f"qiskit-aer's private interface gives no states: {wrong}"
    return path, ""


def _known() -> tuple[Batch, Batch]:
    """Return two small programs: a waiting pair; waits, swaps, distillation and a stored state."""
    weights = np.array([0.7, 0.05, 0.1, 0.15])
    memory, gates = Memory(t1_s=1.0, t2_s=0.8), Gates(0.9, 0.1, 0.05)
    one = Batch(
        (("generate", 0, -1), ("wait", 0, -1)),
        np.tile(weights, (1, 1, 1)),
        np.array([[[0.1, 0.4]]]),
        memory,
        gates,
    )
    many = Batch(
        (
            *(("generate", pair, -1) for pair in range(4)),
            ("wait", 0, -1),
            ("wait", 1, -1),
            ("dejmps", 0, 1),
            ("wait", 2, -1),
            ("swap", 3, 2),
            ("wait", 3, -1),
            ("swap", 3, 0),
            ("wait", 3, -1),
        ),
        np.tile(weights, (1, 4, 1)),
        np.linspace(0.05, 0.5, 10).reshape(1, 5, 2),
        memory,
        gates,
    )
    return one, many

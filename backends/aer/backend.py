"""The Aer backend: density matrices of re-used qubits, batch by batch."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backends.aer.execution import analyse, cost_s, execute
from backends.aer.opening import open_path
from backends.aer.pool import Pool
from backends.contract import Bits, Outcome, Plan, Truth
from backends.sampling import check_angles, check_plan, pick, sample
from quantum.batch import Batch, check_batch
from quantum.errors import InputError

__all__ = ["AerBackend"]

Floats = NDArray[np.float64]

_MOST_PROCESSES = 256
#: A batch of less work than this is not worth sending to other processes.
_WORTH_SENDING_S = 0.01


class AerBackend:
    """Executes programs on Qiskit Aer. See :class:`backends.contract.Backend`.

    ``path`` is ``direct`` or ``public``; by default the first that works. ``why_public`` says why
    the direct one is not used. With ``processes`` > 1 large batches are split over so many worker
    processes, which start with the first of them and end with :meth:`close`.

    Aer computes exact states and samples nothing, so no result depends on an Aer seed; counts are
    drawn from those states with the generator of the caller, whatever the number of processes.
    """

    name = "aer"
    keeps = True

    def __init__(
        self, path: Literal["direct", "public"] | None = None, *, processes: int = 1
    ) -> None:
        if not 1 <= processes <= _MOST_PROCESSES:
            raise InputError(f"aer processes must be 1 to {_MOST_PROCESSES}, got {processes}")
        self._path, self.why_public = open_path(path)
        self._pool = Pool(self._path.name, processes) if processes > 1 else None

    @property
    def path(self) -> str:
        """The way into Aer that is used."""
        return self._path.name

    def run(self, batch: Batch, plan: Plan, rng: np.random.Generator) -> Outcome:
        """Execute each program of the batch once for every shot of the plan."""
        check_plan(plan, len(check_batch(batch)), batch.qubits)
        truth = self.exact(batch)
        return Outcome(counts=sample(truth, plan, rng), truth=truth, source="sim")

    def analyse(
        self, batch: Batch, angles_rad: Floats, draw: Floats, rng: np.random.Generator
    ) -> Bits:
        """Execute each program once and measure both qubits of its pair, each in its basis."""
        check_angles(angles_rad, draw, len(check_batch(batch)), batch.qubits)
        chances, success = analyse(self._path, batch, angles_rad)
        return Bits(pick(chances, success, draw, rng), "sim")

    def exact(self, batch: Batch) -> Truth:
        """Return the end states that Aer computes for a batch of right programs."""
        if self._pool is not None and cost_s(batch) > _WORTH_SENDING_S:
            return self._pool.execute(batch)
        return execute(self._path, batch)

    def close(self) -> None:
        """End the worker processes; safe to call twice."""
        if self._pool is not None:
            self._pool.close()

"""From Job to Done: executes tasks on a backend. No sockets here."""

import numpy as np

from backends.contract import Backend, Plan
from quantum.batch import stack
from quantum.egp import Done, Failed, Job
from quantum.errors import Code, DeviceError, InputError, RequestError
from quantum.program import check

__all__ = ["execute"]


def execute(backend: Backend, job: Job, rng: np.random.Generator) -> Done | Failed:
    """Execute every task of a job once; a failure is an answer, never a made-up count.

    A backend that cannot hold pairs answers UNSUPP to a task that keeps its pair.
    """
    tasks = job.tasks
    if not backend.keeps and any(task.basis < 0 for task in tasks):
        return Failed(job.job, Code.UNSUPP, f"backend {backend.name} cannot keep pairs")
    passed = np.full(len(tasks), -1, dtype=np.int64)
    fidelity = np.full(len(tasks), np.nan)
    source = "sim"
    try:
        for task in tasks:
            check(task.program)
        for members, batch in stack([task.program for task in tasks]):
            basis = np.array([tasks[i].basis for i in members], dtype=np.int64)
            draw = np.array([tasks[i].draw for i in members], dtype=np.float64)
            plan = Plan(basis, (basis >= 0).astype(np.int64), draw)
            outcome = backend.run(batch, plan, rng)
            source = outcome.source
            tested = basis >= 0
            counts = outcome.counts[tested]
            if np.any(counts < 0) or np.any(counts.sum(axis=(1, 2)) != 1):
                raise RequestError(Code.OTHER, "a test did not give exactly one outcome")
            passed[members[tested]] = counts[:, :, 0].sum(axis=1)
            if outcome.truth is not None:
                fidelity[members] = outcome.truth.populations[:, 0]
    except InputError as wrong:
        return Failed(job.job, Code.CREATE, str(wrong))
    except RequestError as wrong:
        return Failed(job.job, wrong.code, wrong.detail)
    except DeviceError as wrong:
        return Failed(job.job, Code.OTHER, str(wrong))
    known = bool(np.all(np.isfinite(fidelity))) and len(tasks) > 0
    return Done(
        job=job.job,
        passed=tuple(passed.tolist()),
        fidelity=tuple(fidelity.tolist()) if known else (),
        source_of_truth=source,
    )

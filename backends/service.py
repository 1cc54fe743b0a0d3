"""From Job to Done: executes tasks on a backend. No sockets here."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backends.contract import Backend, Outcome, Plan
from quantum.batch import stack
from quantum.egp import Done, Failed, Fault, Job, Task
from quantum.errors import Code, DeviceError, InputError, RequestError
from quantum.program import check

__all__ = ["execute"]

Ints = NDArray[np.int64]


def execute(backend: Backend, job: Job, rng: np.random.Generator) -> Done | Failed:
    """Execute every task of a job once; a failure is an answer, never a made-up count.

    A task that cannot be executed is a fault and does not harm the others; a job of faults only
    has failed. What cannot be held gets UNSUPP where its pair would be kept.
    """
    tasks = job.tasks
    faults = dict(_refused(backend, tasks))
    passed = np.full(len(tasks), -1, dtype=np.int64)
    fidelity = np.full(len(tasks), np.nan)
    source = "sim"
    fit = [i for i in range(len(tasks)) if i not in faults]
    for places, batch in stack([tasks[i].program for i in fit]):
        members = np.array(fit, dtype=np.int64)[places]
        basis = np.array([tasks[i].basis for i in members], dtype=np.int64)
        draw = np.array([tasks[i].draw for i in members], dtype=np.float64)
        try:
            outcome = backend.run(batch, Plan(basis, (basis >= 0).astype(np.int64), draw), rng)
            passed[members] = _passes(outcome, basis)
        except (InputError, RequestError, DeviceError) as wrong:
            faults.update({i: _fault(i, wrong) for i in members.tolist()})
            continue
        source = outcome.source
        if outcome.truth is not None:
            fidelity[members] = outcome.truth.populations[:, 0]
    if tasks and len(faults) == len(tasks):
        first = faults[min(faults)]
        return Failed(job.job, first.code, first.detail)
    gone = list(faults)
    fidelity[gone] = 0.0
    told = len(tasks) > 0 and bool(np.all(np.isfinite(fidelity)))
    return Done(
        job=job.job,
        passed=tuple(passed.tolist()),
        fidelity=tuple(fidelity.tolist()) if told else (),
        source_of_truth=source,
        faults=tuple(faults[i] for i in sorted(gone)),
    )


def _refused(backend: Backend, tasks: tuple[Task, ...]) -> Iterator[tuple[int, Fault]]:
    """Find the tasks that no backend could execute, or that this one cannot."""
    for index, task in enumerate(tasks):
        try:
            if task.basis < 0 and (task.program.photonic or not backend.keeps):
                what = "a photonic link" if task.program.photonic else f"backend {backend.name}"
                raise RequestError(Code.UNSUPP, f"{what} cannot keep pairs")
            check(task.program)
        except (InputError, RequestError) as wrong:
            yield index, _fault(index, wrong)


def _passes(outcome: Outcome, basis: Ints) -> Ints:
    """Return 1, 0 or, where the pair was kept, -1 for each program of a batch."""
    tested = basis >= 0
    counts = outcome.counts
    if np.any(counts < 0) or np.any(counts.sum(axis=(1, 2)) != tested):
        raise RequestError(Code.OTHER, "a test did not give exactly one outcome")
    passes: Ints = np.where(tested, counts[:, :, 0].sum(axis=1), -1)
    return passes


def _fault(task: int, wrong: InputError | RequestError | DeviceError) -> Fault:
    match wrong:
        case RequestError():
            return Fault(task, wrong.code, wrong.detail)
        case InputError():
            return Fault(task, Code.CREATE, str(wrong))
        case _:
            return Fault(task, Code.OTHER, str(wrong))

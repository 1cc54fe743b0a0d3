"""From Job to Done: executes tasks on a backend. No sockets here."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backends.contract import Backend, Outcome, Plan
from quantum.batch import Batch, stack
from quantum.blocks import open_block
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
    fit = [i for i in range(len(tasks)) if i not in faults]
    size = job.programs
    passed = np.full(size, -1, dtype=np.int64)
    fidelity = np.full(size, np.nan)
    source = "sim"
    calibration = [""] * size
    opened, wrong_blocks = _opened(backend, job)
    faults.update(wrong_blocks)
    for members, batch, plan in (*_batches(tasks, fit), *opened):
        try:
            outcome = backend.run(batch, plan, rng)
            passed[members] = _passes(outcome, plan.basis)
        except (InputError, RequestError, DeviceError) as wrong:
            faults.update({i: _fault(i, wrong) for i in members.tolist()})
            continue
        source = outcome.source
        for i, name in zip(members.tolist(), outcome.calibration, strict=False):
            calibration[i] = name
        if outcome.truth is not None:
            fidelity[members] = outcome.truth.populations[:, 0]
    if size and len(faults) == size:
        first = faults[min(faults)]
        return Failed(job.job, first.code, first.detail)
    gone = list(faults)
    fidelity[gone] = 0.0
    told = size > 0 and bool(np.all(np.isfinite(fidelity)))
    return Done(
        job=job.job,
        passed=tuple(passed.tolist()),
        fidelity=tuple(fidelity.tolist()) if told else (),
        source_of_truth=source,
        faults=tuple(faults[i] for i in sorted(gone)),
        calibration=tuple(calibration) if any(calibration) else (),
    )


def _batches(tasks: tuple[Task, ...], fit: list[int]) -> Iterator[tuple[Ints, Batch, Plan]]:
    """Return places in the job, programs and plans that can run at once.

    Links of a laboratory are kept apart, so that one which fails does not harm the others.
    """
    by_link: dict[int, list[int]] = {}
    for i in fit:
        by_link.setdefault(tasks[i].link, []).append(i)
    for link, mine in sorted(by_link.items()):
        for places, batch in stack([tasks[i].program for i in mine]):
            members = np.array(mine, dtype=np.int64)[places]
            basis = np.array([tasks[i].basis for i in members], dtype=np.int64)
            draw = np.array([tasks[i].draw for i in members], dtype=np.float64)
            links = np.full(len(members), link) if link >= 0 else None
            yield members, batch, Plan(basis, (basis >= 0).astype(np.int64), draw, links)


def _opened(backend: Backend, job: Job) -> tuple[list[tuple[Ints, Batch, Plan]], dict[int, Fault]]:
    """Return the blocks of a job as batches, and the faults of those that cannot be executed."""
    out, faults, first = [], dict[int, Fault](), len(job.tasks)
    for block in job.blocks:
        members = np.arange(first, first + len(block.basis))
        first += len(members)
        if len(members) == 0:
            continue
        try:
            batch, basis, draw = open_block(block)
            if not backend.keeps and (basis < 0).any():
                raise RequestError(Code.UNSUPP, f"backend {backend.name} cannot keep pairs")
            out.append((members, batch, Plan(basis, (basis >= 0).astype(np.int64), draw)))
        except (InputError, RequestError) as wrong:
            faults.update((i, _fault(i, wrong)) for i in members.tolist())
    return out, faults


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

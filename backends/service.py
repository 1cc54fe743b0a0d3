"""From Job to Done: executes tasks on a backend. No sockets here."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backends.contract import Analyser, Backend, Outcome, Plan
from quantum.batch import Batch, stack
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
    bits = np.full(len(tasks), -1, dtype=np.int64)
    turned = [i for i in range(len(tasks)) if i not in faults and tasks[i].angles_rad is not None]
    for members, batch in _groups(tasks, turned):
        try:
            bits[members], source = _analyse(backend, batch, [tasks[i] for i in members], rng)
        except (InputError, RequestError, DeviceError) as wrong:
            faults.update({i: _fault(i, wrong) for i in members.tolist()})
            continue
        passed[members] = (bits[members] == 0) | (bits[members] == 3)
    fit = [i for i in range(len(tasks)) if i not in faults and tasks[i].angles_rad is None]
    calibration = [""] * len(tasks)
    for members, batch, plan in _batches(tasks, fit):
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
        calibration=tuple(calibration) if any(calibration) else (),
        bits=tuple(bits.tolist()) if turned else (),
    )


def _groups(tasks: tuple[Task, ...], chosen: list[int]) -> Iterator[tuple[Ints, Batch]]:
    """Return the places in the job and the programs of chosen tasks that can run at once."""
    for places, batch in stack([tasks[i].program for i in chosen]):
        yield np.array(chosen, dtype=np.int64)[places], batch


def _analyse(
    backend: Backend, batch: Batch, tasks: list[Task], rng: np.random.Generator
) -> tuple[Ints, str]:
    """Return both results of each pair, 2 left + right, and their source."""
    if not isinstance(backend, Analyser):
        raise RequestError(
            Code.UNSUPP,
            f"backend {backend.name} measures parities in xx, yy and zz, not each qubit in a "
            "basis of its own",
        )
    angles = np.array([task.angles_rad for task in tasks], dtype=np.float64)
    draw = np.array([task.draw for task in tasks], dtype=np.float64)
    found = backend.analyse(batch, angles, draw, rng)
    if found.both.shape != (len(tasks),) or not np.all((found.both >= 0) & (found.both <= 3)):
        raise RequestError(Code.OTHER, "a pair did not give exactly two results")
    return found.both, found.source


def _batches(tasks: tuple[Task, ...], fit: list[int]) -> Iterator[tuple[Ints, Batch, Plan]]:
    """Return places in the job, programs and plans that can run at once.

    Links of a laboratory are kept apart, so that one which fails does not harm the others.
    """
    by_link: dict[int, list[int]] = {}
    for i in fit:
        by_link.setdefault(tasks[i].link, []).append(i)
    for link, mine in sorted(by_link.items()):
        for members, batch in _groups(tasks, mine):
            basis = np.array([tasks[i].basis for i in members], dtype=np.int64)
            draw = np.array([tasks[i].draw for i in members], dtype=np.float64)
            links = np.full(len(members), link) if link >= 0 else None
            yield members, batch, Plan(basis, (basis >= 0).astype(np.int64), draw, links)


def _refused(backend: Backend, tasks: tuple[Task, ...]) -> Iterator[tuple[int, Fault]]:
    """Find the tasks that no backend could execute, or that this one cannot."""
    for index, task in enumerate(tasks):
        try:
            angles = task.angles_rad
            if angles is not None and not all(map(math.isfinite, angles)):
                raise InputError(f"angles_rad must be two finite angles, got {angles}")
            if angles is None and task.basis < 0 and (task.program.photonic or not backend.keeps):
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

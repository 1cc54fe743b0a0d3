"""From Job to Done: executes tasks on a backend. No sockets here."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from backends.contract import Analyser, Backend, Outcome, Plan
from quantum.batch import Batch, Skeleton, stack
from quantum.blocks import open_block
from quantum.egp import Done, Failed, Fault, Job, Task
from quantum.errors import Code, DeviceError, InputError, RequestError
from quantum.program import Gates, Memory, check

__all__ = ["execute", "execute_all"]

Ints = NDArray[np.int64]


def execute(backend: Backend, job: Job, rng: np.random.Generator) -> Done | Failed:
    """Execute every task of a job once; a failure is an answer, never a made-up count.

    A task that cannot be executed is a fault and does not harm the others; a job of faults only
    has failed. What cannot be held gets UNSUPP where its pair would be kept.
    """
    return execute_all(backend, [job], rng)[0]


def execute_all(
    backend: Backend, jobs: Sequence[Job], rng: np.random.Generator
) -> list[Done | Failed]:
    """Execute several jobs, each answered for itself; blocks of one skeleton run as one batch.

    A simulator's outcomes do not depend on the batch around a program (:mod:`backends.contract`).
    """
    firsts = np.cumsum([0, *(job.programs for job in jobs)])
    sheet = _Sheet.of(int(firsts[-1]))
    alike: dict[tuple[Skeleton, Memory, Gates], list[_Part]] = {}
    for job, first in zip(jobs, firsts.tolist(), strict=False):
        refused = dict(_refused(backend, job.tasks))
        fit = [i for i in range(len(job.tasks)) if i not in refused]
        turned = [i for i in fit if job.tasks[i].angles_rad is not None]
        for members, batch in _groups(job.tasks, turned):
            mine = [job.tasks[i] for i in members.tolist()]
            sheet.analyse(backend, members + first, batch, mine, rng)
        fit = [i for i in fit if job.tasks[i].angles_rad is None]
        for members, batch, plan in _batches(job.tasks, fit):
            sheet.run(backend, (members + first, batch, plan), rng)
        opened, wrong = _opened(backend, job)
        for members, batch, plan in opened:
            part = members + first, batch, plan
            alike.setdefault((batch.skeleton, batch.memory, batch.gates), []).append(part)
        sheet.faults.update((first + i, fault) for i, fault in {**refused, **wrong}.items())
    for parts in alike.values():
        sheet.run(backend, _joined(parts), rng)
    return [
        sheet.answer(job.job, first, first + job.programs)
        for job, first in zip(jobs, firsts.tolist(), strict=False)
    ]


#: Places among all programs, the programs, and how each of them ends.
_Part = tuple[Ints, Batch, Plan]


class _Sheet(NamedTuple):
    """What came of each program of some jobs, in their order."""

    passed: Ints
    fidelity: NDArray[np.float64]
    source: list[str]
    calibration: list[str]
    faults: dict[int, Fault]
    bits: Ints
    """Both results of programs at angles, 2 left + right; -1 for others."""

    @classmethod
    def of(cls, size: int) -> "_Sheet":
        passed = np.full(size, -1, dtype=np.int64)
        fidelity = np.full(size, np.nan)
        return cls(passed, fidelity, ["sim"] * size, [""] * size, {}, passed.copy())

    def run(self, backend: Backend, part: _Part, rng: np.random.Generator) -> None:
        """Execute a batch, and note what came of it."""
        members, batch, plan = part
        try:
            outcome = backend.run(batch, plan, rng)
            self.passed[members] = _passes(outcome, plan.basis)
        except (InputError, RequestError, DeviceError) as wrong:
            self.faults.update({i: _fault(i, wrong) for i in members.tolist()})
            return
        if outcome.source != "sim":
            for i in members.tolist():
                self.source[i] = outcome.source
        for i, name in zip(members.tolist(), outcome.calibration, strict=False):
            self.calibration[i] = name
        if outcome.truth is not None:
            self.fidelity[members] = outcome.truth.populations[:, 0]

    def analyse(
        self,
        backend: Backend,
        members: Ints,
        batch: Batch,
        tasks: list[Task],
        rng: np.random.Generator,
    ) -> None:
        """Execute a batch, each qubit of its pairs measured at the angle of its task."""
        try:
            bits, source = _analyse(backend, batch, tasks, rng)
        except (InputError, RequestError, DeviceError) as wrong:
            self.faults.update({i: _fault(i, wrong) for i in members.tolist()})
            return
        self.bits[members] = bits
        self.passed[members] = (bits == 0) | (bits == 3)
        for i in members.tolist():
            self.source[i] = source

    def answer(self, job: int, first: int, stop: int) -> Done | Failed:
        """Return the answer to the job whose programs are those from ``first`` to ``stop``."""
        gone = sorted(i for i in self.faults if first <= i < stop)
        size = stop - first
        if size and len(gone) == size:
            fault = self.faults[gone[0]]
            return Failed(job, fault.code, fault.detail)
        self.fidelity[gone] = 0.0
        told = size > 0 and bool(np.all(np.isfinite(self.fidelity[first:stop])))
        sources = [self.source[i] for i in range(first, stop) if i not in self.faults]
        calibration, bits = self.calibration[first:stop], self.bits[first:stop]
        return Done(
            job=job,
            passed=tuple(self.passed[first:stop].tolist()),
            fidelity=tuple(self.fidelity[first:stop].tolist()) if told else (),
            source_of_truth=sources[-1] if sources else "sim",
            faults=tuple(structs.replace(self.faults[i], task=i - first) for i in gone),
            calibration=tuple(calibration) if any(calibration) else (),
            bits=tuple(bits.tolist()) if np.any(bits >= 0) else (),
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


def _joined(parts: list[_Part]) -> _Part:
    """Return parts of one skeleton on one hardware as one."""
    if len(parts) == 1:
        return parts[0]
    members, batches, plans = zip(*parts, strict=True)
    batch = Batch(
        skeleton=batches[0].skeleton,
        populations=np.concatenate([batch.populations for batch in batches]),
        waits_s=np.concatenate([batch.waits_s for batch in batches]),
        memory=batches[0].memory,
        gates=batches[0].gates,
    )
    columns = ("basis", "shots", "draw")
    return (
        np.concatenate(members),
        batch,
        Plan(*(np.concatenate([getattr(plan, name) for plan in plans]) for name in columns)),
    )


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

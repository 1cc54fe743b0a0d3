"""Blocks: programs of one skeleton as columns, as jobs carry them.

A program that is written step by step costs its writer, the wire and its reader tens of
microseconds for each pair, columns cost one or two. :func:`tasks_of` says the same step by step.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from quantum.batch import Batch, check_batch
from quantum.egp import Block, Job, StepKind, Task
from quantum.errors import InputError
from quantum.program import Distill, Generate, Program, Step, Swap, Wait

__all__ = ["block_of", "open_block", "spelled_out", "tasks_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def block_of(batch: Batch, basis: Ints, draw: Floats) -> Block:
    """Return programs with the basis (B,) and the draw (B,) of each as a block.

    Pairs of a block are generated ones, and their waits are times only.
    """
    assert not batch.states.size, "pairs of a run are neither loaded nor merged"
    assert not batch.attempts.any()
    return Block(
        skeleton=cast("tuple[tuple[StepKind, int, int], ...]", batch.skeleton),
        populations=batch.populations.astype("<f8").tobytes(),
        waits_s=batch.waits_s.astype("<f8").tobytes(),
        basis=basis.astype("i1").tobytes(),
        draw=draw.astype("<f8").tobytes(),
        memory=batch.memory,
        gates=batch.gates,
    )


def open_block(block: Block) -> tuple[Batch, Ints, Floats]:
    """Return the programs of a block that came from elsewhere, their bases and their draws.

    Raises :class:`InputError` that names the field which is wrong.
    """
    size, kinds = len(block.basis), [kind for kind, _, _ in block.skeleton]
    batch = Batch(
        skeleton=block.skeleton,
        populations=_column("populations", block.populations, (size, kinds.count("generate"), 4)),
        waits_s=_column("waits_s", block.waits_s, (size, kinds.count("wait"), 2)),
        memory=block.memory,
        gates=block.gates,
    )
    draw = _column("draw", block.draw, (size,))
    if not ((draw >= 0.0) & (draw < 1.0)).all():
        raise InputError("block.draw must be in [0, 1)")
    basis = np.frombuffer(block.basis, dtype="i1").astype(np.int64)
    if size and not (basis.min() >= -1 and basis.max() <= 2):
        raise InputError("block.basis must be -1, 0, 1 or 2")
    return check_batch(batch), basis, draw


def _column(name: str, data: bytes, shape: tuple[int, ...]) -> Floats:
    if len(data) != 8 * int(np.prod(shape)):
        raise InputError(f"block.{name} must have shape {shape}, got {len(data)} bytes")
    return np.frombuffer(data, dtype="<f8").reshape(shape).astype(np.float64)


def tasks_of(block: Block) -> list[Task]:
    """Write a right block step by step."""
    batch, basis, draw = open_block(block)
    rows = zip(batch.populations.tolist(), batch.waits_s.tolist(), strict=True)
    programs = [
        Program(_steps(block.skeleton, made, waited), batch.memory, batch.gates)
        for made, waited in rows
    ]
    return [Task(*each) for each in zip(programs, basis.tolist(), draw.tolist(), strict=True)]


def _steps(
    skeleton: tuple[tuple[StepKind, int, int], ...],
    made: list[list[float]],
    waited: list[list[float]],
) -> tuple[Step, ...]:
    fresh, times, steps = iter(made), iter(waited), list[Step]()
    for kind, first, second in skeleton:
        if kind == "generate":
            a, b, c, d = next(fresh)
            steps.append(Generate(first, (a, b, c, d)))
        elif kind == "wait":
            steps.append(Wait(first, *next(times)))
        elif kind == "swap":
            steps.append(Swap(first, second))
        else:
            steps.append(Distill(first, second, kind))
    return tuple(steps)


def spelled_out(job: Job) -> Job:
    """Return a job without blocks, for a worker who does not read them; places stay the same."""
    if not job.blocks:
        return job
    tasks = [*job.tasks, *(task for block in job.blocks for task in tasks_of(block))]
    return Job(job.job, tuple(tasks), job.again)

"""From a skeleton to jobs that fit on few re-used qubits.

One running pair occupies two qubits; two others receive the next pair, fresh from a source or
re-entering as a stored state. So a chain of any length is one job on four qubits. A job ends where
two composite pairs have to meet, with a distillation, whose herald must be read before the pair is
used, or with a merge, after which there are more qubits than before. Its end state is stored and
re-enters a later job. Jobs of one level do not need each other.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from quantum.batch import Skeleton
from quantum.program import End, Protocol

__all__ = ["Distil", "Fuse", "Job", "Join", "Operand", "levels", "schedule"]

Origin = Literal["generated", "loaded", "stored"]


@dataclass(frozen=True)
class Operand:
    """A pair or register as it enters, then its waits.

    ``number`` counts the pairs generated, the pairs loaded, or the jobs stored.
    """

    origin: Origin
    number: int
    qubits: int = 2
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Join:
    """A swap of the running pair with an operand on its ``right`` or ``left``, then waits."""

    right: bool
    operand: Operand
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Distil:
    """A distillation of the running pair with an operand, then waits of the pair that is kept."""

    protocol: Protocol
    operand: Operand
    running_is_kept: bool
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fuse:
    """A merge at the first or last qubit of what is kept, then waits of the new register."""

    at: End
    operand: Operand
    running_is_kept: bool
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """What happens to one running pair or register: it enters, is swapped, and meets its ``end``.

    ``level`` is 0 where only fresh pairs are needed, else one more than that of the stored states.
    """

    base: Operand
    joins: tuple[Join, ...] = ()
    end: Distil | Fuse | None = None
    level: int = 0

    @cached_property
    def operands(self) -> tuple[Operand, ...]:
        """All pairs and registers that enter, in order."""
        last = () if self.end is None else (self.end.operand,)
        return (self.base, *(join.operand for join in self.joins), *last)

    @cached_property
    def qubits(self) -> int:
        """Qubits of the end state."""
        spent = self.end.operand.qubits - 1 if isinstance(self.end, Fuse) else 0
        return self.base.qubits + spent

    @cached_property
    def width(self) -> int:
        """Qubits that the job needs at once."""
        operands = self.operands
        return operands[0].qubits + max((o.qubits for o in operands[1:]), default=0)

    @property
    def shape(self) -> tuple[object, ...]:
        """What two jobs must share to run side by side: all but the numbers of pairs and waits."""

        def entry(operand: Operand) -> tuple[Origin, int, bool]:
            return operand.origin, operand.qubits, bool(operand.waits)

        joins = tuple((j.right, entry(j.operand), bool(j.waits)) for j in self.joins)
        last = self.end
        if last is None:
            return entry(self.base), joins
        what = last.protocol if isinstance(last, Distil) else last.at
        end = (what, entry(last.operand), last.running_is_kept, bool(last.waits))
        return entry(self.base), joins, end


@lru_cache(maxsize=256)
def schedule(skeleton: Skeleton) -> tuple[Job, ...]:
    """Return the jobs in an order in which each finds its stored states; the last is the result.

    >>> two = (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1))
    >>> [len(job.joins) for job in schedule(two)]
    [1]
    """
    jobs: list[Job] = []
    alive: dict[int, Job] = {}
    made = loaded = waited = 0

    def store(job: Job) -> Job:
        needed = [jobs[o.number].level for o in job.operands if o.origin == "stored"]
        level = max(needed, default=-1)
        jobs.append(replace(job, level=level + 1))
        return Job(Operand("stored", len(jobs) - 1, job.qubits))

    def open_end(job: Job) -> Job:
        return job if job.end is None else store(job)

    for kind, first, second in skeleton:
        match kind:
            case "generate":
                alive[first] = Job(Operand("generated", made))
                made += 1
            case "load":
                alive[first] = Job(Operand("loaded", loaded))
                loaded += 1
            case "wait":
                alive[first] = _waiting(alive[first], waited)
                waited += 1
            case _:
                one, other = open_end(alive[first]), open_end(alive.pop(second))
                # Only pairs can enter beside a pair that has been swapped.
                if other.joins and (one.joins or one.qubits > 2):
                    other = store(other)
                if one.joins and other.qubits > 2:
                    one = store(one)
                first_runs = not other.joins
                running, operand = (one, other.base) if first_runs else (other, one.base)
                match kind:
                    case "swap":
                        join = Join(right=first_runs, operand=operand)
                        alive[first] = replace(running, joins=(*running.joins, join))
                    case "merge_first" | "merge_last":
                        at: End = "first" if kind == "merge_first" else "last"
                        alive[first] = replace(running, end=Fuse(at, operand, first_runs))
                    case "dejmps" | "bbpssw" | "epl":
                        alive[first] = replace(running, end=Distil(kind, operand, first_runs))
    (result,) = alive.values()
    store(result)
    return tuple(jobs)


def _waiting(job: Job, wait: int) -> Job:
    """Append a wait to whatever happened last to the running pair or register."""
    if job.end is not None:
        return replace(job, end=replace(job.end, waits=(*job.end.waits, wait)))
    if job.joins:
        last = replace(job.joins[-1], waits=(*job.joins[-1].waits, wait))
        return replace(job, joins=(*job.joins[:-1], last))
    return replace(job, base=replace(job.base, waits=(*job.base.waits, wait)))


@lru_cache(maxsize=256)
def levels(jobs: tuple[Job, ...]) -> list[list[list[int]]]:
    """Group job numbers by level, and within a level by shape: each group is one execution."""
    out: list[dict[tuple[object, ...], list[int]]] = []
    for number, job in enumerate(jobs):
        while len(out) <= job.level:
            out.append({})
        out[job.level].setdefault(job.shape, []).append(number)
    return [list(groups.values()) for groups in out]

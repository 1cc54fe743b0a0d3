"""From a skeleton to jobs that fit on four re-used qubits.

One running pair occupies two qubits; the other two receive the next pair, fresh from a source or
re-entering as a stored state. So a chain of any length is one job. A job ends where two
composite pairs have to meet, or with a distillation, whose herald must be read before the pair is
used; its end state is stored and re-enters a later job. Jobs of one level do not need each other.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from quantum.batch import Skeleton

__all__ = ["Distil", "Job", "Join", "Operand", "levels", "schedule"]


@dataclass(frozen=True)
class Operand:
    """A pair as it enters: generated pair number or stored job number, then its waits."""

    stored: bool
    number: int
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

    protocol: Literal["dejmps", "bbpssw"]
    operand: Operand
    running_is_kept: bool
    waits: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """What happens to one running pair: it enters, is swapped, and perhaps distilled at the end.

    ``level`` is 0 where only fresh pairs are needed, else one more than that of the stored states.
    """

    base: Operand
    joins: tuple[Join, ...] = ()
    distil: Distil | None = None
    level: int = 0

    @property
    def operands(self) -> tuple[Operand, ...]:
        """All pairs that enter, in order."""
        last = () if self.distil is None else (self.distil.operand,)
        return (self.base, *(join.operand for join in self.joins), *last)

    @property
    def shape(self) -> tuple[object, ...]:
        """What two jobs must share to run side by side: all but the numbers of pairs and waits."""

        def entry(operand: Operand) -> tuple[bool, bool]:
            return operand.stored, bool(operand.waits)

        joins = tuple((j.right, entry(j.operand), bool(j.waits)) for j in self.joins)
        last = self.distil
        end = last and (last.protocol, entry(last.operand), last.running_is_kept, bool(last.waits))
        return entry(self.base), joins, end


@lru_cache(maxsize=256)
def schedule(skeleton: Skeleton) -> tuple[Job, ...]:
    """Return the jobs in an order in which each finds its stored states; the last is the result.

    >>> two = (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1))
    >>> [len(job.joins) for job in schedule(two)]
    [1]
    """
    jobs: list[Job] = []
    pairs: dict[int, Job] = {}
    made = waited = 0

    def store(job: Job) -> Job:
        level = 1 + max((jobs[o.number].level for o in job.operands if o.stored), default=-1)
        jobs.append(replace(job, level=level))
        return Job(Operand(stored=True, number=len(jobs) - 1))

    def open_end(job: Job) -> Job:
        return job if job.distil is None else store(job)

    for kind, first, second in skeleton:
        match kind:
            case "generate":
                pairs[first] = Job(Operand(stored=False, number=made))
                made += 1
            case "wait":
                pairs[first] = _waiting(pairs[first], waited)
                waited += 1
            case "swap" | "dejmps" | "bbpssw":
                one, other = open_end(pairs[first]), open_end(pairs.pop(second))
                if one.joins and other.joins:
                    other = store(other)
                first_runs = not other.joins
                running, operand = (one, other.base) if first_runs else (other, one.base)
                if kind == "swap":
                    join = Join(right=first_runs, operand=operand)
                    pairs[first] = replace(running, joins=(*running.joins, join))
                else:
                    last = Distil(kind, operand, running_is_kept=first_runs)
                    pairs[first] = replace(running, distil=last)
    (result,) = pairs.values()
    store(result)
    return tuple(jobs)


def _waiting(job: Job, wait: int) -> Job:
    """Append a wait to whatever happened last to the running pair."""
    if job.distil is not None:
        return replace(job, distil=replace(job.distil, waits=(*job.distil.waits, wait)))
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

"""Jobs that workers have: each is answered once, and by the one who has it. No sockets, no clock.

A pair whose herald never comes is one-sided: after a patience its job is given up with ``EXPIRE``,
and what is said about it afterwards counts for nothing.
"""

from collections import OrderedDict

from quantum.egp import Done, Failed
from quantum.errors import Code, WireError

__all__ = ["Handed"]

#: Jobs given up that are remembered, so that a late answer is not taken for a forged one.
_REMEMBERED = 1024


class Handed:
    """Who has which job, since when; ``patience_s`` is infinite where any answer may take long."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._out: OrderedDict[int, tuple[bytes, float]] = OrderedDict()
        self._given_up: OrderedDict[int, bytes] = OrderedDict()

    def give(self, job: int, worker: bytes, now_s: float) -> None:
        """Note that a worker has a job."""
        self._out[job] = (worker, now_s)

    def expects(self, answer: Done | Failed, worker: bytes) -> bool:
        """Tell whether an answer counts: not where its job was given up before it came.

        Raises :class:`WireError` for an answer to a job that this worker does not have.
        """
        if self._given_up.get(answer.job) == worker:
            return False
        if self._out.get(answer.job, (b"",))[0] != worker:
            raise WireError(f"job {answer.job} was not given to this worker")
        return True

    def end(self, job: int) -> None:
        """Note that a job was answered."""
        del self._out[job]

    def late(self, now_s: float) -> list[tuple[bytes, Failed]]:
        """Give up the jobs that were not answered in time; return who had them, and the answer."""
        out = []
        while self._out:
            job, (worker, given_s) = next(iter(self._out.items()))
            if now_s - given_s <= self.patience_s:
                break
            self.end(job)
            self._given_up[job] = worker
            why = f"no answer within {self.patience_s:g} s"
            out.append((worker, Failed(job, Code.EXPIRE, why)))
        while len(self._given_up) > _REMEMBERED:
            self._given_up.popitem(last=False)
        return out

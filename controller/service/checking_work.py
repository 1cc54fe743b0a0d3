"""The checker's books of what workers have to do: jobs, pairs that were executed or expired.

Each method returns the rule that is broken, nothing where all are kept.
"""

from quantum.requests import Expired

__all__ = ["Shop"]


class Shop:
    """What became of granted pairs; pairs of a service without workers are executed at once."""

    def __init__(self) -> None:
        self.workers = self.trimmed = self._begun = False
        self.last = self.jobs = self.executed = 0
        self.open: dict[int, tuple[int, bytes]] = {}
        """Pair -> who was granted it, by which request; neither executed nor expired yet."""
        self.expired: set[int] = set()
        self._of: dict[int, int] = {}
        """Pair -> the job that it is in."""
        self._out: dict[int, tuple[int, ...]] = {}
        self._lost: set[int] = set()
        """Pairs that were left behind by a service that has ended."""

    def start(self, *, workers: bool) -> None:
        """Begin with another service: what was under way is lost."""
        if self._begun or not self.trimmed:
            self._lost = set(self.open)
        else:
            # Rows before the first start of a trimmed journal may be those of any service.
            self.open.clear()
        self._out.clear()
        self.workers, self._begun = workers, True

    def go_on(self, *, workers: bool) -> None:
        """Begin where a trimmed journal does, in the middle of a service."""
        self.workers, self.trimmed = workers, True

    def grant(self, pair: int, client: int, rid: bytes) -> None:
        """Note a pair that was granted."""
        if self.workers:
            self.open[pair] = client, rid

    def sent(self, job: int, pairs: tuple[int, ...]) -> str:
        """Note a job that leaves."""
        if not self.workers and self._begun:
            return f"job {job} leaves a service that has no workers"
        if job <= self.last:
            return f"job {job} leaves after job {self.last}"
        for pair in pairs:
            if pair in self._of:
                return f"pair {pair} is in job {job} and in job {self._of[pair]}"
            if pair not in self.open and not self.trimmed:
                return f"pair {pair} is in job {job} and was not granted, or has ended"
            self._of[pair] = job
        self.last, self.jobs = job, self.jobs + 1
        self._out[job] = pairs
        return ""

    def settled(self, job: int) -> str:
        """Note a job that was answered, or given up."""
        pairs = self._out.pop(job, None)
        if pairs is None:
            return "" if self.trimmed else f"job {job} is settled and was not under way"
        for pair in pairs:
            if pair in self.open:
                del self.open[pair]
                self.executed += 1
        return ""

    def expire(self, client: int, said: Expired) -> str:
        """Note pairs that expired."""
        name = said.rid.hex()
        for pair in said.pairs:
            if pair in self.expired:
                return f"pair {pair} expires twice"
            granted = self.open.pop(pair, None)
            if granted is None and not self.trimmed:
                return f"pair {pair} expires and was not granted, or was executed"
            if granted is not None and granted != (client, said.rid):
                return f"pair {pair} expires for another request than {name}"
            self.expired.add(pair)
            self._lost.discard(pair)
        return ""

    def left_behind(self) -> str:
        """Tell, at the end of a row, whether a service that starts has left a lost pair open."""
        if self._lost:
            return f"pair {min(self._lost)} was lost with a service and does not expire"
        return ""

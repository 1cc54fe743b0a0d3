"""What was under way in services that have ended: pairs that were granted and never executed.

A job that was given to a worker may have been executed by him, or not: it is not given to anybody
again, and its pairs expire. So do pairs that no job had taken yet: they were in the memory of a
process that is gone.
"""

from controller.service.entries import Answered, Entry, Expiry, Kept, Sent, Settled, Started
from quantum.errors import Code
from quantum.requests import Expired, Granted, decode_answer, encode_request

__all__ = ["Lost"]

_WHY = "the service ended before it was executed"


class Lost:
    """Follows a journal, entry by entry."""

    def __init__(self) -> None:
        self.job = 0
        """The last job that left."""
        self._workers = False
        self._open: dict[int, tuple[int, bytes]] = {}
        """Pair -> the client and the request that it was granted to."""
        self._jobs: dict[int, tuple[int, ...]] = {}

    def follow(self, entry: Entry) -> None:
        """Take the next entry of the journal."""
        match entry:
            case Started(workers=workers):
                # What was lost before it expires in the very row of this start.
                self._workers = workers
                self._open.clear()
                self._jobs.clear()
            case Kept(started, job=job):
                self._workers, self.job = started.workers, max(self.job, job)
            case Answered(client, answer=frame) if self._workers:
                answer = decode_answer(frame)
                if isinstance(answer, Granted):
                    for pair in answer.pairs:
                        self._open[pair.sequence] = client, answer.rid
            case Sent(job, pairs):
                self._jobs[job], self.job = pairs, max(self.job, job)
            case Expiry(said=frame):
                expired = decode_answer(frame)
                assert isinstance(expired, Expired)
                for sequence in expired.pairs:
                    self._open.pop(sequence, None)
            case Settled(job):
                for sequence in self._jobs.pop(job, ()):
                    self._open.pop(sequence, None)

    def expire(self) -> list[Expiry]:
        """Return what is to be said of the pairs that are lost."""
        of: dict[tuple[int, bytes], list[int]] = {}
        for sequence, who in sorted(self._open.items()):
            of.setdefault(who, []).append(sequence)
        return [
            Expiry(client, encode_request(Expired(rid, tuple(pairs), Code.EXPIRE, _WHY)))
            for (client, rid), pairs in of.items()
        ]

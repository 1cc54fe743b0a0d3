"""Who sits where in a run: peers by their keys, and what each of them was given. No sockets.

A key has one seat; whoever comes again with it takes the seat of his lost connection, and is given
again what was under way. It may then be answered as often as it was given: the first answer counts.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from msgspec import structs

from controller.security import Client, Limits, RateLimit
from quantum.blocks import spelled_out
from quantum.egp import Job, Look

__all__ = ["Peer", "Room"]

#: Things given again that are remembered; copies that were lost with a connection have no answer.
_REMEMBERED = 1024


@dataclass
class Peer:
    """One key at one socket. ``identity`` is where it is answered; empty before its hello."""

    client: Client
    rate: RateLimit
    identity: bytes = b""
    features: tuple[str, ...] = ()
    group: int = -1
    look: Look | None = None
    """What an agent was shown and has not answered."""
    jobs: dict[int, Job] = field(default_factory=dict)
    """What a worker has to do."""
    _owed: int = 0
    _again: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """How many more copies of a slot or job were given than the first."""
    _told_s: float = 0.0

    @property
    def seated(self) -> bool:
        """Whether this key has said hello."""
        return bool(self.identity)

    def show(self, look: Look) -> None:
        """Note that an agent is shown something."""
        self.look = look
        self._owed += 1

    def is_shown(self, slot: int) -> bool:
        """Tell whether this slot is what an agent has not answered."""
        return self.look is not None and self.look.slot == slot

    def give(self, job: Job) -> Job:
        """Note that a worker is given a job; returns it as this worker can read it."""
        self.jobs[job.job] = job
        self._owed += 1
        return self._readable(job)

    def _readable(self, job: Job) -> Job:
        return job if "blocks" in self.features else spelled_out(job)

    def under_way(self) -> list[Look | Job]:
        """Return what is to be given once more to a peer that came again."""
        if "resume" not in self.features:
            return []
        out: list[Look | Job] = [
            structs.replace(self._readable(job), again=True) for job in self.jobs.values()
        ]
        if self.look is not None:
            out.append(self.look)
        for number in (*self.jobs, *(() if self.look is None else (self.look.slot,))):
            self._again[number] = self._again.pop(number, 0) + 1
        while len(self._again) > _REMEMBERED:
            self._again.popitem(last=False)
        # Who comes again while we are busy is given a copy each time, and is free to answer two.
        self._owed = max(self._owed, min(self._owed + len(out), 2 * len(out)))
        return out

    def repeats(self, number: int) -> bool:
        """Tell, once for each further copy, that this slot or job may be answered once more."""
        left = self._again.pop(number, 0)
        if left > 1:
            self._again[number] = left - 1
        return left > 0

    def busy(self, now_s: float) -> float:
        """Count a message: 0, or the seconds after which this peer may speak again.

        An answer to what was given costs nothing, but there is one for each.
        """
        if self._owed > 0:
            self._owed -= 1
            return 0.0
        return self.rate.take(now_s)

    def to_be_told(self, wait_s: float, now_s: float) -> bool:
        """Tell whether to answer somebody who is to wait; he is not told for every message."""
        if now_s < self._told_s:
            return False
        self._told_s = now_s + wait_s
        return True


class Room:
    """The peers of one socket by public key, and what each of them may say unasked for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peers: dict[str, Peer] = {}

    def peer(self, client: Client, now_s: float) -> Peer:
        """Return the peer of a key; there are no more than keys that come through the gate."""
        found = self._peers.get(client.public)
        if found is None:
            rate = RateLimit(self._limits.rate_hz, self._limits.burst, now_s=now_s)
            found = Peer(client, rate)
            self._peers[client.public] = found
        return found

    def seated(self) -> list[Peer]:
        """Return who has said hello, in the order of coming."""
        return [peer for peer in self._peers.values() if peer.seated]

    def of_key(self, public: bytes) -> Peer:
        """Return the peer of a public key that has one."""
        return self._peers[public.decode()]

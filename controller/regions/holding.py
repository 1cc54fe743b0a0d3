"""The owner's side of crossing requests: legs that are held for other regions. No sockets.

A leg goes one way only: asked of the own service, held, and then used or let go of; the last two
are for good. It is held for as long as it was asked for, by the own clock, which starts later than
the asker's: where the asker still believes that a leg is held, it is. What is said is journalled
before it leaves. A leg that is asked for again gets the answer that it had.

Held pairs have memory of their own at both ends (``Part.held``), and joining two legs takes a swap
of the node's bucket (``Part.joins_hz``), both the region's alone.
"""

from collections import Counter
from collections.abc import Iterable

from controller.regions.records import Entry, Holding, Over
from controller.regions.territory import Part
from controller.regions.wire import (
    Commit,
    FromAsker,
    FromOwner,
    Gone,
    Held,
    Pending,
    Release,
    Reserve,
    Used,
)
from controller.security.limits import RateLimit
from quantum.draws import uniform
from quantum.errors import Code

__all__ = ["HeldLeg", "Holder"]

#: Legs of one region that are remembered, those that are over included.
_REMEMBERED = 65536
_NOT_KNOWN = "nothing is known of this leg: it was never held, or is long over"


class HeldLeg:
    """A leg that somebody asked for; ``peer`` is the connection that asked last."""

    __slots__ = ("asker", "ended", "message", "owed", "pairs", "peer", "said", "until_s", "wanted")

    def __init__(self, message: Reserve, asker: str, peer: bytes, until_s: float) -> None:
        self.message, self.asker, self.peer, self.until_s = message, asker, peer, until_s
        self.pairs: tuple[tuple[int, float], ...] = ()
        self.owed = message.pairs if message.joined else 0
        """Swaps that are yet to be had."""
        self.wanted = True
        self.said: FromOwner | None = None
        """What was answered last; None while it is waited for."""
        self.ended = False


class Holder:
    """Holds legs of one region; ``part`` says what it has for them, ``success`` of a swap."""

    def __init__(self, part: Part, success: float, *, grace_s: float, now_s: float = 0.0) -> None:
        self._part, self._success, self._grace_s = part, success, grace_s
        self._legs: dict[bytes, HeldLeg] = {}
        self._taken: Counter[str] = Counter()
        self._of: Counter[str] = Counter()
        self._joins = {
            name: RateLimit(max(hz, 1e-6), max(1.0, hz), now_s=now_s)
            for name, hz in part.joins_hz.items()
        }
        self.entries: list[Entry] = []
        """What is to be journalled before ``out`` leaves."""
        self.out: list[tuple[bytes, FromOwner]] = []
        self.asks: list[tuple[bytes, Reserve, float]] = []
        """Legs to be asked of the own service: name, wish, until when."""
        self.held = self.used = self.let_go = 0

    # What the journal says of a time before.

    def recall(self, entries: Iterable[Entry], now_s: float, keep_s: float) -> None:
        """Take over what was held: used legs stay so, the qubits of others went with the process.

        Each is remembered for ``keep_s``.
        """
        for entry in entries:
            if isinstance(entry, Holding):
                wish = Reserve(
                    entry.leg, entry.a, entry.b, len(entry.pairs), 0.0, 1.0, joined=False
                )
                leg = self._legs[entry.leg] = HeldLeg(wish, entry.asker, b"", now_s + keep_s)
                self._of[entry.asker] += 1
                leg.pairs = entry.pairs
                for node in (entry.a, entry.b):
                    self._taken[node] += len(entry.pairs)
            elif isinstance(entry, Over) and entry.leg in self._legs:
                leg = self._legs[entry.leg]
                leg.ended = True
                self._free(leg)
                leg.said = (
                    Used(entry.leg, entry.joined)
                    if entry.used
                    else Gone(entry.leg, Code.EXPIRE, entry.why)
                )
        for leg in self._legs.values():
            if not leg.ended:
                self._let_go(leg, Code.EXPIRE, "the broker that held it was started again")
        self.out.clear()
        self.let_go = 0

    # What other regions ask.

    def hear(self, message: FromAsker, asker: str, peer: bytes, now_s: float) -> None:
        """Take a question of another region; answers go to ``out``, now or later."""
        leg = self._legs.get(message.leg)
        if leg is not None and leg.asker != asker:
            self.out.append((peer, Gone(message.leg, Code.REJECTED, "another region's leg")))
            return
        if leg is not None:
            leg.peer = peer
        match message:
            case Reserve():
                if leg is None:
                    self._reserve(message, asker, peer, now_s)
                else:
                    self.out.append((peer, leg.said or Pending(message.leg)))
            case Commit():
                if leg is None:
                    self.out.append((peer, Gone(message.leg, Code.EXPIRE, _NOT_KNOWN)))
                else:
                    self._commit(leg, now_s)
            case Release():
                if leg is None:
                    self.out.append((peer, Gone(message.leg, Code.EXPIRE, _NOT_KNOWN)))
                elif leg.ended and leg.said is not None:
                    self.out.append((peer, leg.said))
                elif leg.pairs:
                    self._let_go(leg, Code.EXPIRE, "it was not needed")
                else:
                    leg.wanted = False

    def _reserve(self, wish: Reserve, asker: str, peer: bytes, now_s: float) -> None:
        held, a, b = self._part.held, wish.a, wish.b
        why, busy = "", False
        if a not in held or b not in held or a == b:
            why = f"no links of {self._part.network.name} join {a} and {b}"
        elif wish.pairs > min(held[a], held[b]):
            fewest = min((a, b), key=held.__getitem__)
            why = f"node {fewest} holds {held[fewest]} pairs for crossing requests at most"
        elif self._of[asker] >= _REMEMBERED:
            why, busy = f"{_REMEMBERED} legs of a region are remembered already", True
        elif any(self._taken[node] + wish.pairs > held[node] for node in (a, b)):
            why, busy = f"the memory for crossing requests at {a} or {b} is full", True
        if why:
            # Nothing was noted, so nothing has to be remembered: asked again it may be had.
            self.out.append((peer, Gone(wish.leg, Code.NORES, why, busy=busy)))
            return
        until_s = now_s + wish.left_s
        self._legs[wish.leg] = HeldLeg(wish, asker, peer, until_s)
        self._of[asker] += 1
        for node in (a, b):
            self._taken[node] += wish.pairs
        self.asks.append((wish.leg, wish, until_s))
        self.out.append((peer, Pending(wish.leg)))

    def _commit(self, leg: HeldLeg, now_s: float) -> None:
        if leg.ended and leg.said is not None:
            self.out.append((leg.peer, leg.said))
            return
        if not leg.pairs or now_s >= leg.until_s:
            # Nobody commits before Held; whoever does it is answered when there is something held.
            return
        joined = tuple(self._swapped(leg.message.leg, k) for k in range(len(leg.pairs)))
        leg.said, leg.ended = Used(leg.message.leg, joined), True
        self.used += 1
        self.entries.append(Over(leg.message.leg, used=True, joined=joined, why=""))
        self.out.append((leg.peer, leg.said))
        self._free(leg)

    def _swapped(self, name: bytes, pair: int) -> bool:
        draw = uniform(int.from_bytes(name[:7], "big"), pair, 0, 0, 0)
        return bool(self._success >= 1.0 or draw < self._success)

    # What the own service answers, and time.

    def granted(self, name: bytes, pairs: tuple[tuple[int, float], ...], now_s: float) -> None:
        """The own service has made the pairs of a leg: from here on they are held."""
        leg = self._legs.get(name)
        if leg is None or leg.ended or leg.pairs:
            return
        leg.pairs = pairs
        self.held += 1
        wish = leg.message
        self.entries.append(Holding(name, leg.asker, wish.a, wish.b, pairs))
        if not leg.wanted:
            self._let_go(leg, Code.EXPIRE, "it was not needed")
        elif now_s >= leg.until_s:
            self._let_go(leg, Code.EXPIRE, "it was held for as long as was asked")
        else:
            self._say_held(leg, now_s)

    def _say_held(self, leg: HeldLeg, now_s: float) -> None:
        """Say that a leg is held, once the swaps that it needs are there."""
        bucket = self._joins[leg.message.b]
        while leg.owed and bucket.take(now_s) == 0.0:
            leg.owed -= 1
        if not leg.owed:
            leg.said = Held(leg.message.leg, leg.pairs)
            self.out.append((leg.peer, leg.said))

    def refused(self, name: bytes, code: Code, why: str) -> None:
        """The own service has no pairs for a leg."""
        leg = self._legs.get(name)
        if leg is None or leg.ended or leg.pairs:
            return
        leg.said, leg.ended = Gone(name, code, why), True
        self.out.append((leg.peer, leg.said))
        self._free(leg)

    def turn(self, now_s: float) -> None:
        """Let go of what was held long enough, forget what is long over."""
        for name, leg in list(self._legs.items()):
            if leg.ended:
                if now_s >= leg.until_s + self._grace_s:
                    del self._legs[name]
                    self._of[leg.asker] -= 1
            elif now_s >= leg.until_s and leg.pairs:
                self._let_go(leg, Code.EXPIRE, "it was held for as long as was asked")
            elif now_s >= leg.until_s + self._grace_s:
                # The service has not even said no.
                self.refused(name, Code.TIMEOUT, "the region's service gave no answer in time")
            elif leg.pairs and leg.said is None:
                self._say_held(leg, now_s)

    def _let_go(self, leg: HeldLeg, code: Code, why: str) -> None:
        leg.said, leg.ended = Gone(leg.message.leg, code, why), True
        self.let_go += 1
        self.entries.append(Over(leg.message.leg, used=False, joined=(), why=why))
        self.out.append((leg.peer, leg.said))
        self._free(leg)

    def _free(self, leg: HeldLeg) -> None:
        for node in (leg.message.a, leg.message.b):
            self._taken[node] -= leg.message.pairs

    def holding(self) -> int:
        """Count the legs that are held now."""
        return sum(bool(leg.pairs) and not leg.ended for leg in self._legs.values())

    def is_sound(self) -> bool:
        """Check that memory is taken by those that hold it or wait for it, and nobody else."""
        taken: Counter[str] = Counter()
        for leg in self._legs.values():
            if not leg.ended:
                for node in (leg.message.a, leg.message.b):
                    taken[node] += leg.message.pairs
        fits = all(taken[node] <= self._part.held[node] for node in taken)
        return fits and taken == Counter({n: k for n, k in self._taken.items() if k})

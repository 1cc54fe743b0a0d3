"""A request between regions, seen from the region where it begins: a state machine. No sockets.

1. *Reserve*: every owner on the way is asked to hold its leg.
2. *Commit*, once all are held: this is decided, and journalled, before it is said. From here on the
   request goes on, also after a restart, until every owner has said Used or Gone.
3. All used: the pairs exist. One gone, because its owner was started again: they do not. Others are
   let go of where they are not used yet; what is used is spent.

So a pair is never promised before all its legs are used for it, and no leg is used for two. While
an owner is silent its region is asked again; at the deadline the request ends, and says who was
silent. A leg that is refused is asked for again, or the way goes round that region.
"""

import hashlib
import math
from collections.abc import Callable, Sequence

from controller.regions.records import Crossing as Pair
from controller.regions.records import DecidedLeg, Deciding
from controller.regions.territory import Leg, Territory
from controller.regions.wire import (
    Commit,
    FromAsker,
    FromOwner,
    Gone,
    Held,
    Release,
    Reserve,
    Used,
)
from quantum.errors import Code
from quantum.requests import Ask

__all__ = ["Crossing", "Losses", "Outcome", "leg_name"]

#: A question without an answer is asked again after so long, later ones after twice as long.
_AGAIN_S, _LONGEST_S = 0.25, 2.0
#: A new attempt begins after so long, later ones after twice as long, by up to a half more: two
#: requests that were in each other's way must not meet again.
_BUSY_S = 0.05
#: Waiting that legs are asked to bear: better than needed by what so long costs.
_WAIT_S = 0.5

#: A pair's chance to have no error after waiting so long, and after one swap.
Losses = tuple[Callable[[float], float], float]
#: None while it goes on, else (code, why) of an end without success; (None, "") of one with it.
Outcome = tuple[Code | None, str] | None


def leg_name(region: str, epoch: int, client: str, rid: bytes, attempt: int, index: int) -> bytes:
    """Return the name of a leg, which no other leg of any region ever has."""
    said = f"{region} {epoch} {client} {rid.hex()} {attempt} {index}"
    return hashlib.sha256(said.encode()).digest()[:16]


class _Asked:
    """A leg and what is known of it."""

    __slots__ = ("again_s", "leg", "name", "pairs", "retry_s", "sent_s", "state", "unheard", "used")

    def __init__(self, leg: Leg, name: bytes, now_s: float) -> None:
        self.leg, self.name = leg, name
        self.sent_s = self.again_s = now_s
        self.retry_s = _AGAIN_S
        self.pairs: tuple[tuple[int, float], ...] = ()
        self.state = "asked"  # asked, held, used, gone
        self.unheard = 0
        """How often it was asked since its owner was heard last."""
        self.used: tuple[bool, ...] = ()


class Crossing:
    """One request; ``name_of`` names legs by attempt and index."""

    def __init__(
        self,
        ask: Ask,
        territory: Territory,
        losses: Losses,
        name_of: Callable[[int, int], bytes],
        now_s: float,
    ) -> None:
        self.ask, self._territory, self._losses, self._name_of = ask, territory, losses, name_of
        self.pairs: list[Pair] = []
        """What was put together so far; sequences are given by the broker."""
        self.attempt = 0
        self.phase = "reserve"  # reserve, commit, abort
        self._without: frozenset[str] = frozenset()
        self._legs: list[_Asked] = []
        self._let_go: list[_Asked] = []
        self._next_s, self._wait_s = now_s, _BUSY_S
        self.out: list[tuple[str, FromAsker]] = []
        self.deciding: Deciding | None = None
        """A decision that has to be in the journal before anything is said of it."""
        self.used: tuple[tuple[str, bytes], ...] = ()
        """Regions and names of the legs that were used last."""
        self.made: list[tuple[int, float]] = []
        """Pairs that have just been put together: index in the legs, and fidelity."""

    # The way on.

    def turn(self, now_s: float) -> Outcome:
        """Let time go on; say what has to be said (again)."""
        if now_s >= self.ask.deadline_s:
            return self._end(Code.TIMEOUT, self._late())
        if not self._legs and now_s >= self._next_s:
            refused = self._begin(now_s)
            if refused is not None:
                return self._end(*refused)
        for asked in self._legs:
            if asked.state in ("used", "gone") or now_s < asked.again_s:
                continue
            if asked.state == "held" and self.phase == "reserve":
                continue
            self._say(asked, now_s)
        self._repeat_releases(now_s)
        return None

    def _say(self, asked: _Asked, now_s: float) -> None:
        asked.again_s = now_s + asked.retry_s
        asked.retry_s = min(2.0 * asked.retry_s, _LONGEST_S)
        asked.unheard += 1
        message: FromAsker = Release(asked.name) if self.phase == "abort" else Commit(asked.name)
        if self.phase == "reserve":
            left_s = max(1e-3, self.ask.deadline_s - now_s)
            last = asked is self._legs[-1]
            message = Reserve(
                asked.name,
                asked.leg.a,
                asked.leg.b,
                self.ask.pairs - len(self.pairs),
                self._wanted(asked.leg),
                left_s,
                joined=not last,
            )
        self.out.append((asked.leg.region, message))

    def _begin(self, now_s: float) -> tuple[Code, str] | None:
        """Choose a way and ask for its legs; return why there is none."""
        ask = self.ask
        legs = self._territory.way(ask.source, ask.destination, without=self._without)
        if legs is None:
            round_ = f" that avoids {', '.join(sorted(self._without))}" if self._without else ""
            return Code.NORES, f"no way joins {ask.source} and {ask.destination}{round_}"
        self.attempt += 1
        self.phase = "reserve"
        self._legs = [
            _Asked(leg, self._name_of(self.attempt, index), now_s) for index, leg in enumerate(legs)
        ]
        if any(self._wanted(leg) >= 1.0 for leg in legs):
            self._legs = []
            return Code.NORES, "no chain of links in this network can meet minimum_fidelity"
        return None

    def _wanted(self, leg: Leg) -> float:
        """Return how good a leg has to be, its share of the loss by its number of links."""
        legs = [asked.leg for asked in self._legs]
        kept, swap = self._losses
        spare = swap ** (len(legs) - 1) * kept(_WAIT_S) ** len(legs)
        whole = self.ask.minimum_fidelity / spare
        if whole >= 1.0:
            return 1.0
        share = leg.hops / sum(one.hops for one in legs)
        return float(max(whole, 1e-9) ** share)

    # What owners answer.

    def hear(self, region: str, message: FromOwner, now_s: float) -> Outcome:
        """Take an answer of the owner of a leg."""
        asked = next((one for one in self._legs if one.name == message.leg), None)
        if asked is None or asked.leg.region != region:
            self._heard_of_old(region, message)
            return None
        asked.unheard = 0
        if asked.state in ("used", "gone"):
            return None
        match message:
            case Held(pairs=pairs):
                if self.phase == "reserve" and self._fits(pairs):
                    asked.state, asked.pairs = "held", pairs
                    self._decide(now_s)
            case Used(joined=joined):
                if self.phase != "reserve" and len(joined) == len(asked.pairs):
                    asked.state, asked.used = "used", joined
                    return self._close(now_s)
            case Gone():
                asked.state = "gone"
                if self.phase == "reserve":
                    return self._refused(asked, message, now_s)
                if self.phase == "commit":
                    # Nothing comes of this: what is not used yet need not be.
                    self.phase = "abort"
                    for one in self._legs:
                        one.again_s, one.retry_s = now_s, _AGAIN_S
                return self._close(now_s)
        return None

    def _fits(self, pairs: Sequence[tuple[int, float]]) -> bool:
        return len(pairs) == self.ask.pairs - len(self.pairs) and all(
            0.0 <= fidelity <= 1.0 for _, fidelity in pairs
        )

    def _decide(self, now_s: float) -> None:
        """Decide that all legs are to be used, once they are held and good enough."""
        if any(asked.state != "held" for asked in self._legs):
            return
        if any(f < self.ask.minimum_fidelity for f in self._fidelities(now_s)):
            # They waited too long for each other.
            self._release(now_s)
            self._again(now_s)
            return
        self.phase, self._wait_s = "commit", _BUSY_S
        for asked in self._legs:
            asked.again_s, asked.retry_s = now_s, _AGAIN_S
        self.deciding = Deciding(
            0,
            b"",
            self.attempt,
            tuple(
                DecidedLeg(
                    one.name,
                    one.leg.region,
                    one.leg.a,
                    one.leg.b,
                    one.pairs,
                    max(0.0, now_s - one.sent_s),
                )
                for one in self._legs
            ),
            now_s,
        )
        for asked in self._legs:
            self._say(asked, now_s)

    def _fidelities(self, now_s: float) -> list[float]:
        """Return what each pair's fidelity is at least: the chance that nothing went wrong.

        A leg is as old as the question for it, which no leg is really.
        """
        kept, swap = self._losses
        spare = swap ** (len(self._legs) - 1)
        for asked in self._legs:
            spare *= kept(max(0.0, now_s - asked.sent_s))
        return [
            spare * math.prod(asked.pairs[k][1] for asked in self._legs)
            for k in range(len(self._legs[0].pairs))
        ]

    def _close(self, now_s: float) -> Outcome:
        """End an attempt once every owner has said what became of its leg."""
        if any(asked.state not in ("used", "gone") for asked in self._legs):
            return None
        if all(asked.state == "used" for asked in self._legs):
            self.used = self.names()
            fidelities = self._fidelities(now_s)
            self.made = [
                (k, fidelity)
                for k, fidelity in enumerate(fidelities)
                # Owners swap with the next leg; the last one has nothing to swap.
                if all(asked.used[k] for asked in self._legs[:-1])
                and fidelity >= self.ask.minimum_fidelity
            ]
            if len(self.pairs) + len(self.made) >= self.ask.pairs:
                return None, ""
        self._again(now_s)
        return None

    def names(self) -> tuple[tuple[str, bytes], ...]:
        """Return regions and names of the legs of this attempt."""
        return tuple((asked.leg.region, asked.name) for asked in self._legs)

    def _refused(self, asked: _Asked, why: Gone, now_s: float) -> Outcome:
        self._release(now_s)
        if not why.busy and why.code in (Code.NORES, Code.CREATE, Code.REJECTED, Code.UNSUPP):
            self._without |= {asked.leg.region}
            if self._way_left() is None:
                return self._end(why.code, f"region {asked.leg.region}: {why.detail}")
        self._again(now_s)
        return None

    def _way_left(self) -> tuple[Leg, ...] | None:
        ask = self.ask
        return self._territory.way(ask.source, ask.destination, without=self._without)

    def _again(self, now_s: float) -> None:
        """Begin anew in a moment."""
        apart = 1.0 + 0.5 * self._name_of(self.attempt, 0)[0] / 255.0
        self._next_s = now_s + self._wait_s * apart
        self._wait_s = min(2.0 * self._wait_s, _LONGEST_S)
        self._legs = []

    # What is not needed any more.

    def _release(self, now_s: float) -> None:
        for asked in self._legs:
            if asked.state in ("asked", "held"):
                asked.again_s, asked.retry_s = now_s, _AGAIN_S
                self._let_go.append(asked)
        self._repeat_releases(now_s)

    def _repeat_releases(self, now_s: float) -> None:
        for asked in self._let_go:
            if now_s >= asked.again_s:
                asked.again_s = now_s + asked.retry_s
                asked.retry_s = min(2.0 * asked.retry_s, _LONGEST_S)
                self.out.append((asked.leg.region, Release(asked.name)))

    def _heard_of_old(self, region: str, message: FromOwner) -> None:
        if isinstance(message, Gone | Used):
            self._let_go = [
                one for one in self._let_go if (one.name, one.leg.region) != (message.leg, region)
            ]

    def _end(self, code: Code, why: str) -> Outcome:
        """Give up; owners let go by themselves, and sooner if they hear of it."""
        if self.phase == "reserve":
            for asked in self._legs:
                if asked.state in ("asked", "held"):
                    self.out.append((asked.leg.region, Release(asked.name)))
        return code, why

    def _late(self) -> str:
        """Say why the deadline passed: who was silent, or else who had no pairs."""
        missing = [one for one in self._legs if one.state in ("asked", "held")]
        if self.phase == "reserve":
            missing = [one for one in missing if one.state == "asked"]
        silent = sorted({one.leg.region for one in missing if one.unheard > 1})
        said = "the deadline has passed"
        if silent:
            return f"{said}; region {', '.join(silent)} did not answer"
        poor = sorted({one.leg.region for one in missing})
        return f"{said}; region {', '.join(poor)} had no pairs by then" if poor else said

    def resume(self, decided: Deciding, now_s: float) -> None:
        """Go on with a decision that was made before a restart."""
        self.attempt, self.phase = decided.attempt, "commit"
        self._legs = []
        for one in decided.legs:
            leg = Leg(one.region, one.a, one.b, 1)
            asked = _Asked(leg, one.leg, now_s - one.held_for_s)
            asked.state, asked.pairs, asked.again_s = "held", one.pairs, now_s
            self._legs.append(asked)

"""Who may do what at a rack, request by request. No sockets, no instruments, no clock of its own.

A request is answered at once, refused at once, or handed out as :class:`Start` to be carried out
and answered by :meth:`Desk.finish`. The latch is here: once it is set, nothing but a person's
:class:`Rearm` is carried out.
"""

from collections import OrderedDict
from dataclasses import dataclass

from backends.supervisor.keys import at_least
from backends.supervisor.leases import Lease, Leases
from backends.supervisor.limits import READS, REMOTE, SAFE
from backends.supervisor.messages import (
    VERSION,
    Acquire,
    Act,
    Estop,
    Granted,
    Prepare,
    Rearm,
    Refused,
    Release,
    Renew,
    Reply,
    Request,
    Run,
    Status,
    Trip,
)
from quantum.errors import Code, RequestError
from quantum.rack_safety import Role

__all__ = ["Desk", "Start"]

#: Answers that are kept for those who ask again.
_KEPT = 1024

_NEEDS: dict[type[Request], Role] = {
    Acquire: "operate",
    Renew: "operate",
    Release: "operate",
    Trip: "operate",
    Prepare: "operate",
    Run: "operate",
    Act: "observe",
    Status: "observe",
    Rearm: "arm",
    Estop: "observe",
}

Caller = tuple[str, bytes]


@dataclass(frozen=True)
class Start:
    """Something to carry out; ``lease`` is the one it is made under."""

    who: str
    message: Prepare | Run | Act | Release | Trip | Rearm | Status
    lease: Lease | None = None


class Desk:
    """The rules of one rack; ``roles`` says what each public key may do."""

    def __init__(
        self, mode: str, leases: Leases, roles: dict[str, Role], instruments: set[str]
    ) -> None:
        self.mode, self.leases, self.roles = mode, leases, roles
        self.latched = ""
        self._instruments = instruments
        self._answers: OrderedDict[Caller, Reply] = OrderedDict()
        self._running: set[Caller] = set()

    @property
    def busy(self) -> bool:
        """Whether anything is being carried out whose answer is still due."""
        return bool(self._running)

    def decide(self, who: str, message: Request, now_s: float) -> Reply | Start | None:
        """Answer a request, or say what to carry out; None where no answer is due yet."""
        if isinstance(message, Renew):
            try:
                self._may(who, message)
                self.leases.renew(who, message.token, now_s)
            except RequestError as wrong:
                return Refused(bytes(16), wrong.code, wrong.detail)
            return None
        caller = (who, message.rid)
        if caller in self._answers:
            return self._answers[caller]
        if caller in self._running:
            return None
        try:
            out = self._decide(who, message, now_s)
        except RequestError as wrong:
            return self._keep(caller, Refused(message.rid, wrong.code, wrong.detail))
        if isinstance(out, Start):
            self._running.add(caller)
            return out
        return self._keep(caller, out)

    def finish(self, who: str, reply: Reply) -> bool:
        """Take the answer to something carried out; False where it was answered already."""
        caller = (who, reply.rid)
        if caller not in self._running:
            return False
        self._running.discard(caller)
        self._keep(caller, reply)
        return True

    def latch(self, why: str) -> list[tuple[str, Refused]]:
        """Let nothing more happen; return the answers to what was being carried out."""
        self.latched = self.latched or why
        self.leases.end()
        return self.abort(why)

    def abort(self, why: str, but: bytes = b"") -> list[tuple[str, Refused]]:
        """Refuse all that is being carried out, ``but`` the request of an id."""
        running = sorted(caller for caller in self._running if caller[1] != but)
        out = [(who, Refused(rid, Code.REJECTED, why)) for who, rid in running]
        for who, reply in out:
            self.finish(who, reply)
        return out

    def _keep(self, caller: Caller, reply: Reply) -> Reply:
        self._answers[caller] = reply
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return reply

    def _may(self, who: str, message: Request) -> None:
        role, needed = self.roles.get(who), _NEEDS[type(message)]
        if role is None or not at_least(role, needed):
            word = type(message).__name__.lower()
            raise RequestError(Code.REJECTED, f"{word} needs role {needed}, this key has {role}")

    def _decide(self, who: str, message: Request, now_s: float) -> Reply | Start:
        self._may(who, message)
        match message:
            case Status():
                return Start(who, message)
            case Rearm():
                if not self.latched:
                    raise RequestError(Code.REJECTED, "the rack is not latched")
                return Start(who, message)
            case Act(method=method):
                return self._act(who, message, now_s, method)
            case Acquire():
                self._not_latched()
                if message.v != VERSION:
                    raise RequestError(
                        Code.CREATE, f"version {message.v} is not spoken here, {VERSION} is"
                    )
                lease = self.leases.acquire(who, message.name, now_s)
                return Granted(message.rid, lease.token, self.leases.lease_s, self.mode)
            case Prepare() | Run() | Release() | Trip():
                self._not_latched()
                return Start(who, message, self._lease(who, message.token, now_s))
            case _:
                raise RequestError(Code.CREATE, "an emergency stop has a socket of its own")

    def _act(self, who: str, message: Act, now_s: float, method: str) -> Start:
        if message.instrument not in self._instruments:
            raise RequestError(Code.CREATE, f"{message.instrument} is no instrument of this rack")
        if method not in REMOTE:
            raise RequestError(Code.CREATE, f"{method} cannot be called from outside")
        if method in READS:
            return Start(who, message)
        role = self.roles[who]
        if not at_least(role, "operate"):
            raise RequestError(Code.REJECTED, f"{method} needs role operate, this key has {role}")
        if method in SAFE:
            return Start(who, message)
        self._not_latched()
        return Start(who, message, self._lease(who, message.token, now_s))

    def _lease(self, who: str, token: int, now_s: float) -> Lease:
        return self.leases.check(who, token, now_s)

    def _not_latched(self) -> None:
        if self.latched:
            raise RequestError(
                Code.REJECTED, f"the rack is latched: {self.latched}; dpem lab rearm undoes it"
            )

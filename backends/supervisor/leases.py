"""Leases with fencing tokens: one holder at a time, and who lost his lease can do nothing more.

Pure: times are given, nothing is read from a clock. Tokens grow strictly, also over restarts: the
caller keeps the last one and gives it to the next :class:`Leases`.
"""

from dataclasses import dataclass

from quantum.errors import Code, RequestError

__all__ = ["Lease", "Leases"]


@dataclass(frozen=True)
class Lease:
    """The right of ``holder`` (a public key) to command until ``until_s``."""

    token: int
    holder: str
    name: str
    until_s: float


class Leases:
    """The lease of one rack; ``last_token`` is the highest that was ever given out."""

    def __init__(self, lease_s: float, last_token: int = 0) -> None:
        self.lease_s = lease_s
        self.last_token = last_token
        self.current: Lease | None = None

    def acquire(self, holder: str, name: str, now_s: float) -> Lease:
        """Give the lease to a holder; refused while another one is alive."""
        held = self.current
        if held is not None:
            raise RequestError(Code.REJECTED, f"{held.name} holds the lease (token {held.token})")
        self.last_token += 1
        self.current = Lease(self.last_token, holder, name, now_s + self.lease_s)
        return self.current

    def check(self, holder: str, token: int, now_s: float) -> Lease:
        """Return the lease that a command is made under, or refuse the command."""
        held = self.current
        if held is None or token != held.token or holder != held.holder:
            now = "nobody holds the lease" if held is None else f"the token is {held.token}"
            raise RequestError(Code.REJECTED, f"token {token} is not valid: {now}")
        if now_s > held.until_s:
            raise RequestError(Code.REJECTED, f"the lease of token {token} has run out")
        return held

    def renew(self, holder: str, token: int, now_s: float) -> None:
        """Prolong a lease that is alive; one that ran out stays dead."""
        held = self.check(holder, token, now_s)
        self.current = Lease(held.token, held.holder, held.name, now_s + self.lease_s)

    def expired(self, now_s: float) -> Lease | None:
        """Return the lease that ran out without being given back, if there is one."""
        held = self.current
        return held if held is not None and now_s > held.until_s else None

    def end(self) -> None:
        """Take the lease away from whoever has it."""
        self.current = None

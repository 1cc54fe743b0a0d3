"""Who has a session with a service. No sockets: a client is who the gate says he is.

A session is named by twelve random bytes that travel on the encrypted connection only, so nobody
can speak in a session of somebody else, whatever name his connection gives itself.
"""

import secrets

from controller.security.keyring import Client, Keyring
from controller.security.limits import RateLimit
from controller.service.answers import Party
from controller.service.terms import Terms
from quantum.alterations import NETWORK
from quantum.errors import Code
from quantum.requests import EXPIRES, FEATURES, VERSION, Closed, Open, Opened
from quantum.roles import Role, allows

__all__ = ["Sessions"]


class Sessions:
    """Sessions by their names; ``ring`` says whose keys count, and may be replaced."""

    def __init__(
        self,
        terms: Terms,
        ring: Keyring,
        *,
        network: str,
        epoch: int,
        expires: bool = False,
        changes: bool = False,
    ) -> None:
        self.terms = terms
        self._ring, self._may = Keyring(), set[str]()
        self.ring = ring
        self._network, self.epoch, self._expires, self._changes = network, epoch, expires, changes
        self._open: dict[bytes, Party] = {}
        self.parties: dict[str, Party] = {}
        self._last = 0

    @property
    def ring(self) -> Keyring:
        """Whose keys count; another one counts from the next frame on."""
        return self._ring

    @ring.setter
    def ring(self, ring: Keyring) -> None:
        # The loop sets it again and again.
        if ring is self._ring:
            return
        self._ring = ring
        # Looked up for each request: a role may be taken away while a session is open.
        self._may = {c.public for c in ring.clients.values() if allows(c.role, "request")}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, token: bytes) -> bool:
        return token in self._open

    def party(self, public: str, name: str, now_s: float) -> Party:
        """Return the owner of a key, who gets the next number when he is seen first."""
        found = self.parties.get(public)
        if found is None:
            limit = RateLimit(self.terms.rate_hz, float(self.terms.burst), now_s=now_s)
            self._last += 1
            found = self.parties[public] = Party(self._last, public, name, limit)
        return found

    def recall(self, number: int, public: str, name: str, now_s: float) -> Party:
        """Return the owner of a key who had a number before."""
        party = self.party(public, name, now_s)
        party.number, party.noted = number, True
        self._last = max(self._last, number)
        return party

    def open(self, client: Client, message: Open, now_s: float) -> Opened | Closed:
        """Open a session, or say why not."""
        terms = self.terms
        if message.v != VERSION:
            why = f"version {message.v} is not spoken here; this is version {VERSION}"
            return Closed(Code.UNSUPP, why)
        if self._expires and EXPIRES not in message.features:
            why = (
                f"pairs of this service may expire after they were granted, and this client does "
                f"not hear of it (feature {EXPIRES}): update dpem at the client"
            )
            return Closed(Code.UNSUPP, why)
        # Who says that he knows how may look at the network, whatever else he may.
        looks = self._changes and NETWORK in message.features
        if not allows(client.role, "observe" if looks else "request"):
            return Closed(Code.REJECTED, _too_little(client))
        party = self.party(client.public, client.name, now_s)
        if party.limit.take(now_s) > 0.0:
            return Closed(Code.BUSY, "too many messages a second")
        if len(self._open) >= terms.sessions:
            self._tidy(client.public)
        if len(self._open) >= terms.sessions:
            return Closed(Code.BUSY, f"{terms.sessions} sessions are open; no more are kept")
        token = secrets.token_bytes(12)
        self._open[token] = party
        return Opened(
            v=VERSION,
            session=token,
            now_s=now_s,
            epoch=self.epoch,
            network=self._network,
            credits=terms.credits,
            most_pairs=terms.most_pairs,
            most_s=terms.most_s,
            grace_s=terms.grace_s,
            features=FEATURES + self._expires * (EXPIRES,) + looks * (NETWORK,),
        )

    def find(self, token: bytes) -> Party | Closed | None:
        """Return who has a session, or why it ended; None where there is no such session."""
        party = self._open.get(token)
        if party is not None and party.public not in self._may:
            del self._open[token]
            client = self._ring.clients.get(party.public)
            if client is not None:
                return Closed(Code.REJECTED, _too_little(client))
            why = f"key {party.name} is admitted no longer; ask the operator for a new one"
            return Closed(Code.REJECTED, why)
        return party

    def owner(self, token: bytes) -> Party | Closed | None:
        """Return who has a session, whatever his role; :class:`Closed` where his key is gone."""
        party = self._open.get(token)
        if party is not None and party.public not in self._ring.clients:
            return self.find(token)
        return party

    def lacks(self, party: Party, role: Role, what: str) -> str:
        """Say what the key of somebody who has a session is short of; nothing where it is not."""
        client = self._ring.clients[party.public]
        if allows(client.role, role):
            return ""
        return f"key {client.name} has role {client.role}; {what} needs role {role}"

    def close(self, token: bytes) -> None:
        """End a session."""
        self._open.pop(token, None)

    def _tidy(self, public: str) -> None:
        """Make room for a session of a key: end those of keys that are gone, and the oldest.

        Connections that died without a word leave sessions behind; who is cut off by mistake is
        told to open a new one. A key that has no more than its share loses none to others.
        """
        of: dict[str, list[bytes]] = {public: []}
        for token, party in self._open.items():
            of.setdefault(party.public, []).append(token)
        share = self.terms.sessions // max(1, sum(key in self.ring.clients for key in of))
        for key, tokens in of.items():
            kept, half = len(tokens), (len(tokens) + 1) // 2
            if key not in self.ring.clients:
                kept = 0
            elif key == public and kept >= share:
                kept = half
            elif kept > share:
                kept = max(share, half)
            for token in tokens[: len(tokens) - kept]:
                del self._open[token]


def _too_little(client: Client) -> str:
    return f"key {client.name} has role {client.role}; requests need role request"

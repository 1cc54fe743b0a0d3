"""One turn of the service: what it decided, and what leaves when."""

from controller.service.answers import Party, Waiting
from controller.service.entries import Entry

__all__ = ["Reply", "Turn", "repeat"]

#: A connection, and a frame for it.
Reply = tuple[bytes, bytes]
#: Connections that wait for one request; the oldest are left out.
_PEERS = 8


class Turn:
    """What one turn says: entries for the journal, and what leaves only once they are there."""

    __slots__ = ("done", "entries", "held", "out")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.out: list[Reply] = []
        self.held: list[Reply] = []
        self.done: list[Waiting] = []


def repeat(turn: Turn, peer: bytes, party: Party, rid: bytes, before: bytes | Waiting) -> None:
    """Answer a request that was asked before as it was, or let its connection wait with it."""
    if isinstance(before, bytes):
        # It may have been said in this very turn, and wait for the journal.
        turn.held.append((peer, before))
        turn.held += [(peer, said) for said in party.expired.get(rid, ())]
    elif peer not in before.peers:
        before.peers.append(peer)
        del before.peers[:-_PEERS]

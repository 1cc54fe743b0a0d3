"""One turn of the service: what it decided, and what leaves when."""

from controller.service.answers import Waiting
from controller.service.entries import Entry

__all__ = ["Reply", "Turn"]

#: A connection, and a frame for it.
Reply = tuple[bytes, bytes]


class Turn:
    """What one turn says: entries for the journal, and what leaves only once they are there."""

    __slots__ = ("done", "entries", "held", "out")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.out: list[Reply] = []
        self.held: list[Reply] = []
        self.done: list[Waiting] = []

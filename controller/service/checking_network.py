"""The checker's books of changes of the network: how many, who is gone, which links are down.

Each method returns the rule that is broken, nothing where all are kept. The nodes of the file are
not in a journal, so it is known who came and went, and not who else is there.
"""

from collections.abc import Iterable

from controller.service.entries import Difference
from quantum.alterations import Fail, Join, Part, Return, Step

__all__ = ["Nodes"]


class Nodes:
    """Follows the changes of a journal; those that what was kept of rows knows already are over."""

    def __init__(self) -> None:
        self.changes = self._known = 0
        self._sure = True
        """Whether the rows that are read are as new as what was kept."""
        self._here: set[str] = set()
        self._gone: set[str] = set()
        self._down: set[tuple[str, str]] = set()

    def go_on(self, changes: int, now: Difference) -> None:
        """Begin where a trimmed journal does; its rows may be older than ``changes``."""
        self.changes = self._known = changes
        self._sure = changes == 0
        self._here = {guest.node.name for guest in now.guests}
        self._gone = {*now.gone, *now.left} - self._here
        self._down = set(now.down)

    def start(self, changes: int) -> str:
        """Note that a service starts."""
        self._sure = self._sure or changes >= self._known
        if changes == self.changes or not self._sure:
            return ""
        return f"a service starts after {changes} changes of its network, {self.changes} were made"

    def change(self, number: int, steps: Iterable[Step]) -> str:
        """Note a change, the ``number``-th."""
        if not self._sure and number <= self._known:
            self._sure = number == self._known
            return ""
        self._sure = True
        if number != self.changes + 1:
            return f"change {number} of the network follows change {self.changes}"
        self.changes = number
        for step in steps:
            why = self._step(step)
            if why:
                return f"change {number} of the network: {why}"
        return ""

    def _step(self, step: Step) -> str:
        match step:
            case Join(name):
                if name in self._here:
                    return f"node {name} joins and is there"
                self._here.add(name)
                self._gone.discard(name)
            case Part(name):
                if name in self._gone:
                    return f"node {name} leaves and is not there"
                self._here.discard(name)
                self._gone.add(name)
                self._down = {pair for pair in self._down if name not in pair}
            case Fail(a, b):
                if _pair(a, b) in self._down:
                    return f"link {a} - {b} fails and has failed"
                self._down.add(_pair(a, b))
            case Return(a, b):
                if _pair(a, b) not in self._down:
                    return f"link {a} - {b} returns and has not failed"
                self._down.remove(_pair(a, b))
        return ""

    def pair(self, source: str, destination: str) -> str:
        """Note that a pair of two nodes is handed out."""
        for name in (source, destination):
            if self._sure and name in self._gone:
                return f"node {name} has left the network"
        return ""


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)

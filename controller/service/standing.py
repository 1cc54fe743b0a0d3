"""Which nodes and links a service has: those of its file, and what was changed since. Pure.

A standing is the network of the file and the difference from it; changes make another one, or are
refused as a whole, and then nothing has happened. Nodes that are gone and come again, under the
same name, are other nodes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from controller.service.entries import Difference, Guest
from quantum.alterations import Fail, Join, NewLink, Part, Return, Step
from quantum.bell import check_populations
from quantum.errors import InputError
from quantum.ledger.state import Ints
from quantum.network import Network
from quantum.words import near

__all__ = ["MOST_LINKS", "MOST_NODES", "MOST_QUBITS", "Standing", "told"]

#: Tables grow with these: nodes, qubits of a node that joins, links of one node.
MOST_NODES, MOST_QUBITS, MOST_LINKS = 10_000, 1024, 256
_MOST_HZ, _MOST_KM, _MOST_NAME = 1e9, 1e6, 64
#: Names of nodes that have joined and left, which are told apart from those that never were.
_MOST_LEFT = 1000
_MOST_NAMED = 8

#: A node: its name, and the change by which it came; 0: it is in the file.
Node = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Standing:
    """The network ``base`` of the file after ``changes`` changes, and the difference ``now``."""

    base: Network
    changes: int = 0
    now: Difference = Difference()

    def after(self, steps: Iterable[Step]) -> "Standing":
        """Return what stands after one more change; :class:`InputError` names what is wrong."""
        draft = _Draft(self)
        for step in steps:
            try:
                draft.take(step)
            except InputError as wrong:
                raise InputError(f"{told(step)}: {wrong}") from None
        if not draft.nodes:
            raise InputError("the last node cannot leave: a network has at least one")
        return replace(self, changes=self.changes + 1, now=draft.difference())

    def restored(self, changes: int, now: Difference) -> "Standing":
        """Return what stood after ``changes`` changes, where that is later than this."""
        return replace(self, changes=changes, now=now) if changes > self.changes else self

    def nodes(self) -> list[Node]:
        """Return who is there, in the order of the network."""
        gone = set(self.now.gone)
        kept = [(name, 0) for name in self.base.nodes if name not in gone]
        return kept + [(guest.node.name, guest.change) for guest in self.now.guests]

    def has_left(self, name: str) -> bool:
        """Tell whether a node was in the network and is not any more."""
        return name in self.now.gone or name in self.now.left

    def summary(self) -> str:
        """Say in a line how it differs from the network of the file."""
        now = self.now
        parts = [
            ("joined", [guest.node.name for guest in now.guests]),
            ("gone", list(now.gone)),
            ("down", [f"{a} - {b}" for a, b in now.down]),
        ]
        said = [
            f"{word} {', '.join(names[:_MOST_NAMED])}{' ...' * (len(names) > _MOST_NAMED)}"
            for word, names in parts
            if names
        ]
        word = "change" if self.changes == 1 else "changes"
        return f"{self.changes} {word}; {'; '.join(said) or 'as the file says'}"

    def network(self) -> Network:
        """Return the network as it stands, with the links that have failed."""
        if self.changes == 0:
            return self.base
        base, guests = self.base, self.now.guests
        gone = set(self.now.gone)
        kept = np.array([k for k, name in enumerate(base.nodes) if name not in gone], dtype=int)
        names = [base.nodes[k] for k in kept.tolist()] + [guest.node.name for guest in guests]
        number = {name: k for k, name in enumerate(names)}
        place = np.full(len(base.nodes), -1)
        place[kept] = np.arange(len(kept))
        old = place[base.links]
        stays = (old >= 0).all(axis=1)
        came = [(guest.node.name, link) for guest in guests for link in guest.node.links]
        ends = np.array([(number[a], number[link.to]) for a, link in came], dtype=np.int64)
        links = np.sort(np.concatenate([old[stays], ends.reshape(-1, 2)]), axis=1)
        order = np.lexsort((links[:, 1], links[:, 0]))
        length = np.array([link.length_km for _, link in came], dtype=np.float64)
        state = np.array([link.populations for _, link in came], dtype=np.float64)

        def column(name: str, fresh: list[object]) -> np.ndarray:
            before = getattr(base, name)[kept]
            return np.concatenate(
                [before, np.array(fresh, before.dtype).reshape(-1, *before.shape[1:])]
            )

        return replace(
            base,
            nodes=tuple(names),
            position_km=column("position_km", [(g.node.x_km, g.node.y_km) for g in guests]),
            links=links[order],
            length_km=np.concatenate([base.length_km[stays], length])[order],
            populations=np.concatenate([base.populations[stays], state.reshape(-1, 4)])[order],
            generation_hz=column("generation_hz", [g.node.generation_hz for g in guests]),
            swap_hz=column("swap_hz", [g.node.swap_hz for g in guests]),
            qubits=column("qubits", [g.node.qubits for g in guests]),
        )

    def up(self, network: Network) -> np.ndarray:
        """Return whether each link of :meth:`network` works, (m,)."""
        down = set(self.now.down)
        if not down:
            return np.ones(len(network.links), dtype=np.bool_)
        named = [[network.nodes[k] for k in ends] for ends in network.links.tolist()]
        return np.array([_pair(a, b) not in down for a, b in named], dtype=np.bool_)

    def before(self, other: "Standing") -> Ints:
        """Return the number that each node had in another standing, -1 where it was not there."""
        there = {node: number for number, node in enumerate(other.nodes())}
        return np.array([there.get(node, -1) for node in self.nodes()], dtype=np.int64)

    def stay(self, other: "Standing") -> set[str]:
        """Return the names of nodes that are the same ones in another standing.

        A node that leaves and joins again in one change is another one.
        """
        there = set(other.nodes())
        return {name for name, came in self.nodes() if (name, came) in there}


class _Draft:
    """A standing that is being changed, step by step."""

    def __init__(self, of: Standing) -> None:
        self.base, self.change, self.now = of.base, of.changes + 1, of.now
        self.gone, self.down = set(of.now.gone), set(of.now.down)
        self.left = set(of.now.left)
        self.guests = {guest.node.name: guest for guest in of.now.guests}
        self.nodes = {name for name, _ in of.nodes()}
        self.most = max(MOST_NODES, len(of.base.nodes))
        self.links: dict[str, set[str]] = {name: set() for name in self.nodes}
        for a, b in of.base.links.tolist():
            a, b = of.base.nodes[a], of.base.nodes[b]
            if a not in self.gone and b not in self.gone:
                self._tie(a, b)
        for guest in of.now.guests:
            for link in guest.node.links:
                self._tie(guest.node.name, link.to)

    def _tie(self, a: str, b: str) -> None:
        self.links[a].add(b)
        self.links[b].add(a)

    def take(self, step: Step) -> None:
        match step:
            case Join():
                self._join(step)
            case Part(name):
                self._part(name)
            case Fail(a, b):
                self._known(a, b)
                if _pair(a, b) in self.down:
                    raise InputError("the link has failed already")
                self.down.add(_pair(a, b))
            case Return(a, b):
                self._known(a, b)
                if _pair(a, b) not in self.down:
                    raise InputError("the link has not failed: it is up")
                self.down.remove(_pair(a, b))

    def _join(self, node: Join) -> None:
        name = node.name
        if not 0 < len(name) <= _MOST_NAME or not name.isprintable() or name != name.strip():
            raise InputError(
                f"name must be 1 to {_MOST_NAME} printable characters without spaces around, "
                f"got {name!r}"
            )
        if name in self.nodes:
            raise InputError("name is that of a node that is there; names must be different")
        if len(self.nodes) >= self.most:
            raise InputError(f"the network has {len(self.nodes)} nodes; no more are allowed")
        _need("generation_hz", node.generation_hz, 0.0, _MOST_HZ)
        _need("swap_hz", node.swap_hz, 0.0, _MOST_HZ)
        _need("qubits", node.qubits, 0, MOST_QUBITS)
        _need("x_km", node.x_km, -_MOST_KM, _MOST_KM)
        _need("y_km", node.y_km, -_MOST_KM, _MOST_KM)
        self.links[name] = set()
        for number, link in enumerate(node.links):
            try:
                self._link(name, link)
            except InputError as wrong:
                raise InputError(f"links[{number}] to {link.to!r}: {wrong}") from None
        self.nodes.add(name)
        self.left.discard(name)
        self.guests[name] = Guest(node, self.change)

    def _link(self, name: str, link: NewLink) -> None:
        if link.to == name:
            raise InputError("a link must join two different nodes")
        self._there(link.to)
        if link.to in self.links[name]:
            raise InputError("the two nodes are joined already")
        if len(self.links[link.to]) >= MOST_LINKS:
            raise InputError(f"it has {len(self.links[link.to])} links; no more are allowed")
        _need("length_km", link.length_km, 0.0, _MOST_KM)
        check_populations("populations", link.populations)
        _need("the least of populations", min(link.populations), 0.0, 1.0)
        self._tie(name, link.to)

    def _part(self, name: str) -> None:
        self._there(name)
        self.nodes.remove(name)
        for other in self.links.pop(name):
            self.links[other].remove(name)
            self.down.discard(_pair(name, other))
            if other in self.guests:
                self.guests[other] = _without(self.guests[other], name)
        if self.guests.pop(name, None) is None:
            self.gone.add(name)
        self.left.add(name)

    def _there(self, name: str) -> None:
        if name not in self.nodes:
            raise InputError(f"there is no node {name!r}{near(name, sorted(self.nodes))}")

    def _known(self, a: str, b: str) -> None:
        for end in (a, b):
            self._there(end)
        if b not in self.links[a]:
            has = ", ".join(sorted(self.links[a])[:8]) or "none"
            raise InputError(f"there is no link between {a!r} and {b!r}; {a!r} has links to {has}")

    def difference(self) -> Difference:
        left = sorted(self.left - self.gone)[:_MOST_LEFT]
        return Difference(
            tuple(sorted(self.gone)),
            tuple(self.guests.values()),
            tuple(sorted(self.down)),
            tuple(left),
        )


def _without(guest: Guest, name: str) -> Guest:
    node = guest.node
    links = tuple(link for link in node.links if link.to != name)
    fields = (node.name, node.generation_hz, node.swap_hz, node.qubits, node.x_km, node.y_km)
    return Guest(Join(*fields, links), guest.change)


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _need(field: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{field} must be between {low:g} and {high:g}, got {value}")


def told(step: Step) -> str:
    """Return a step in a few words."""
    match step:
        case Join(name):
            return f"join {_short(name)}"
        case Part(name):
            return f"leave {_short(name)}"
        case Fail(a, b):
            return f"fail {_short(a)} - {_short(b)}"
        case Return(a, b):
            return f"return {_short(a)} - {_short(b)}"


def _short(name: str) -> str:
    """Return a name as it may stand in a line, whatever is in it."""
    return name if name.isprintable() and name else repr(name)

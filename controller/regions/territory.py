"""Who owns what in a network of regions, and which way a request takes through them. Pure.

A link inside a region is that region's; one between two regions belongs to the region of its end
with the smaller number. Whoever owns links at a node owns a share of what the node has, by the
number of its links: of its memory, of its tokens and of its swaps. So every qubit and every token
has one owner, who decides alone.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from quantum.errors import InputError
from quantum.network import Network

__all__ = ["Leg", "Part", "Territory"]

#: Of its share of a node a region keeps so much for pairs that are held for crossing requests.
HELD_SHARE = 0.25
#: And so much of its swaps, to join legs.
JOINS_SHARE = 0.25
#: A way with one more change of owners is taken if it is more than so many links shorter.
_CHANGE = 0.5
#: Ways that are not searched again.
_REMEMBERED = 100_000

_Asked = tuple[str, str, frozenset[str], str | None]


class Leg(NamedTuple):
    """A part of a way whose links have one owner: from node to node, by names."""

    region: str
    a: str
    b: str
    hops: int


class Part(NamedTuple):
    """What a region owns: a network for its service, and what it keeps for crossing requests.

    ``held`` are qubits and ``joins_hz`` swaps per second, by the names of nodes.
    """

    network: Network
    held: dict[str, int]
    joins_hz: dict[str, float]


class Territory:
    """A network whose nodes belong to regions.

    ``nodes`` are names of nodes by region. Raises :class:`InputError` where a node belongs to
    nobody or to two, or has too little to be divided.
    """

    def __init__(self, network: Network, nodes: Mapping[str, Sequence[str]]) -> None:
        self.network = network
        self.region_of = _whose(network, nodes)
        self._names = network.nodes
        self._number = {name: k for k, name in enumerate(network.nodes)}
        regions = [self.region_of[name] for name in network.nodes]
        # The end with the smaller number stands first.
        self.owner = tuple(regions[a] for a, _ in network.links.tolist())
        self._around: list[list[tuple[int, str]]] = [[] for _ in network.nodes]
        for (a, b), owner in zip(network.links.tolist(), self.owner, strict=True):
            self._around[a].append((b, owner))
            self._around[b].append((a, owner))
        self._ways: dict[_Asked, tuple[Leg, ...] | None] = {}
        self.parts = {region: self._part(region) for region in nodes}

    def _part(self, region: str) -> Part:
        network = self.network
        mine = np.flatnonzero(np.array([owner == region for owner in self.owner], dtype=bool))
        if not len(mine):
            raise InputError(f"region {region} owns no links; join it with another one")
        links = network.links[mine]
        kept = np.unique(links)
        held: dict[str, int] = {}
        joins: dict[str, float] = {}
        qubits, generation, swaps = [], [], []
        for node in kept.tolist():
            name, share = self._names[node], self._share(node, region)
            whole = self._qubits(node)[region]
            held[name] = max(1, int(HELD_SHARE * whole))
            if whole - held[name] < 1:
                raise InputError(
                    f"node {name} has {network.qubits[node]} qubits, too few for the regions that "
                    "own its links: each needs two"
                )
            joins[name] = JOINS_SHARE * share * float(network.swap_hz[node])
            qubits.append(whole - held[name])
            generation.append(share * float(network.generation_hz[node]))
            swaps.append((1.0 - JOINS_SHARE) * share * float(network.swap_hz[node]))
        inside = Network(
            name=f"{network.name}-{region}",
            nodes=tuple(self._names[node] for node in kept.tolist()),
            position_km=network.position_km[kept],
            links=np.searchsorted(kept, links),
            length_km=network.length_km[mine],
            populations=network.populations[mine],
            generation_hz=np.array(generation),
            swap_hz=np.array(swaps),
            qubits=np.array(qubits, dtype=np.int64),
            memory=network.memory,
            cutoff_s=network.cutoff_s,
            gates=network.gates,
        )
        return Part(inside, held, joins)

    def _share(self, node: int, region: str) -> float:
        around = self._around[node]
        return sum(owner == region for _, owner in around) / len(around)

    def _qubits(self, node: int) -> dict[str, int]:
        """Divide the qubits of a node among the owners of its links; none is lost or doubled."""
        owners = sorted({owner for _, owner in self._around[node]})
        whole = int(self.network.qubits[node])
        ends = np.cumsum([self._share(node, owner) for owner in owners]) * whole
        counts = np.diff(np.rint(ends).astype(int), prepend=0)
        return dict(zip(owners, counts.tolist(), strict=True))

    def inside(self, region: str, a: str, b: str) -> bool:
        """Tell whether a region's own links join two of its nodes."""
        if self.region_of.get(a) != region or self.region_of.get(b) != region:
            return False
        return self.way(a, b, only=region) is not None

    def way(
        self, a: str, b: str, *, without: frozenset[str] = frozenset(), only: str | None = None
    ) -> tuple[Leg, ...] | None:
        """Return the legs of the shortest way between two nodes, None where there is none.

        Fewer changes of owners count more than half a link. ``without`` are regions whose links
        are not to be used; with ``only`` no other region's are.
        """
        asked = (a, b, without, only)
        if asked not in self._ways:
            if len(self._ways) >= _REMEMBERED:
                self._ways.clear()
            self._ways[asked] = self._found(*asked)
        return self._ways[asked]

    def _found(
        self, a: str, b: str, without: frozenset[str], only: str | None
    ) -> tuple[Leg, ...] | None:
        source, target = self._number[a], self._number[b]
        best: dict[tuple[int, str], float] = {(source, ""): 0.0}
        before: dict[tuple[int, str], tuple[int, str]] = {}
        heap: list[tuple[float, int, str]] = [(0.0, source, "")]
        while heap:
            cost, node, owner = heapq.heappop(heap)
            if cost > best[node, owner]:
                continue
            if node == target:
                return self._legs((node, owner), before)
            for other, whose in self._around[node]:
                if whose in without or (only is not None and whose != only):
                    continue
                further = cost + 1.0 + (_CHANGE if owner not in ("", whose) else 0.0)
                if further < best.get((other, whose), np.inf):
                    best[other, whose] = further
                    before[other, whose] = (node, owner)
                    heapq.heappush(heap, (further, other, whose))
        return None

    def _legs(
        self, last: tuple[int, str], before: Mapping[tuple[int, str], tuple[int, str]]
    ) -> tuple[Leg, ...]:
        legs: list[Leg] = []
        at = last
        while at in before:
            previous = before[at]
            a, b, owner = self._names[previous[0]], self._names[at[0]], at[1]
            if legs and legs[-1].region == owner:
                legs[-1] = Leg(owner, a, legs[-1].b, legs[-1].hops + 1)
            else:
                legs.append(Leg(owner, a, b, 1))
            at = previous
        return tuple(reversed(legs))


def _whose(network: Network, nodes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    region_of: dict[str, str] = {}
    for region, names in nodes.items():
        for name in names:
            if name not in network.nodes:
                raise InputError(f"regions.{region}.nodes: {name!r} is no node of {network.name}")
            if name in region_of:
                raise InputError(f"node {name} belongs to {region_of[name]} and to {region}")
            region_of[name] = region
    homeless = [name for name in network.nodes if name not in region_of]
    if homeless:
        raise InputError(f"node {homeless[0]} belongs to no region")
    return region_of

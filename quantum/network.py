"""The network: nodes, links and what they can do, as arrays.

Everything that plays in a network (ledger, twin, bound, allocators) reads this one value. Loading
it from files and presets is the work of :mod:`quantum.topology`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.program import Gates, Memory

__all__ = ["FIBRE_S_PER_KM", "Incidence", "Network"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Light in fibre, 5 us/km.
FIBRE_S_PER_KM = 5e-6


@dataclass(frozen=True, eq=False)
class Incidence:
    """Who touches what, padded to the largest degree K; -1 where a node has fewer links.

    ``link`` and ``neighbour`` are ``(n, K)``, ``degree`` is ``(n,)``.
    """

    degree: Ints
    link: Ints
    neighbour: Ints


@dataclass(frozen=True, eq=False)
class Network:
    """n nodes and m links.

    ``position_km`` (n, 2); ``links`` (m, 2) node indices, the smaller first, sorted;
    ``length_km`` (m,) fibre; ``populations`` (m, 4) Bell populations of a fresh pair;
    ``generation_hz`` (n,) pair-generation tokens; ``swap_hz`` (n,) swap tokens, kept in a bucket of
    ``max(1, swap_hz)``; ``qubits`` (n,) memory qubits. Pairs older than ``cutoff_s`` are dropped.
    """

    name: str
    nodes: tuple[str, ...]
    position_km: Floats
    links: Ints
    length_km: Floats
    populations: Floats
    generation_hz: Floats
    swap_hz: Floats
    qubits: Ints
    memory: Memory
    cutoff_s: float
    gates: Gates

    def __post_init__(self) -> None:
        n, m = len(self.nodes), len(self.links)
        shapes = {
            "position_km": (n, 2),
            "links": (m, 2),
            "length_km": (m,),
            "populations": (m, 4),
            "generation_hz": (n,),
            "swap_hz": (n,),
            "qubits": (n,),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise InputError(f"network.{name} must have shape {shape}, got {value.shape}")
            if not np.all(np.isfinite(value)):
                raise InputError(f"network.{name} must be finite")
        for name in ("length_km", "populations", "generation_hz", "swap_hz", "qubits"):
            if m and n and getattr(self, name).size and getattr(self, name).min() < 0:
                raise InputError(f"network.{name} must be >= 0")
        if n == 0:
            raise InputError("network has no nodes; at least one is needed")
        if m and (self.links.min() < 0 or self.links.max() >= n):
            raise InputError(f"network.links name nodes 0 to {n - 1} only")
        if m and not np.all(self.links[:, 0] < self.links[:, 1]):
            raise InputError("network.links must join two different nodes, the smaller index first")
        if not self.cutoff_s > 0:
            raise InputError(f"network.cutoff_s must be > 0 seconds, got {self.cutoff_s}")
        self.memory.check()
        self.gates.check()

    @cached_property
    def incidence(self) -> Incidence:
        """Incident links and neighbours of every node, in the order of the links."""
        n = len(self.nodes)
        touching: list[list[tuple[int, int]]] = [[] for _ in range(n)]
        for number, (a, b) in enumerate(self.links.tolist()):
            touching[a].append((number, b))
            touching[b].append((number, a))
        width = max(1, max((len(t) for t in touching), default=1))
        link = np.full((n, width), -1, dtype=np.int64)
        neighbour = np.full((n, width), -1, dtype=np.int64)
        for node, pairs in enumerate(touching):
            for slot, (number, other) in enumerate(pairs):
                link[node, slot] = number
                neighbour[node, slot] = other
        degree = np.array([len(t) for t in touching], dtype=np.int64)
        return Incidence(degree=degree, link=link, neighbour=neighbour)

    def signal_s(self, a: int, b: int) -> float:
        """Time of a classical message between two nodes along straight fibre."""
        return float(np.linalg.norm(self.position_km[a] - self.position_km[b])) * FIBRE_S_PER_KM

"""Which links a key goes over, and what its pairs are expected to be like."""

from itertools import pairwise
from typing import NamedTuple

import networkx as nx
import numpy as np

from quantum import werner
from quantum.bell import correlators
from quantum.errors import InputError
from quantum.network import Network
from quantum.program import Generate, Program, Step, Swap, Wait

__all__ = ["Route", "expected_errors", "find_route", "program_of"]


class Route(NamedTuple):
    """Nodes (h + 1,) and links (h,) from the source to the destination, by their numbers."""

    nodes: tuple[int, ...]
    links: tuple[int, ...]


def find_route(network: Network, source: str, destination: str) -> Route:
    """Return the route whose links' mean correlators have the largest product.

    Raises :class:`InputError` for an unknown node, equal ends, and ends that nothing joins.
    """
    ends = []
    for field, name in (("source", source), ("destination", destination)):
        if name not in network.nodes:
            some = ", ".join(network.nodes[:5])
            raise InputError(f"qkd.{field} {name!r} is no node of {network.name}; it has {some} …")
        ends.append(network.nodes.index(name))
    if ends[0] == ends[1]:
        raise InputError(f"qkd.source and destination are both {source!r}: two nodes share a key")
    signed = np.abs(correlators(network.populations)).mean(axis=1)
    loss = -np.log(np.clip(signed, 1e-300, 1.0)) + 1e-12
    graph = nx.Graph()
    for number, (a, b) in enumerate(network.links.tolist()):
        graph.add_edge(a, b, loss=float(loss[number]), link=number)
    try:
        nodes = nx.dijkstra_path(graph, ends[0], ends[1], weight="loss")
    except (nx.NetworkXNoPath, nx.NodeNotFound) as wrong:
        raise InputError(f"no links join {source} and {destination} in {network.name}") from wrong
    links = (graph.edges[a, b]["link"] for a, b in pairwise(nodes))
    return Route(tuple(nodes), tuple(links))


def program_of(
    network: Network, links: tuple[int, ...], wait_s: float, tapped: float = 0.0
) -> Program:
    """Return the program of one pair over ``links``: make, swap, wait ``wait_s`` at both ends.

    Of the first link a share ``tapped`` (0-1) is measured in Z on its way and sent on as it was
    found, which is a phase flip with half that chance.
    """
    fresh = network.populations[list(links)].copy()
    fresh[0] += tapped / 2.0 * (fresh[0, [1, 0, 3, 2]] - fresh[0])
    steps: list[Step] = [Generate(number, tuple(row)) for number, row in enumerate(fresh.tolist())]
    steps += [Swap(0, number) for number in range(1, len(links))]
    if wait_s > 0.0:
        steps.append(Wait(0, wait_s, wait_s))
    return Program(tuple(steps), network.memory, network.gates)


def expected_errors(network: Network, links: tuple[int, ...], wait_s: float) -> tuple[float, float]:
    """Return the error rates of such pairs in ZZ and XX, by the closed forms."""
    signed = correlators(network.populations[list(links)])
    joined = signed[0]
    for other in signed[1:]:
        joined = werner.swap(joined, other, network.gates)
    x, _, z = werner.wait(joined, wait_s, wait_s, network.memory).tolist()
    return (1.0 - z) / 2.0, (1.0 - x) / 2.0

"""The networks that come with DPEM: the Internet Topology Zoo and the Chicago testbed."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

import msgspec
import numpy as np

from quantum.topologies.entry import Description, LinkEntry, NodeEntry, to_layout
from quantum.topologies.graphs import describe_gml
from quantum.topologies.layout import Layout, pieces

__all__ = ["chicago", "zoo", "zoo_names"]

#: Latitude and longitude of the sites of the Chicago testbed: approximate, from their addresses.
_CHICAGO = {
    "NU": (42.057, -87.676),
    "StarLight": (41.896, -87.616),
    "UChicago_PME": (41.791, -87.602),
    "UChicago_HC": (41.784, -87.600),
    "Fermilab_1": (41.841, -88.262),
    "Fermilab_2": (41.832, -88.252),
    "Argonne_1": (41.713, -87.982),
    "Argonne_2": (41.718, -87.978),
    "Argonne_3": (41.714, -87.981),
}


@contextmanager
def _archive() -> Iterator[zipfile.ZipFile]:
    with (
        as_file(files("quantum") / "data" / "topology_zoo.zip") as path,
        zipfile.ZipFile(path) as z,
    ):
        yield z


def zoo_names() -> list[str]:
    """Return the names of the Topology Zoo in lower case, sorted."""
    with _archive() as archive:
        return sorted(member.removesuffix(".gml").lower() for member in archive.namelist())


def zoo(name: str, seed: int) -> Layout | None:
    """Return a network of the Topology Zoo, or None where there is none of that name.

    Parallel links are merged and self loops dropped. A node without coordinates is put at the mean
    of its neighbours; where the whole file has none, nodes are spread over a square of 100 km. A
    file in several pieces gives its largest piece, and the name says how many nodes that leaves.
    """
    with _archive() as archive:
        members = {m.removesuffix(".gml").lower(): m for m in archive.namelist()}
        member = members.get(name)
        if member is None:
            return None
        description = describe_gml(member, archive.read(member))
    links = [link for link in description.links if link.a != link.b]
    index = {node.name: number for number, node in enumerate(description.nodes)}
    ends = np.array([[index[k.a], index[k.b]] for k in links], dtype=np.int64).reshape(-1, 2)
    piece = pieces(len(index), ends)
    main = int(np.argmax(np.bincount(piece)))
    nodes = [node for node, number in zip(description.nodes, piece, strict=True) if number == main]
    title = member.removesuffix(".gml")
    if len(nodes) < len(index):
        title = f"{title} (largest piece, {len(nodes)} of {len(index)} nodes)"
    inside = {node.name for node in nodes}
    whole = Description(name=title, nodes=nodes, links=[k for k in links if k.a in inside])
    return to_layout(whole, name, seed)


class _Router(msgspec.Struct):
    name: str


class _Fibre(msgspec.Struct):
    node1: str
    node2: str
    distance: float
    """Metres."""


class _Testbed(msgspec.Struct):
    nodes: list[_Router]
    qconnections: list[_Fibre]


def chicago(seed: int) -> Layout:
    """Return the Chicago testbed with its published fibre lengths."""
    data = (files("quantum") / "data" / "chicago_starlight_sequence.json").read_bytes()
    testbed = msgspec.json.decode(data, type=_Testbed)
    description = Description(
        name="Chicago",
        nodes=[
            NodeEntry(name=r.name, latitude=_CHICAGO[r.name][0], longitude=_CHICAGO[r.name][1])
            for r in testbed.nodes
        ],
        links=[
            LinkEntry(a=fibre.node1, b=fibre.node2, length_km=fibre.distance / 1000.0)
            for fibre in testbed.qconnections
        ],
    )
    return to_layout(description, "chicago", seed)

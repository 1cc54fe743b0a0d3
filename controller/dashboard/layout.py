"""The network of a record as the page needs it: names, places and links by number."""

import msgspec

from quantum.errors import RecordError

__all__ = ["Layout", "read_layout"]

_MOST = 200_000


class Layout(msgspec.Struct, frozen=True):
    """Nodes are (name, x, y) in kilometres; links (node, node, length in km, nominal fidelity)."""

    name: str
    nodes: tuple[tuple[str, float, float], ...]
    links: tuple[tuple[int, int, float, float], ...]


class _Node(msgspec.Struct, frozen=True):
    name: str
    x_km: float = 0.0
    y_km: float = 0.0


class _Link(msgspec.Struct, frozen=True):
    a: str
    b: str
    length_km: float = 0.0
    bell_diagonal: dict[str, float] = {}


class _Network(msgspec.Struct, frozen=True):
    name: str
    nodes: list[_Node]
    links: list[_Link]


def read_layout(data: bytes) -> Layout:
    """Read the bytes of ``network.json``; :class:`RecordError` in one line where they are wrong."""
    try:
        found = msgspec.json.decode(data, type=_Network)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise RecordError(f"network.json: {wrong}") from wrong
    if len(found.nodes) > _MOST or len(found.links) > _MOST:
        raise RecordError(f"network.json: more than {_MOST} nodes or links")
    number = {node.name: place for place, node in enumerate(found.nodes)}
    if len(number) < len(found.nodes):
        raise RecordError("network.json: two nodes have the same name")
    try:
        links = tuple(
            (number[each.a], number[each.b], each.length_km, each.bell_diagonal.get("phi_plus", 0))
            for each in found.links
        )
    except KeyError as wrong:
        raise RecordError(f"network.json: a link ends at {wrong}, which is no node") from wrong
    nodes = tuple((node.name, node.x_km, node.y_km) for node in found.nodes)
    return Layout(found.name, nodes, links)

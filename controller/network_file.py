"""Nodes that join or leave a service, as people write them: the topology format, and options.

A file for joining holds nodes and links as a topology file does. Each link has at least one end
that joins; what is left out of a node has the values here.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from quantum.alterations import Join, Line, NewLink, Place
from quantum.bell import BELL_STATES, werner
from quantum.errors import InputError
from quantum.reading import told
from quantum.topologies.entry import Description, LinkEntry, NodeEntry

__all__ = [
    "FIDELITY",
    "GENERATION_HZ",
    "QUBITS",
    "SWAP_HZ",
    "joins_of",
    "link_of",
    "node_entry",
    "read_description",
    "written",
]

#: Means of what the presets draw.
GENERATION_HZ, SWAP_HZ, QUBITS, FIDELITY = 5.0, 2.5, 16, 0.98
_MOST_BYTES = 1024 * 1024


def read_description(path: Path) -> Description:
    """Read a file of nodes and links; :class:`InputError` names the file and the field."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: at most {_MOST_BYTES} bytes are read")
        return msgspec.json.decode(path.read_bytes(), type=Description)
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong
    except msgspec.ValidationError as wrong:
        raise InputError(f"{path}: {told(wrong, Description)}") from wrong
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise InputError(f"{path}: not JSON: {str(wrong).splitlines()[0]}") from wrong


def link_of(text: str, name: str) -> LinkEntry:
    """Read ``TO``, ``TO:FIDELITY`` or ``TO:FIDELITY:LENGTH_KM``; names may hold colons.

    >>> link_of("n1:0.95:12.5", "n9")
    LinkEntry(a='n9', b='n1', length_km=12.5, fidelity=0.95, bell_diagonal=None, model=None)
    """
    to, numbers = text, list[float]()
    while len(numbers) < 2 and ":" in to:
        head, _, tail = to.rpartition(":")
        try:
            numbers.insert(0, float(tail))
        except ValueError:
            break
        to = head
    if not to:
        raise InputError(f"link must be TO, TO:FIDELITY or TO:FIDELITY:LENGTH_KM, got {text!r}")
    fidelity = numbers[0] if numbers else None
    return LinkEntry(name, to, numbers[1] if len(numbers) == 2 else None, fidelity)


def node_entry(name: str, **given: Any) -> NodeEntry:
    """Return a node with what is given of it."""
    return NodeEntry(name, **{field: value for field, value in given.items() if value is not None})


def joins_of(wanted: Description, there: dict[str, tuple[float, float]]) -> tuple[Join, ...]:
    """Return the steps by which nodes join, in their order; ``there`` are the places of all others.

    A node without a place stands at the mean of those that it is linked to, and a link without a
    length is the straight line. Raises :class:`InputError` that names the node or link.
    """
    places, out = dict(there), list[Join]()
    for field in ("memory", "cutoff_s", "swap"):
        if getattr(wanted, field) is not None:
            raise InputError(f"{field} is that of the network: leave it out")
    joining = [node.name for node in wanted.nodes]
    came: dict[str, int] = {name: k for k, name in enumerate(joining)}
    links: list[list[tuple[str, LinkEntry, str]]] = [[] for _ in joining]
    for number, link in enumerate(wanted.links):
        where = f"links[{number}] {link.a!r} - {link.b!r}"
        ends = [end for end in (link.a, link.b) if end in came]
        if not ends:
            raise InputError(f"{where}: one of its ends has to be a node that joins")
        # A link comes with that of its ends that joins last.
        last = max(ends, key=lambda end: came[end])
        other = link.b if link.a == last else link.a
        links[came[last]].append((other, link, where))
    for node, own in zip(wanted.nodes, links, strict=True):
        place = _place(node, [places[to] for to, _, _ in own if to in places])
        made = [
            NewLink(to, _length(link, place, places.get(to, place)), _state(where, link))
            for to, link, where in own
        ]
        places[node.name] = place
        rates = _or(node.generation_hz, GENERATION_HZ), _or(node.swap_hz, SWAP_HZ)
        qubits = QUBITS if node.qubits is None else node.qubits
        out.append(Join(node.name, *rates, qubits, *place, tuple(made)))
    return tuple(out)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _place(node: NodeEntry, near: list[tuple[float, float]]) -> tuple[float, float]:
    if node.latitude is not None or node.longitude is not None:
        raise InputError(f"node {node.name!r}: give x_km and y_km, not latitude and longitude")
    if (node.x_km is None) != (node.y_km is None):
        raise InputError(f"node {node.name!r}: x_km and y_km go together")
    if node.x_km is not None and node.y_km is not None:
        return node.x_km, node.y_km
    x, y = np.mean(near, axis=0).tolist() if near else (0.0, 0.0)
    return x, y


def _length(link: LinkEntry, place: tuple[float, float], other: tuple[float, float]) -> float:
    if link.length_km is not None:
        return link.length_km
    return float(np.hypot(place[0] - other[0], place[1] - other[1]))


def _state(where: str, link: LinkEntry) -> tuple[float, float, float, float]:
    if link.model is not None:
        raise InputError(f"{where}: give fidelity or bell_diagonal, not a model")
    if link.fidelity is not None and link.bell_diagonal is not None:
        raise InputError(f"{where}: give one of fidelity and bell_diagonal")
    if link.bell_diagonal is not None:
        a, b, c, d = msgspec.structs.astuple(link.bell_diagonal)
        return a, b, c, d
    fidelity = FIDELITY if link.fidelity is None else link.fidelity
    if not 0.0 <= fidelity <= 1.0:
        raise InputError(f"{where}: fidelity must be between 0 and 1, got {fidelity}")
    a, b, c, d = werner(fidelity).tolist()
    return a, b, c, d


def written(nodes: tuple[Place, ...], links: tuple[Line, ...]) -> dict[str, Any]:
    """Return nodes and links in the topology format, from which they can join again."""
    return {
        "nodes": [
            {
                "name": node.name,
                "x_km": node.x_km,
                "y_km": node.y_km,
                "generation_hz": node.generation_hz,
                "swap_hz": node.swap_hz,
                "qubits": node.qubits,
            }
            for node in nodes
        ],
        "links": [
            {
                "a": link.a,
                "b": link.b,
                "length_km": link.length_km,
                "bell_diagonal": dict(zip(BELL_STATES, link.populations, strict=True)),
            }
            for link in links
        ],
    }
